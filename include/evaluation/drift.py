"""Data drift: is a window drawn from the same distribution as the reference, column by column?

Three things are kept apart: the test (how unlikely is the difference), the correction (how many tests there
were), and the rule (a column has drifted when its corrected p-value is below ``alpha`` *and* the distance at
least ``min_effect``). With thousands of rows a test finds differences too small to matter, hence the second
condition.

What happens to values that are no plain numbers:

- null: counts as a value below all others, so a column that starts to arrive empty is drift;
- constant in reference and window alike, or no rows in the window: distance 0, p-value 1, no drift;
- two values over both samples (one-hot columns): the Kolmogorov-Smirnov distance is then the difference of
  two shares, and Fisher's exact test gives its p-value, because ties make the other one far too large;
- a window of one or a few rows is tested like any other: a single row is drift only where it lies further
  out than all but about ``alpha / number of columns`` of the reference;
- text: refused, features are numbers by the time they are monitored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from include.core.errors import DataError
from include.core.spec import Drift

Floats = npt.NDArray[np.float64]
TwoSampleTest = Callable[[Floats, Floats], tuple[float, float]]
"""From the values of reference and window to (distance within 0..1, p-value)."""
Correction = Callable[[Floats], Floats]
"""From the p-values of all columns to their adjusted p-values, in the same order."""


@dataclass(frozen=True)
class FeatureDrift:
    """The result of one column."""

    feature: str
    statistic: float
    """Distance between the two distributions, 0 (same) to 1 (apart)."""
    p_value: float
    adjusted_p: float
    """p-value after the correction for the number of columns tested."""
    drifted: bool


def detect(reference: pd.DataFrame, current: pd.DataFrame, config: Drift) -> list[FeatureDrift]:
    """Test every column of the reference, in its order, for drift of the current window.

    Args:
        reference: rows the model was trained on, one numeric column per feature; at least one row.
        current: rows of the window, with at least the reference's columns (others are ignored); may be empty.
        config: the test, the correction, ``alpha`` and ``min_effect``.

    Raises:
        DataError: the reference is empty, or a column is absent or holds text.
    """
    missing = [column for column in reference.columns if column not in current.columns]
    if missing:
        raise DataError(
            f"columns {', '.join(missing)} of the reference are not in the window",
            fix="Rebuild the window's features with the features.sql that the model was trained with",
        )
    if reference.empty and len(reference.columns):
        raise DataError("the drift reference has no rows", fix="Name a training set that exists")
    test = TESTS[config.test]
    results = [test(_values(reference, name), _values(current, name)) for name in reference.columns]
    if not results:
        return []
    adjusted = CORRECTIONS[config.correction](np.array([p_value for _, p_value in results]))
    return [
        FeatureDrift(
            feature=str(name),
            statistic=statistic,
            p_value=p_value,
            adjusted_p=float(adjusted_p),
            drifted=bool(adjusted_p < config.alpha and statistic >= config.min_effect),
        )
        for name, (statistic, p_value), adjusted_p in zip(reference.columns, results, adjusted, strict=True)
    ]


def kolmogorov_smirnov(reference: Floats, current: Floats) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov distance and its two-sided asymptotic p-value (Hodges 1958).

    Asymptotic at every size, so that a p-value does not jump where an exact method would take over. Ties make
    it conservative: fewer false alarms than ``alpha`` promises. Two-valued samples go to Fisher's exact test.
    """
    if not len(current):
        return 0.0, 1.0
    distinct = np.union1d(reference, current)
    if len(distinct) == 1:
        return 0.0, 1.0
    if len(distinct) == 2:
        return _two_valued(reference == distinct[1], current == distinct[1])
    result = stats.ks_2samp(reference, current, method="asymp")
    return float(result.statistic), float(result.pvalue)


TESTS: dict[str, TwoSampleTest] = {"kolmogorov_smirnov": kolmogorov_smirnov}


def holm(p_values: Floats) -> Floats:
    """Holm (1979): bounds the probability of even one false alarm among the columns by ``alpha``."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Benjamini and Hochberg (1995): bounds the expected share of false alarms among the columns found."""
    return np.asarray(stats.false_discovery_control(p_values, method="bh"), dtype=np.float64)


CORRECTIONS: dict[str, Correction] = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}


def _two_valued(reference: npt.NDArray[np.bool_], current: npt.NDArray[np.bool_]) -> tuple[float, float]:
    counts = [[int(sample.sum()), int((~sample).sum())] for sample in (reference, current)]
    distance = abs(float(reference.mean()) - float(current.mean()))
    return distance, float(stats.fisher_exact(counts).pvalue)


def _values(frame: pd.DataFrame, column: str) -> Floats:
    try:
        values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise DataError(f"column {column} is not numeric", fix="Encode it as numbers in features.sql") from None
    return np.where(np.isnan(values), -np.inf, values)
