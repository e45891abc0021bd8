"""Hyperparameter search on the validation rows, or by cross-validation: in batches, kept as it goes, and the same
wherever it runs.

The points of a batch are drawn together, and all of them are told before the next batch is drawn. So how many cores
there are, and which trial is faster, changes nothing; and an attempt that is repeated after a crash draws the same
points, and takes what is known of them from the journal.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Metric
from include.training import algorithms
from include.training.algorithms import Parameters, Sample
from include.training.pruning import QuantileRule
from include.training.sampler import Sampler
from include.training.trial import Curve, Journal, NoJournal, Trial

log = logging.getLogger(__name__)

Measured = tuple[Sample, Sample]
"""Rows that are fitted to, and those that are measured on."""


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


def tune(spec: ModelSpec, folds: Sequence[Measured], journal: Journal | None = None) -> SearchResult:
    """Find the parameters that are best on rows that are not fitted to.

    The baseline's are tried first, so on these rows the best is never worse than they are. The other trials stop early
    where the algorithm can.

    Args:
        folds: what each trial is fitted to and measured on (`splits.search_folds`); of several the mean counts.
        journal: keeps the trials; what it knows of an earlier attempt is not fitted again.

    Raises:
        DataError: a fold has too few rows, or the metric is undefined on one.
    """
    least = metrics.of(spec).least_rows(folds[0][0].features.shape[1])
    for number, rows in enumerate(len(sample.target) for fold in folds for sample in fold):
        if rows < least:
            use = "measure on" if number % 2 else "fit to"
            raise DataError(
                f"fold {number // 2 + 1} has {rows} rows to {use}, fewer than {least}",
                where=f"{spec.file()}: training.search.folds",
                fix="Ingest more labelled partitions, or lessen training.search.folds",
            )
    return _Search(spec, folds, journal or NoJournal()).run()


class _Search:
    def __init__(self, spec: ModelSpec, folds: Sequence[Measured], journal: Journal) -> None:
        self._spec, self._folds, self._journal = spec, folds, journal
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
        best = self._surely_best()
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
        trial = self._fitted(attempt, curves, threads)
        self._journal.record(trial)
        return trial

    def _fitted(self, attempt: _Attempt, curves: Sequence[Curve], threads: int) -> Trial:
        began = time.perf_counter()
        rule = QuantileRule(curves, enabled=self._limits.pruning and attempt.stops_early)
        values, fitted = [], []
        for place, fold in enumerate(self._folds):
            value, found = self._measured(attempt, fold, threads, None if place else rule)
            values.append(value)
            fitted.append(found)
            if rule.pruned:
                break
        seconds = round(time.perf_counter() - began, 2)
        several = tuple(values) if len(self._folds) > 1 else ()
        final = {name: attempt.params[name] for name in self._algorithm.final if name in attempt.params}
        value, params = self._mean(values), {**self._together(fitted), **final}
        return Trial(attempt.number, value, params, attempt.params, seconds, tuple(rule.curve), rule.pruned, several)

    def _measured(
        self, attempt: _Attempt, fold: Measured, threads: int, rule: QuantileRule | None
    ) -> tuple[float, Parameters]:
        """The metric on one fold, and the parameters with those found on the way."""
        train, validation = fold
        stopping = validation if attempt.stops_early and self._algorithm.rounds else None
        asked = {name: value for name, value in attempt.params.items() if name not in self._algorithm.final}
        fitted = algorithms.fit(self._spec, train, asked, stopping, threads=threads, watch=rule)
        predicted = self._algorithm.predict(fitted.model, validation.features, self._spec.task)
        n_features = train.features.shape[1]
        value = self._metric.weighted(validation.target, predicted, validation.weight, n_features)
        return value, fitted.params

    def _mean(self, values: Sequence[float]) -> float:
        """Over the folds, by the weight of their rows. Where a trial was given up on the first, the baseline's mean and
        what the trial was better or worse by on that fold: folds are not alike."""
        if len(values) < len(self._folds):
            baseline = self._tried[0]
            return baseline.validation + values[0] - baseline.folds[0]
        weights = [float(validation.weight.sum()) for _, validation in self._folds]
        return float(np.average(values, weights=weights))

    def _together(self, fitted: Sequence[Parameters]) -> Parameters:
        """The parameters of all folds: they differ in the rounds alone, of which the mean is taken."""
        rounds = self._algorithm.rounds
        if not rounds or len(fitted) == 1:
            return fitted[0]
        return {**fitted[0], rounds: round(sum(params[rounds] for params in fitted) / len(fitted))}

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

    def _surely_best(self) -> Trial:
        """The best one; it, and the baseline, as they are measured again where an earlier attempt has done so.

        Its trials lie where others may write: one that is not what it says is not believed.
        """
        again = {*self._known} & {trial.number for trial in self._tried}
        for number in again & {0}:
            self._measure_again(self._tried[number])
        sure = {0}
        while (best := self._best()).number in again - sure:
            self._measure_again(best)
            sure.add(best.number)
        return best

    def _measure_again(self, trial: Trial) -> None:
        attempt = _Attempt(trial.number, dict(trial.asked), stops_early=trial.number > 0)
        found = self._fitted(attempt, [], algorithms.most_threads())
        if not math.isclose(found.validation, trial.validation, rel_tol=1e-6):
            said = "Trial %s was recorded with %s, and has %s: that counts"
            log.warning(said, trial.number, trial.validation, found.validation)
        self._tried[trial.number] = found

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
