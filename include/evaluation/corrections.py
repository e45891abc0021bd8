"""What many tests at once do to a p-value: one entry each in `CORRECTIONS`.

From the p-values of all columns to their adjusted p-values, in the same order: within 0..1, none below what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Correction = Callable[[Floats], Floats]


def none(p_values: Floats) -> Floats:
    """No correction: of 20 columns without drift, one is found at ``alpha`` 0.05."""
    return p_values


def holm(p_values: Floats) -> Floats:
    """Holm (1979): bounds the probability of even one false alarm among the columns by ``alpha``."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Benjamini and Hochberg (1995): bounds the expected share of false alarms among the columns found."""
    from scipy import stats  # takes a second, and who checks model.yaml needs the names alone

    return np.asarray(stats.false_discovery_control(p_values, method="bh"), dtype=np.float64)


CORRECTIONS: Mapping[str, Correction] = {"none": none, "holm": holm, "benjamini_hochberg": benjamini_hochberg}
