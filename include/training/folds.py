"""The folds that a search cross-validates on: each row of a training set that is not test is judged in one of them.

They are made as the test rows are, so that a search prefers what is good where the version will be judged.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION
from include.training import places
from include.training.places import Mask

if TYPE_CHECKING:
    import pandas as pd

Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Fold:
    """Which rows are fitted to, and which of the others are then predicted and measured."""

    fitted: Mask
    judged: Mask


def balanced(units: pd.Series, seed: int, count: int) -> list[Fold]:
    """Folds of about as many rows each, the rows of a unit in one of them.

    The largest unit first, each into the smallest fold so far; of one size by the hash of their names (Graham: Bounds
    on multiprocessing timing anomalies, 1969). So a fold depends on the units and not on the order of the rows.

    Args:
        units: of each row, what keeps together.

    Raises:
        DataError: there are fewer units than folds.
    """
    codes, distinct = units.factorize(use_na_sentinel=False)
    if len(distinct) < count:
        raise DataError(
            f"{len(distinct)} keys, groups or blocks are too few for {count} folds",
            where="training.search.folds",
            fix="Lessen training.search.folds in model.yaml",
        )
    sizes, place = np.bincount(codes), np.empty(len(distinct))
    place[codes] = places.of(seed, units)
    fold_of = np.empty(len(distinct), dtype=np.intp)
    smallest = [(0, fold) for fold in range(count)]
    for unit in np.lexsort((place, -sizes)):
        rows, fold = heapq.heappop(smallest)
        fold_of[unit] = fold
        heapq.heappush(smallest, (rows + int(sizes[unit]), fold))
    return [Fold(~judged, judged) for judged in (fold_of[codes] == fold for fold in range(count))]


def of_blocks(widths: Mapping[str, float], margin: float, rows: pd.DataFrame, seed: int, count: int) -> list[Fold]:
    """The same of blocks. Rows within the margin of a block that is judged are not fitted to; errors as `balanced`."""
    own = places.cells(widths, rows)
    near = places.around(widths, rows, margin) if margin else []
    found = []
    for fold in balanced(own, seed, count):
        judged = set(own[fold.judged])
        too_near = np.logical_or.reduce([fold.judged, *(blocks.isin(judged).to_numpy() for blocks in near)])
        found.append(Fold(~too_near, fold.judged))
    return found


def expanding(spec: ModelSpec, rows: pd.DataFrame, count: int) -> list[Fold]:
    """By time: the partitions in ``count + 1`` spans of about as many rows. Each but the first is judged once, by what
    is fitted to all before it, but for a gap of ``training.split.gap`` partitions.

    Raises:
        DataError: there are too few partitions.
    """
    keys = rows[PARTITION].to_numpy()
    known, sizes = np.unique(keys, return_counts=True)
    spans = _spans(sizes, count + 1) if len(known) > count else np.zeros(len(known), dtype=np.intp)
    found = []
    for span in range(1, count + 1):
        of_span = known[spans == span]
        last = Partition.parse(of_span[0], spec.grain).shift(-1 - spec.training.split.gap).key if len(of_span) else ""
        fold = Fold(keys <= last, np.isin(keys, of_span))
        if not fold.fitted.any():
            raise DataError(
                f"{len(known)} partitions are too few for {count} folds by time, with a gap of "
                f"{spec.training.split.gap}",
                where=f"{spec.file()}: training.search.folds",
                fix="Deliver the history by its partitions, or lessen training.search.folds, or leave it out",
            )
        found.append(fold)
    return found


def _spans(sizes: Numbers, count: int) -> Numbers:
    """The span of each partition, oldest first: none is empty, and each has its share of the rows that are left."""
    spans, span, taken, left = np.empty(len(sizes), dtype=np.intp), 0, 0, int(sizes.sum())
    for place, size in enumerate(sizes):
        later = len(sizes) - place
        others = count - 1 - span
        full = taken + size / 2 > left / (others + 1)
        if taken and others and (full or later == others):
            left -= taken
            span, taken = span + 1, 0
        spans[place] = span
        taken += int(size)
    return spans
