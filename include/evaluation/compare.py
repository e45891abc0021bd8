"""How much better one of two sets of predictions is on the same rows, and how surely: for any metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from include.core.errors import DataError
from include.evaluation.metrics import Floats, Metric, pair

GROUPS = 1000
"""Of a metric that is no function of sums the rows are left out in at most so many groups."""
SEED = 20640


@dataclass(frozen=True)
class Gain:
    """How much better one is, in the metric's unit; positive where it is."""

    value: float
    error: float
    """Its standard error."""
    skewness: float
    """Of ``value``: negative where few rows speak much against what most of them say."""
    pieces: int
    """The rows, or groups of rows, that were left out in turn."""

    def at_least(self, alpha: float) -> float:
        """A lower bound of the true gain, above it with probability ``alpha``.

        By the quantile of Student's t. Where the rows are skewed against the gain, their largest losses are likely to
        be missing from the sample, and its error is too small: there the quantile is that of Hall's transformation
        (Hall: On the removal of skewness by transformation, J. R. Stat. Soc. B 54, 1992). A skewness in favour is not
        counted: of heavy tails it is a matter of chance.
        """
        return self.value - self._quantile(alpha) * self.error

    def at_most(self, alpha: float) -> float:
        """An upper bound of the true gain, below it with probability ``alpha``."""
        return -replace(self, value=-self.value, skewness=-self.skewness).at_least(alpha)

    def detectable(self, alpha: float, power: float) -> float:
        """The true gain of which ``at_least`` is above 0 with probability ``power``, about."""
        return (self._quantile(alpha) + float(special.ndtri(power))) * self.error

    def _quantile(self, alpha: float) -> float:
        student = float(special.stdtrit(self.pieces - 1, 1 - alpha))
        if self.skewness > -1e-6:
            return student
        root = math.cbrt(1 + self.skewness * (student - self.skewness / 6))
        return max(student, 3 / self.skewness * (root - 1))


def gain(
    metric: Metric,
    actual: npt.ArrayLike,
    candidate: npt.ArrayLike,
    serving: npt.ArrayLike,
    n_features: tuple[int, int],
) -> Gain:
    """How much better the candidate is, with the jackknife's standard error (Tukey, 1958; Efron, Stein, 1981).

    Each row is left out of both, so what makes it hard for both cancels. Of metrics without `RowTerms` groups of rows
    are, chosen by chance, where there are many rows (Busing, Meijer, van der Leeden: Delete-m jackknife for unequal m,
    Statistics and Computing 9, 1999). For metrics that change smoothly with a row's weight: not for a median of errors.

    Args:
        actual, candidate, serving: one value per row.
        n_features: of the candidate and of the serving version.

    Raises:
        DataError: as `metrics.pair`, or the metric is undefined on the rows, or without some of them.
    """
    y, p = pair(actual, candidate)
    q = pair(actual, serving)[1]
    observed = metric.gain(metric.measure(y, p, n_features[0]), metric.measure(y, q, n_features[1]))
    without, sizes = (_without_row if metric.by_row else _without_group)(metric, y, p, q, n_features)
    if len(without) < 2 or not np.isfinite(without).all():
        raise DataError(f"{metric.title} is undefined without some of {len(y)} rows", fix="Use more rows")
    times = len(y) / sizes
    pseudo = times * observed - (times - 1) * without
    deviation = pseudo - pseudo.mean()
    variance = float((deviation**2).mean())
    skewness = float((deviation**3).mean()) / variance**1.5 if variance > 0 else 0.0
    error = math.sqrt(float((deviation**2 / (times - 1)).mean()))
    return Gain(observed, error, skewness / math.sqrt(len(without)), len(without))


def _without_row(metric: Metric, y: Floats, p: Floats, q: Floats, n_features: tuple[int, int]) -> tuple[Floats, Floats]:
    """The gain without each row, of a metric that is a function of sums over rows; and how many are left out."""
    assert metric.by_row is not None
    values = []
    with np.errstate(divide="ignore", invalid="ignore"):  # without one row there may be no variance to explain
        for predicted, count in zip((p, q), n_features, strict=True):
            terms = metric.by_row.terms(y, predicted)
            values.append(metric.by_row.value(terms.sum(axis=0) - terms, len(y) - 1, count))
        gains = values[0] - values[1] if metric.higher_is_better else values[1] - values[0]
    return gains, np.ones(len(y))


def _without_group(
    metric: Metric, y: Floats, p: Floats, q: Floats, n_features: tuple[int, int]
) -> tuple[Floats, Floats]:
    """The same of any metric, of groups of rows; where it is undefined without one, that is not a number."""
    groups = min(len(y), GROUPS)
    group = np.random.default_rng(SEED).permutation(len(y)) % groups
    gains = np.full(groups, np.nan)
    for number in range(groups):
        rest = group != number
        try:
            gains[number] = metric.gain(
                metric.measure(y[rest], p[rest], n_features[0]), metric.measure(y[rest], q[rest], n_features[1])
            )
        except DataError:
            break
    return gains, np.bincount(group, minlength=groups).astype(np.float64)
