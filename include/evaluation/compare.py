"""Which of two sets of predictions is better on the same rows, and how surely: for any metric."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from include.core.errors import DataError
from include.evaluation.metrics import Floats, Metric, pair

RESAMPLES = 2000
SEED = 20640
BATCH = 200
"""Resamples drawn at once: bounds the memory to BATCH x rows x terms numbers."""


def gain_interval(
    metric: Metric,
    actual: npt.ArrayLike,
    candidate: npt.ArrayLike,
    serving: npt.ArrayLike,
    n_features: tuple[int, int],
    confidence: float,
) -> tuple[float, float]:
    """How much better the candidate is, and a one-sided lower bound of that.

    Paired percentile bootstrap (Efron, Tibshirani: An Introduction to the Bootstrap, 1993, ch. 13): rows
    are drawn again, so what makes a row hard for both cancels.

    Args:
        actual, candidate, serving: one value per row.
        n_features: of the candidate and of the serving version.
        confidence: share of resamples above the bound, e.g. 0.95.

    Returns:
        The gain on the rows, in the metric's unit, positive where the candidate is better; and the bound.

    Raises:
        DataError: as `metrics.pair`, or the metric is undefined on the rows, or on most resamples of them.
    """
    y, p = pair(actual, candidate)
    q = pair(actual, serving)[1]
    observed = metric.gain(metric.measure(y, p, n_features[0]), metric.measure(y, q, n_features[1]))
    draw = _by_terms if metric.by_row else _by_rows
    gains = draw(metric, y, p, q, n_features)
    gains = gains[np.isfinite(gains)]
    if len(gains) < RESAMPLES / 2:
        raise DataError(f"{metric.title} is undefined on most resamples of {len(y)} rows", fix="Use more rows")
    return observed, float(np.quantile(gains, 1 - confidence))


def _by_terms(metric: Metric, y: Floats, p: Floats, q: Floats, n_features: tuple[int, int]) -> Floats:
    """Gains of the resamples, of a metric that is a function of sums over rows."""
    assert metric.by_row is not None
    first, second = metric.by_row.terms(y, p), metric.by_row.terms(y, q)
    terms, rng, rows = np.hstack([first, second]), np.random.default_rng(SEED), len(y)
    sums = np.concatenate(
        [
            terms[rng.integers(0, rows, (min(BATCH, RESAMPLES - start), rows))].sum(axis=1)
            for start in range(0, RESAMPLES, BATCH)
        ]
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of equal values has no variance to explain
        values = [
            metric.by_row.value(part, rows, count) for part, count in zip(np.hsplit(sums, 2), n_features, strict=True)
        ]
    return values[0] - values[1] if metric.higher_is_better else values[1] - values[0]


def _by_rows(metric: Metric, y: Floats, p: Floats, q: Floats, n_features: tuple[int, int]) -> Floats:
    """The same, of any metric; a resample on which it is undefined is not a number."""
    rng, rows = np.random.default_rng(SEED), len(y)
    gains = np.full(RESAMPLES, np.nan)
    for number in range(RESAMPLES):
        drawn = rng.integers(0, rows, rows)
        try:
            gains[number] = metric.gain(
                metric.measure(y[drawn], p[drawn], n_features[0]), metric.measure(y[drawn], q[drawn], n_features[1])
            )
        except DataError:
            continue
    return gains
