"""What many tests at once do to a p-value: one entry each in `CORRECTIONS`.

From the p-values of all columns to their adjusted p-values, in the same order; each within 0..1, none below what it was.
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
    return _adjusted(p_values, "holm")


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Benjamini and Hochberg (1995): bounds the expected share of false alarms among the columns found."""
    return _adjusted(p_values, "fdr_bh")


CORRECTIONS: Mapping[str, Correction] = {"none": none, "holm": holm, "benjamini_hochberg": benjamini_hochberg}


def _adjusted(p_values: Floats, method: str) -> Floats:
    # Imported here: it takes a second, and who checks model.yaml needs the names alone.
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p_values, method=method)[1], dtype=np.float64)
