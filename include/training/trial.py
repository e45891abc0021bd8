"""One trial of a hyperparameter search, and where trials are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from include.training.algorithms.algorithm import Parameters

Curve = Sequence[tuple[int, float]]
"""After how many rounds which validation loss, every `pruning.EVERY` rounds; of algorithms that grow in rounds."""


@dataclass(frozen=True)
class Trial:
    """One point that was tried. Number 0 is the baseline's parameters."""

    number: int
    validation: float
    """`metrics.for_search`, weighted, on the validation rows, or the mean over the folds."""
    params: Parameters
    """Those that fit it again."""
    asked: Parameters = field(default_factory=dict)
    """Those that were asked for: the others were found on the way."""
    seconds: float = field(default=0.0, compare=False)
    """What it took."""
    curve: Curve = ()
    pruned: bool = False
    """Whether it was given up for hopeless: it is measured by the rounds that it came to, on the first fold."""
    folds: tuple[float, ...] = ()
    """The metric on each fold that it came to, where there are several."""


class Journal(Protocol):
    """Keeps the trials of a search, so that one that is killed goes on from its last trial."""

    def known(self) -> Mapping[int, Trial]:
        """By their numbers, those that an earlier attempt has finished."""

    def record(self, trial: Trial) -> None:
        """Keep a trial that has just been finished; called from several threads."""


class NoJournal:
    """Keeps nothing."""

    def known(self) -> Mapping[int, Trial]:
        return {}

    def record(self, trial: Trial) -> None:
        pass
