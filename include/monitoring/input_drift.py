"""Did what is delivered change? Nulls and categories of a batch against those the model was trained on.

Works on the profiles that ingestion wrote, of every delivered row: also of columns that are no feature, and of rows
that went to quarantine, which drift of the features cannot see. It tells a person where to look when predictions
got worse and no feature drifted; no retraining follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.core.spec import ModelSpec
from include.evaluation import drift
from include.evaluation.drift import ColumnDrift, ColumnKind, Samples
from include.lakehouse.schemas import CLEAN, PARTITION, PROFILES
from include.lakehouse.tables import Lakehouse

REFERENCE_PARTITIONS = 16
"""Of the partitions that a model was trained on: so many, evenly spread, first and last among them, are compared with.
More make the answer no surer, and each is a file to read."""
_NAMED = ("column", "statistic", "category")


@dataclass
class _Counts:
    """Of one batch, or of several together."""

    rows: float = 0.0
    nulls: float = 0.0
    categories: dict[str, float] = field(default_factory=dict)
    """Of text columns: the most frequent ones."""
    least: float | None = None
    """The most rows that a category can have that is not named."""

    @property
    def unnamed(self) -> float:
        """Rows of a category that is not named."""
        return max(self.rows - self.nulls - sum(self.categories.values()), 0.0)

    @property
    def most(self) -> float:
        """The most rows that one category can have that is not named: fewer than the rarest that is."""
        if self.least is not None:
            return self.least
        return min(self.categories.values(), default=0.0) if self.unnamed else 0.0

    def __add__(self, other: _Counts) -> _Counts:
        categories = dict(self.categories)
        for name, rows in other.categories.items():
            categories[name] = categories.get(name, 0.0) + rows
        return _Counts(self.rows + other.rows, self.nulls + other.nulls, categories, self.most + other.most)

    def beside(self, other: _Counts, names: Sequence[str]) -> list[float]:
        """The rows of each of these categories, and of all others.

        Where this side does not name one, so many of its unnamed rows are taken for it as make the sides most alike.
        """
        scale = (self.rows - self.nulls) / max(other.rows - other.nulls, 1.0)
        wanted = {
            name: min(self.most, scale * other.categories.get(name, 0.0))
            for name in names
            if name not in self.categories
        }
        total = sum(wanted.values())
        share = min(1.0, self.unnamed / total) if total else 0.0
        counts = [self.categories.get(name, share * wanted.get(name, 0.0)) for name in names]
        return [*counts, self.unnamed - share * total]


def detect(spec: ModelSpec, lake: Lakehouse, window: Sequence[str], trained_on: Sequence[str]) -> list[ColumnDrift]:
    """Test the nulls of every delivered column, and the categories of every text column.

    Where profiles leave out rare categories, one that only one side names counts as drifted by what it surely did.
    Of personal columns there are only counts, so only their nulls are tested.

    Args:
        window: keys of the partitions whose batches are tested together.
        trained_on: keys of the partitions whose batches the model was trained on, oldest first.

    Returns:
        In the order of the columns; nothing where the profiles of the window, or of all the others, are missing.
    """
    accepted = lake.rows_by_partition(CLEAN.of(spec))
    # Of one that was withdrawn since, the profile is of what was delivered last.
    others = [key for key in trained_on if key not in window and accepted.get(key, 1)]
    reference = [others[place] for place in spread(len(others), REFERENCE_PARTITIONS)]
    now, before = _counts(spec, lake, window, reference)
    samples = []
    for name in spec.columns:
        if name not in now or name not in before:
            continue
        samples.append(_samples(name, ColumnKind.NULLS, [_nulls(of) for of in (before[name], now[name])]))
        if now[name].categories or before[name].categories:
            samples.append(_samples(name, ColumnKind.CATEGORY, _categories(before[name], now[name])))
    return drift.compare(samples, spec.monitoring.drift)


def spread(count: int, most: int) -> npt.NDArray[np.int_]:
    """Places of at most so many of ``count`` items, evenly spread, first and last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _counts(
    spec: ModelSpec, lake: Lakehouse, window: Sequence[str], reference: Sequence[str]
) -> Sequence[dict[str, _Counts]]:
    """Of a window, and of what it is compared with: by column, summed over the batches."""
    told = ["count", "nulls", "frequency"]
    where = [(PARTITION, "in", [*window, *reference]), ("statistic", "in", told)]
    columns = [PARTITION, *_NAMED, "value"]
    table = lake.read_if_exists(PROFILES.of(spec), where=where, columns=columns) if reference else None
    if table is None:
        return {}, {}
    batches: dict[str, dict[str, _Counts]] = {}
    for line in pa.TableGroupBy(table, [PARTITION, *_NAMED]).aggregate([("value", "sum")]).to_pylist():
        of = batches.setdefault(line[PARTITION], {}).setdefault(line["column"], _Counts())
        if line["statistic"] == "count":
            of.rows = line["value_sum"]
        elif line["statistic"] == "nulls":
            of.nulls = line["value_sum"]
        else:
            of.categories[line["category"]] = line["value_sum"]
    sides: tuple[dict[str, _Counts], dict[str, _Counts]] = {}, {}
    for key, batch in batches.items():
        side = sides[key not in window]
        for column, of in batch.items():
            side[column] = side[column] + of if column in side else of
    return [{column: of for column, of in side.items() if of.rows} for side in sides]


def _samples(name: str, kind: ColumnKind, sides: Sequence[Sequence[float]]) -> Samples:
    reference, current = (np.array(side, dtype=np.float64) for side in sides)
    return Samples(name, kind, reference, current)


def _nulls(of: _Counts) -> list[float]:
    return [of.nulls, of.rows - of.nulls]


def _categories(before: _Counts, now: _Counts) -> list[list[float]]:
    """The counts of each side, a place a category, and one for what no side names."""
    names = sorted(now.categories.keys() | before.categories.keys())
    return [before.beside(now, names), now.beside(before, names)]
