"""Did what is delivered change? Nulls and categories of a batch against those the model was trained on.

Works on the profiles that ingestion wrote, of every delivered row: also of columns that are no feature, and of rows
that went to quarantine, which drift of the features cannot see. It tells a person where to look when predictions
got worse and no feature drifted; no retraining follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.evaluation import drift
from include.evaluation.drift import ColumnDrift, ColumnKind, Samples
from include.lakehouse.schemas import CLEAN, PARTITION, PROFILES
from include.lakehouse.tables import Lakehouse
from include.monitoring.reference import spread

REFERENCE_PARTITIONS = 16
"""Of the partitions that a model was trained on: so many, evenly spread, first and last among them, are compared with.
More make the answer no surer, and each is a file to read."""
_NAMED = ("column", "statistic", "category")


@dataclass
class _Counts:
    rows: float = 0.0
    nulls: float = 0.0
    categories: dict[str, float] = field(default_factory=dict)
    """Of text columns: the most frequent ones."""

    def others(self, names: Collection[str]) -> float:
        """Rows of a category that is not named."""
        return max(self.rows - self.nulls - sum(self.categories.get(name, 0.0) for name in names), 0.0)


def detect(spec: ModelSpec, lake: Lakehouse, partition: Partition, trained_on: Sequence[str]) -> list[ColumnDrift]:
    """Test the nulls of every delivered column, and the categories of every text column.

    Where profiles leave out rare categories, those that only one side names count as one with what is left out.
    Of personal columns there are only counts, so only their nulls are tested.

    Args:
        trained_on: keys of the partitions whose batches the model was trained on, oldest first.

    Returns:
        In the order of the columns; nothing where the profiles of the partition, or of all the others, are missing.
    """
    accepted = lake.rows_by_partition(CLEAN.of(spec))
    # Of one that was withdrawn since, the profile is of what was delivered last.
    others = [key for key in trained_on if key != partition.key and accepted.get(key, 1)]
    reference = [others[place] for place in spread(len(others), REFERENCE_PARTITIONS)]
    now, before = _counts(spec, lake, partition.key, reference)
    samples = []
    for name in spec.columns:
        if name not in now or name not in before:
            continue
        samples.append(_samples(name, ColumnKind.NULLS, [_nulls(of) for of in (before[name], now[name])]))
        if now[name].categories or before[name].categories:
            samples.append(_samples(name, ColumnKind.CATEGORY, _categories(before[name], now[name])))
    return drift.compare(samples, spec.monitoring.drift)


def _counts(spec: ModelSpec, lake: Lakehouse, key: str, reference: Sequence[str]) -> Sequence[dict[str, _Counts]]:
    """Of a partition, and of those that it is compared with: by column, summed over the batches."""
    told = ["count", "nulls", "frequency"]
    where = [(PARTITION, "in", [key, *reference]), ("statistic", "in", told)]
    columns = [PARTITION, *_NAMED, "value"]
    table = lake.read_if_exists(PROFILES.of(spec), where=where, columns=columns) if reference else None
    if table is None:
        return {}, {}
    own = pc.equal(table[PARTITION], key)
    return [_summed(table.filter(chosen)) for chosen in (own, pc.invert(own))]


def _summed(profiles: pa.Table) -> dict[str, _Counts]:
    counts: dict[str, _Counts] = {}
    for line in pa.TableGroupBy(profiles, list(_NAMED)).aggregate([("value", "sum")]).to_pylist():
        of = counts.setdefault(line["column"], _Counts())
        if line["statistic"] == "count":
            of.rows = line["value_sum"]
        elif line["statistic"] == "nulls":
            of.nulls = line["value_sum"]
        else:
            of.categories[line["category"]] = line["value_sum"]
    return {column: of for column, of in counts.items() if of.rows}


def _samples(name: str, kind: ColumnKind, sides: Sequence[Sequence[float]]) -> Samples:
    reference, current = (np.array(side, dtype=np.float64) for side in sides)
    return Samples(name, kind, reference, current)


def _nulls(of: _Counts) -> list[float]:
    return [of.nulls, of.rows - of.nulls]


def _categories(before: _Counts, now: _Counts) -> list[list[float]]:
    """The counts of each side, a place a category."""
    both = now.categories.keys() & before.categories.keys()
    complete = not any(of.others(of.categories) for of in (now, before))
    names = sorted(now.categories.keys() | before.categories.keys() if complete else both)
    return [[*(of.categories.get(name, 0.0) for name in names), of.others(names)] for of in (before, now)]
