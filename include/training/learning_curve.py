"""How good the candidate would be with fewer rows: whether more of them would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.features import fitted_categories
from include.lakehouse.schemas import SPLIT
from include.training import algorithms, fitted_rows, training_set
from include.training.splits import TEST
from include.training.training_set import TrainingSetRef

SHARES = (0.1, 0.25, 0.5)
MOST_ROWS = 20_000
"""A fit to more takes longer than what it shows is worth."""


@dataclass(frozen=True)
class Point:
    """A fit to so many rows: the model's metric on these, and on the test rows."""

    rows: int
    fitted: float
    test: float


def of(
    spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame, params: dict[str, Any], measured: Mapping[str, float]
) -> list[Point]:
    """Fit the candidate's parameters to shares of its rows, each within the next; the last point is the candidate.

    Shares of too few rows to judge by are left out, and such that the metric is undefined on.

    Args:
        measured: of the candidate, on its test rows and, behind ``train_``, where it was fitted.
    """
    metric, algorithm = metrics.of(spec), algorithms.of(spec)
    order = np.random.default_rng(spec.training.seed).permutation(np.flatnonzero((frame[SPLIT] != TEST).to_numpy()))
    categories, count = fitted_categories.read(ref.categories), len(ref.features)
    judged = frame[fitted_rows.judging(frame)]
    sizes = sorted({min(int(share * len(order)), MOST_ROWS) for share in SHARES})
    points = []
    for size in (size for size in sizes if size >= metric.least_rows(count)):
        chosen = pd.Series(np.isin(np.arange(len(frame)), order[:size]), index=frame.index)
        sample = training_set.sample(spec, frame, chosen, ref.features, categories)
        model = algorithms.fit(spec, sample, dict(params)).model
        values = []
        try:
            for rows in (frame[chosen], judged):
                predicted = algorithm.predict(model, rows[list(ref.features)], spec.task)
                values.append(metric.measure(*metrics.pair(rows[spec.target], predicted), count))
        except DataError:
            continue
        points.append(Point(size, *values))
    return [*points, Point(len(order), measured[f"train_{spec.metric}"], measured[spec.metric])]
