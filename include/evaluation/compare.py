"""Which of two versions is better on the same rows, and how surely."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from include.evaluation.metrics import Floats

RESAMPLES = 2000
BOOTSTRAP_SEED = 20640
BATCH = 200
"""Resamples drawn at once: bounds the memory to BATCH x rows x 4 numbers."""


def difference_interval(
    actual: npt.ArrayLike,
    candidate: npt.ArrayLike,
    serving: npt.ArrayLike,
    n_features: tuple[int, int],
    confidence: float,
) -> tuple[float, float]:
    """How much better the candidate's adjusted R2 is, and a one-sided lower bound of that.

    Paired percentile bootstrap (Efron, Tibshirani: An Introduction to the Bootstrap, 1993, ch. 13): rows
    are drawn again, so what makes a row hard for both versions cancels.

    Args:
        actual, candidate, serving: one value per row.
        n_features: of the candidate and of the serving version.
        confidence: share of resamples above the bound, e.g. 0.95.

    Returns:
        The difference on the rows, and the bound.
    """
    y = np.asarray(actual, dtype=np.float64)
    y = y - y.mean()
    errors = [np.asarray(actual, dtype=np.float64) - np.asarray(p, dtype=np.float64) for p in (candidate, serving)]
    terms = np.column_stack([errors[0] ** 2, errors[1] ** 2, y, y**2])
    rows = len(y)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [
        terms[rng.integers(0, rows, (min(BATCH, RESAMPLES - start), rows))].sum(axis=1)
        for start in range(0, RESAMPLES, BATCH)
    ]
    resampled = _difference(np.concatenate(drawn), rows, n_features)
    observed = _difference(terms.sum(axis=0, keepdims=True), rows, n_features)
    return float(observed[0]), float(np.quantile(resampled, 1 - confidence))


def _difference(sums: Floats, rows: int, n_features: tuple[int, int]) -> Floats:
    """Difference of adjusted R2 from sums (resamples x 4): both squared errors, the target, its square."""
    total = sums[:, 3] - sums[:, 2] ** 2 / rows
    price = [(rows - 1) / (rows - count - 1) for count in n_features]
    difference: Floats = (sums[:, 1] * price[1] - sums[:, 0] * price[0]) / total
    return difference
