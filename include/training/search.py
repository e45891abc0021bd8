"""Hyperparameter search on the validation rows: in batches, kept as it goes, and the same wherever it runs.

The points of a batch are drawn together, and all of them are told before the next batch is drawn. So how many cores
there are, and which trial is faster, changes nothing; and an attempt that is repeated after a crash draws the same
points, and takes what is known of them from the journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Metric
from include.training import algorithms
from include.training.algorithms import Parameters, Sample
from include.training.pruning import QuantileRule
from include.training.sampler import Sampler
from include.training.trial import Curve, Journal, NoJournal, Trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult:
    best: Trial
    trials: tuple[Trial, ...]
    ended_by: str
    """``trials``, ``minutes`` or ``patience``: which limit of model.yaml was reached first."""


@dataclass(frozen=True)
class _Attempt:
    """One point to try. The baseline is fitted as it would be as a candidate, without stopping early."""

    number: int
    params: Parameters
    stops_early: bool


def tune(spec: ModelSpec, train: Sample, validation: Sample, journal: Journal | None = None) -> SearchResult:
    """Find the parameters that are best on the validation rows.

    The baseline's are tried first, so on these rows the best is never worse than they are. The other trials stop early
    where the algorithm can.

    Args:
        journal: keeps the trials; what it knows of an earlier attempt is not fitted again.

    Raises:
        DataError: the metric is undefined on the validation rows.
    """
    return _Search(spec, train, validation, journal or NoJournal()).run()


class _Search:
    def __init__(self, spec: ModelSpec, train: Sample, validation: Sample, journal: Journal) -> None:
        self._spec, self._train, self._validation, self._journal = spec, train, validation, journal
        self._limits, self._algorithm = spec.training.search, algorithms.of(spec)
        self._metric: Metric = metrics.for_search(spec)
        self._known = journal.known()
        self._tried: list[Trial] = []
        self._spent = 0.0
        """Seconds, those of an earlier attempt's trials included."""

    def run(self) -> SearchResult:
        logging.getLogger("hyperopt").setLevel(logging.WARNING)
        limits, sampler = self._limits, Sampler(self._limits)
        baseline = dict(self._spec.training.baseline)
        shared = {name: value for name, value in baseline.items() if name != self._algorithm.rounds}
        if self._known:
            log.info("An earlier attempt has finished %s trials: they are kept", len(self._known))
        self._try([_Attempt(0, baseline, stops_early=False)])
        while not (ended := self._ended()):
            first = len(self._tried)
            points = [sampler.ask() for _ in range(min(limits.parallel, limits.trials + 1 - first))]
            self._try([_Attempt(first + place, {**shared, **point}, True) for place, point in enumerate(points)])
            for trial in self._tried[first:]:
                sampler.tell(trial.number - 1, self._metric.gain(0.0, trial.validation))
        best = self._best()
        log.info("%s trials, ended by %s: trial %s is the best", len(self._tried), ended, best.number)
        return SearchResult(best, tuple(self._tried), ended)

    def _try(self, batch: Sequence[_Attempt]) -> None:
        """All of a batch, side by side where the algorithm can; they are told in their order."""
        workers = min(len(batch), algorithms.cores()) if self._algorithm.fits_side_by_side else 1
        threads = algorithms.most_threads() if workers == 1 else algorithms.cores() // workers
        curves = [trial.curve for trial in self._tried[1:] if not trial.pruned]
        longest = 0.0
        with ThreadPoolExecutor(workers, thread_name_prefix="trial") as pool:
            for trial in pool.map(lambda attempt: self._finished(attempt, curves, threads), batch):
                self._tried.append(trial)
                longest = max(longest, trial.seconds)
                self._tell(trial)
        self._spent += longest

    def _finished(self, attempt: _Attempt, curves: Sequence[Curve], threads: int) -> Trial:
        known = self._known.get(attempt.number)
        if known and known.asked == attempt.params:
            return known
        began = time.perf_counter()
        rule = QuantileRule(curves, enabled=self._limits.pruning and attempt.stops_early)
        stopping = self._validation if attempt.stops_early and self._algorithm.rounds else None
        fitted = algorithms.fit(self._spec, self._train, attempt.params, stopping, threads=threads, watch=rule)
        predicted = self._algorithm.predict(fitted.model, self._validation.features, self._spec.task)
        rows, n_features = self._validation, self._train.features.shape[1]
        value = self._metric.weighted(rows.target, predicted, rows.weight, n_features)
        seconds = round(time.perf_counter() - began, 2)
        trial = Trial(attempt.number, value, fitted.params, attempt.params, seconds, tuple(rule.curve), rule.pruned)
        self._journal.record(trial)
        return trial

    def _ended(self) -> str:
        """The limit of model.yaml that is reached; empty while none is."""
        limits = self._limits
        if len(self._tried) > limits.trials:
            return "trials"
        if limits.minutes is not None and self._spent >= 60 * limits.minutes:
            return "minutes"
        if limits.patience is not None and len(self._tried) - 1 - self._best().number >= limits.patience:
            return "patience"
        return ""

    def _best(self) -> Trial:
        """The first one of the best."""
        return max(self._tried, key=lambda trial: self._metric.gain(trial.validation, self._tried[0].validation))

    def _tell(self, trial: Trial) -> None:
        best, metric = self._best(), self._metric
        log.info(
            "Trial %s of %s: %s %s%s in %.1f s; best so far %s of trial %s; at most about %.0f s left",
            *(trial.number, self._limits.trials, metric.title, metric.shown(trial.validation)),
            " when it was given up" if trial.pruned else "",
            *(trial.seconds, metric.shown(best.validation), best.number, self._left()),
        )

    def _left(self) -> float:
        """Seconds until the last trial, at the pace so far, or until the time is over."""
        tried = self._tried[1:]
        pace = sum(trial.seconds for trial in tried) / len(tried) if tried else 0.0
        at_once = min(self._limits.parallel, algorithms.cores()) if self._algorithm.fits_side_by_side else 1
        left = (self._limits.trials - len(tried)) * pace / at_once
        return left if self._limits.minutes is None else min(left, max(0.0, 60 * self._limits.minutes - self._spent))
