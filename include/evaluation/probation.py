"""Whether a version is surely worse than the one before it, looked at several times while windows come in. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from include.evaluation.compare import Gain


@dataclass(frozen=True)
class Look:
    """One look at the first windows of a version, all of them together."""

    windows: int
    """Those that are there by now."""
    of: int
    """Those that probation lasts."""
    alpha: float
    """The chance with which this look may call a version worse that is not."""
    lower_bound: float
    """Of how much better the former version is: below it with that chance."""
    is_worse: bool
    """Whether that is more than the margin."""

    @property
    def is_last(self) -> bool:
        return self.windows >= self.of


def look(gain: Gain, *, before: int, windows: int, of: int, alpha: float, margin: float = 0.0) -> Look:
    """Judge a version by its first windows.

    All looks together err no more often than ``alpha``: each spends what `spent` says has come to be spent since the
    one before (Bonferroni), however they depend on each other.

    Args:
        gain: of the former version on this one, on the rows of those windows together.
        before: windows that were there at the look before; 0 before the first.
        margin: what the former version has to be better by, in the metric's unit.
    """
    now = spent(windows, of, alpha) - spent(before, of, alpha)
    bound = gain.at_least(now)
    return Look(windows, of, now, bound, bound > margin)


def spent(windows: int, of: int, alpha: float) -> float:
    """How much of alpha the looks up to one may have spent: little at first, as O'Brien and Fleming have it.

    A version that is far worse is seen at once, and the last look has nearly all of alpha. (Lan, DeMets: Discrete
    sequential boundaries for clinical trials, Biometrika 70, 1983; their first function, for a one-sided test.)
    """
    if not windows:
        return 0.0
    share = min(windows / of, 1.0)
    return float(2 * special.ndtr(special.ndtri(alpha / 2) / math.sqrt(share)))
