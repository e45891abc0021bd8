"""Did what is delivered change? Nulls and categories of a day's batch against those the model was trained on.

Works on the profiles that ingestion wrote, of every delivered row: also of columns that are no feature, and of rows
that went to quarantine, which drift of the features cannot see. It tells a person where to look when predictions
got worse and no feature drifted; no retraining follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import numpy as np
from scipy import stats

from include.core.spec import Drift, ModelSpec
from include.evaluation.drift import CORRECTIONS
from include.lakehouse.tables import Lakehouse

Statistic = Literal["nulls", "categories"]


@dataclass(frozen=True)
class InputShift:
    """How one delivered column differs from what it was."""

    column: str
    statistic: Statistic
    distance: float
    """Nulls: difference of the shares. Categories: total variation distance. Both from 0 (same) to 1 (apart)."""
    p_value: float
    adjusted_p: float
    """p-value after the correction for all columns."""
    shifted: bool


@dataclass
class _Counts:
    rows: float = 0.0
    nulls: float = 0.0
    categories: dict[str, float] = field(default_factory=dict)
    """Of text columns: the most frequent ones."""

    def others(self, names: Collection[str]) -> float:
        """Rows of a category that is not named."""
        return max(self.rows - self.nulls - sum(self.categories.get(name, 0.0) for name in names), 0.0)


def detect(
    spec: ModelSpec, lake: Lakehouse, day: date, trained_on: Collection[date], config: Drift
) -> list[InputShift]:
    """Test the nulls of every delivered column, and the categories of every text column.

    Nulls: Fisher's exact test. Categories: Pearson's chi-squared test of homogeneity (1900); where profiles leave out
    rare categories, those that only one side names count as one with what is left out. As for features, a column has
    shifted when its corrected p-value is below ``alpha`` and the distance at least ``min_effect``. Of personal columns
    there are only counts, so only their nulls are tested.

    Args:
        trained_on: days whose batches the model was trained on.

    Returns:
        In the order of the columns; nothing where the profiles of the day, or of all the others, are missing.
    """
    now, before = (_counts(spec, lake, days) for days in ([day], [known for known in trained_on if known != day]))
    results: list[tuple[str, Statistic, float, float]] = []
    for name in spec.columns:
        if name not in now or name not in before:
            continue
        results.append((name, "nulls", *_nulls(now[name], before[name])))
        if now[name].categories or before[name].categories:
            results.append((name, "categories", *_categories(now[name], before[name])))
    if not results:
        return []
    adjusted = CORRECTIONS[config.correction](np.array([p_value for *_, p_value in results]))
    return [
        InputShift(
            name,
            statistic,
            distance,
            p_value,
            float(adjusted_p),
            shifted=bool(adjusted_p < config.alpha and distance >= config.min_effect),
        )
        for (name, statistic, distance, p_value), adjusted_p in zip(results, adjusted, strict=True)
    ]


def _counts(spec: ModelSpec, lake: Lakehouse, days: Iterable[date]) -> dict[str, _Counts]:
    """By column, summed over the batches of the days."""
    wanted = set(days)
    name = spec.table("profiles")
    if not wanted or not lake.exists(name):
        return {}
    where = [("batch_date", ">=", min(wanted)), ("batch_date", "<=", max(wanted))]
    columns = ["batch_date", "column", "statistic", "category", "value"]
    counts: dict[str, _Counts] = {}
    for line in lake.read(name, where=where, columns=columns).to_pylist():
        if line["batch_date"] not in wanted:
            continue
        of = counts.setdefault(line["column"], _Counts())
        if line["statistic"] == "count":
            of.rows += line["value"]
        elif line["statistic"] == "nulls":
            of.nulls += line["value"]
        elif line["statistic"] == "frequency":
            of.categories[line["category"]] = of.categories.get(line["category"], 0.0) + line["value"]
    return {column: of for column, of in counts.items() if of.rows}


def _nulls(now: _Counts, before: _Counts) -> tuple[float, float]:
    """Distance and p-value."""
    table = [[round(of.nulls), round(of.rows - of.nulls)] for of in (now, before)]
    distance = abs(now.nulls / now.rows - before.nulls / before.rows)
    return distance, float(stats.fisher_exact(table).pvalue)


def _categories(now: _Counts, before: _Counts) -> tuple[float, float]:
    """Distance and p-value."""
    both = now.categories.keys() & before.categories.keys()
    complete = not any(of.others(of.categories) for of in (now, before))
    names = sorted(now.categories.keys() | before.categories.keys() if complete else both)
    table = np.array([[*(of.categories.get(name, 0.0) for name in names), of.others(names)] for of in (now, before)])
    table = table[:, table.sum(axis=0) > 0]
    sums = table.sum(axis=1, keepdims=True)
    if not sums.all() or table.shape[1] < 2:
        return 0.0, 1.0
    shares = table / sums
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return distance, float(stats.chi2_contingency(table, correction=False).pvalue)
