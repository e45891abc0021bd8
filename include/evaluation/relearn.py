"""Could a model learn what it now gets wrong? The least that a retraining on such rows would do, by a linear model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.sections import Task
from include.evaluation.metrics import Floats, Metric, of_constant

FOLDS = 5
MOST_ROWS = 20_000
"""Of more rows so many are drawn: what a line can learn of all it can learn of them."""
SEED = 20640
LEAST = 0.5
"""Of what the threshold asks for above a constant prediction, the part that has to be learned from some rows."""
LARGEST = 1e100
"""What is larger stands for a missing value: its square is none."""
UNIT = 0.02
"""Of a power of ten, in powers of ten: labels that are so near to it times the predictions are in another unit."""


def can_learn(
    metric: Metric, y: Floats, p: Floats, features: pd.DataFrame, n_features: int, *, best: float, threshold: float
) -> bool:
    """Whether these rows teach something better, for one who sees them alone.

    Of labels that say nothing (shuffled, joined to other rows, noise) nothing can be learned, however wrong the
    predictions are on them: a constant would be better, and that is no reason to retrain.

    Args:
        best: what chance leaves open for the predictions as they are. It has to be surpassed.
        threshold: half of the way to it, from what a constant would reach, has to be gone.
    """
    if len(y) > MOST_ROWS:
        drawn = np.random.default_rng(SEED).permutation(len(y))[:MOST_ROWS]
        y, p, features = y[drawn], p[drawn], features.iloc[drawn]
    value = corrected(metric, y, p, features, n_features)
    if value is None or not metric.clears(value, best):
        return False
    constant = of_constant(metric, y, n_features)
    if not metric.clears(threshold, constant):  # whoever says the same of every row is good enough
        return False
    return metric.gain(value, constant) >= LEAST * metric.gain(threshold, constant)


def in_another_unit(y: Floats, p: Floats) -> bool:
    """Whether labels are a power of ten times what is predicted: an upstream fault, however well it can be learned."""
    medians = np.median(np.abs(y)), np.median(np.abs(p))
    if not all(medians):
        return False
    power = float(np.log10(medians[0] / medians[1]))
    return round(power) != 0 and abs(power - round(power)) < UNIT


def corrected(metric: Metric, y: Floats, p: Floats, features: pd.DataFrame, n_features: int) -> float | None:
    """The metric of the predictions once they are corrected by what the other rows teach, cross-fitted.

    A correction linear in prediction and features: ridge regression of the residuals, logistic regression of classes.
    Args:
        y, p: actual and predicted, one value per row.
        features: of the same rows; null is the median.

    Returns:
        None where there is too little to fit and measure on.
    """
    from sklearn.model_selection import KFold

    if len(y) < 2 * FOLDS:
        return None
    known = features.to_numpy(dtype=np.float64)
    known = np.where(np.abs(known) < LARGEST, known, np.nan)
    found = np.empty(len(y))
    try:
        for fit, out in KFold(FOLDS, shuffle=True, random_state=SEED).split(known):
            found[out] = _corrected(metric.task, y[fit], p[fit], known[fit], p[out], known[out])
        return metric.measure(y, found, n_features)
    except (DataError, ArithmeticError, ValueError):  # it is undefined on these rows
        return None


def _corrected(task: Task, y: Floats, p: Floats, known: Floats, p_out: Floats, known_out: Floats) -> Floats:
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if task is Task.REGRESSION:
        fitted = _scaled(RidgeCV(np.logspace(-2, 4, 7))).fit(np.column_stack([p, known]), y - p)
        return np.asarray(p_out + fitted.predict(np.column_stack([p_out, known_out])), dtype=np.float64)
    if len(np.unique(y)) < 2:
        return np.full(len(p_out), y[0])
    if task is Task.BINARY:
        said, said_out = (np.log(np.clip(side, 1e-6, 1 - 1e-6) / np.clip(1 - side, 1e-6, 1)) for side in (p, p_out))
        fitted = _scaled(LogisticRegression()).fit(np.column_stack([said, known]), y)
        return np.asarray(fitted.predict_proba(np.column_stack([said_out, known_out]))[:, 1], dtype=np.float64)
    classes = np.unique(p)
    said, said_out = ((side[:, None] == classes).astype(np.float64) for side in (p, p_out))
    fitted = _scaled(LogisticRegression()).fit(np.column_stack([said, known]), y)
    return np.asarray(fitted.predict(np.column_stack([said_out, known_out])), dtype=np.float64)


def _scaled(model: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model)
