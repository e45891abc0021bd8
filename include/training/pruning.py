"""When a trial is given up: its validation loss is worse than what most others had after as many rounds.

The median stopping rule (Golovin et al.: Google Vizier, KDD 2017) with a higher quantile: boosters that learn slowly
are behind at first, and among the best in the end. Only trials of earlier batches are looked at, so it does not depend
on which of several that run at once is faster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from include.training.trial import Curve

EVERY = 25
"""Rounds between two looks."""
FIRST = 100
"""Rounds before the first look: slow learners begin worse."""
QUANTILE = 0.75
"""Of what the others had: a trial that is worse is given up."""
LEAST_CURVES = 5
"""Finished trials without which nothing is said."""


class QuantileRule:
    """Watches one trial; asked after each round, it says whether to go on."""

    def __init__(self, others: Sequence[Curve], enabled: bool = True) -> None:
        """
        Args:
            others: the curves of the trials of earlier batches that were not given up.
        """
        self.curve: list[tuple[int, float]] = []
        self.pruned = False
        self._best = float("inf")
        self._others = [_lowest_so_far(curve) for curve in others if curve] if enabled else []

    def __call__(self, rounds: int, loss: float) -> bool:
        """Whether to go on after so many rounds."""
        self._best = min(self._best, loss)
        if rounds % EVERY:
            return True
        self.curve.append((rounds, loss))
        if rounds >= FIRST and len(self._others) >= LEAST_CURVES:
            others = [_after(other, rounds) for other in self._others]
            self.pruned = self._best > float(np.quantile(others, QUANTILE))
        return not self.pruned


def _lowest_so_far(curve: Curve) -> Curve:
    return list(zip((rounds for rounds, _ in curve), accumulate((loss for _, loss in curve), min), strict=True))


def _after(curve: Curve, rounds: int) -> float:
    """Its lowest loss up to there; of one that is only longer, its first."""
    return curve[max(0, bisect_right(curve, rounds, key=lambda point: point[0]) - 1)][1]
