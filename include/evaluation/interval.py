"""How good predictions may be beyond the rows at hand: a bound on any metric of them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import numpy.typing as npt

from include.core.errors import DataError
from include.evaluation.metrics import Floats, Metric, of_constant, pair

Groups = npt.NDArray[np.int64]

GROUPS = 50
"""Left out one after the other: as many evaluations of the metric, whatever the number of rows."""
MOST_ROWS = 100_000
"""Of a metric that is no function of sums so many rows, drawn by chance, tell the error of all."""


def best_bound(
    metric: Metric, actual: npt.ArrayLike, predicted: npt.ArrayLike, n_features: int, confidence: float
) -> float | None:
    """The best value that the metric would have on all rows like these, at the given confidence, one-sided.

    Delete-a-group jackknife: the metric's standard error from leaving out one of `GROUPS` groups of rows after the
    other, and Student's t. (J. Shao, D. Tu: The Jackknife and Bootstrap, 1995, sections 2.3 and 5.1.)

    Args:
        actual, predicted: one value per row, in an order that says nothing of them.

    Returns:
        The bound, better than the value on the rows. None where it would say nothing: too little is left without a
        group to measure the metric on, or it could be anything between a constant and a perfect prediction, as where
        few labels differ from the others.

    Raises:
        DataError: the metric is undefined on the rows.
    """
    found = _value_and_reach(metric, actual, predicted, n_features, confidence)
    if found is None:
        return None
    value, reach = found
    return value + reach if metric.higher_is_better else value - reach


def bounds(
    metric: Metric, actual: npt.ArrayLike, predicted: npt.ArrayLike, n_features: int, confidence: float
) -> tuple[float, float] | None:
    """Between which values the metric would be on all rows like these, at the given confidence, two-sided.

    Arguments, errors and what None means as `best_bound`.
    """
    found = _value_and_reach(metric, actual, predicted, n_features, (1 + confidence) / 2)
    return (found[0] - found[1], found[0] + found[1]) if found else None


def _value_and_reach(
    metric: Metric, actual: npt.ArrayLike, predicted: npt.ArrayLike, n_features: int, confidence: float
) -> tuple[float, float] | None:
    from scipy import stats

    y, p = pair(actual, predicted)
    value = metric.measure(y, p, n_features)
    count = min(GROUPS, len(y))
    order = np.random.default_rng(len(y)).permutation(len(y))
    if metric.by_row:
        drawn, left = len(y), _by_terms(metric, y, p, n_features, order % count)
    else:
        drawn, some = min(len(y), MOST_ROWS), order[:MOST_ROWS]
        left = _by_rows(metric, y[some], p[some], n_features, np.arange(drawn) % count)
    if not np.isfinite(left).all():
        return None
    error = np.sqrt((count - 1) / count * np.sum((left - left.mean()) ** 2) * drawn / len(y))
    reach = float(stats.t.ppf(confidence, count - 1) * error)
    if reach > abs(metric.gain(metric.measure(y, y, n_features), of_constant(metric, y, n_features))):
        return None
    return value, reach


def _by_terms(metric: Metric, y: Floats, p: Floats, n_features: int, group: Groups) -> Floats:
    """The metric without each group, of a metric that is a function of sums over rows: in one pass."""
    assert metric.by_row is not None
    terms = metric.by_row.terms(y, p)
    sums = np.column_stack([np.bincount(group, weights=term) for term in terms.T])
    rows = np.bincount(group)
    with np.errstate(divide="ignore", invalid="ignore"):  # equal values have no variance to explain
        left = [
            metric.by_row.value((terms.sum(axis=0) - own)[None, :], len(y) - n, n_features)
            for own, n in zip(sums, rows, strict=True)
        ]
    return np.concatenate(left)


def _by_rows(metric: Metric, y: Floats, p: Floats, n_features: int, group: Groups) -> Floats:
    """The same, of any metric; not a number where it is undefined."""
    left = np.full(group.max() + 1, np.nan)
    for out in range(len(left)):
        with suppress(DataError, ArithmeticError, ValueError):  # a user's own says it in its own way
            left[out] = metric.measure(y[group != out], p[group != out], n_features)
    return left
