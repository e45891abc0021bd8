"""How good a candidate is in each slice of its test rows: the values of categories, and bands of chosen columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from include.core.category import OTHER
from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import interval, metrics, slices
from include.evaluation.metrics import Floats
from include.evaluation.slices import Slice
from include.features import fitted_categories
from include.training.training_set import TrainingSetRef

CONFIDENCE = 0.95
BANDS = 4
LEAST_COLUMNS = 5
"""Where gates and categories name fewer, the most important features make up for it."""


@dataclass(frozen=True)
class SliceMetric:
    """The model's metric on some of the rows."""

    part: Slice
    value: float | None
    """None where there are too few rows to judge by, or it is undefined."""
    bounds: tuple[float, float] | None
    residual: float
    """The mean one; of classes the share that is wrong."""

    @property
    def title(self) -> str:
        return self.part.title

    @property
    def rows(self) -> int:
        return len(self.part)


def of(
    spec: ModelSpec, ref: TrainingSetRef, test: pd.DataFrame, predicted: Floats, importance: Mapping[str, float]
) -> list[SliceMetric]:
    """Each slice of each chosen column: those that gates look at, every category, and the most important features.

    Args:
        test: the rows; ``predicted`` has one value for each.
        importance: of each feature, where the algorithm tells.
    """
    metric, n_features = metrics.of(spec), len(ref.features)
    actual = test[spec.target].to_numpy(dtype=np.float64)
    residual = metrics.residuals(spec.task, actual, predicted)
    found = []
    for part in _parts(spec, ref, test, importance):
        value, between = None, None
        if len(part) >= metric.least_rows(n_features):
            y, p = actual[part.rows], predicted[part.rows]
            try:
                value = metric.measure(y, p, n_features)
                between = interval.bounds(metric, y, p, n_features, CONFIDENCE)
            except DataError:
                pass
        found.append(SliceMetric(part, value, between, float(residual[part.rows].mean())))
    return found


def table(spec: ModelSpec, found: list[SliceMetric]) -> pd.DataFrame:
    """One line a slice, for people who look for one among many."""
    rows = [(item.title, item.rows, item.value, *(item.bounds or (None, None)), item.residual) for item in found]
    return pd.DataFrame(rows, columns=["slice", "rows", spec.metric, "low", "high", "mean_residual"])


def _parts(
    spec: ModelSpec, ref: TrainingSetRef, test: pd.DataFrame, importance: Mapping[str, float]
) -> Iterator[Slice]:
    declared = fitted_categories.read_all(ref.categories)
    flags = {column: category.one_hot(column) for column, category in declared.items() if category.encode == "one_hot"}
    texts = {name: category.texts for name, category in declared.items() if category.encode == "codes"}
    for column, values in flags.items():
        for flag, text in values.items():
            rows = (test[flag] == 1).to_numpy() if flag in test else np.zeros(len(test), dtype=np.bool_)
            if rows.any():
                yield Slice(f"{column} = {text or OTHER}", rows)
    named = [name for name in (*texts, *_asked_for(spec)) if name in ref.features]
    shown = {flag for values in flags.values() for flag in values}
    named = [name for name in dict.fromkeys(named) if name not in shown]
    others = [name for name in importance if name not in shown.union(named) and test[name].nunique(dropna=False) > 1]
    by_weight = sorted(others, key=lambda name: -importance[name])
    for name in (*named, *by_weight[: max(0, LEAST_COLUMNS - len(named) - len(flags))]):
        yield from slices.of(name, test[name].to_numpy(dtype=np.float64), BANDS, texts.get(name))


def _asked_for(spec: ModelSpec) -> list[Any]:
    """The columns that gates look at."""
    return [
        named
        for check in (*spec.gates.staging, *spec.gates.production)
        for named in (*check.params.get("columns", ()), check.params.get("column"))
    ]
