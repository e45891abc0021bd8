"""What monitor_model does, a step at a time: measure a window, decide what follows, alert."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pyarrow as pa

from include.core.errors import DataError, FlightlineError
from include.core.partition import Partition
from include.evaluation import metrics
from include.lakehouse import alias_history, decisions, predictions, windows
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import LABELS, MODEL_VERSION, PREDICTIONS
from include.lakehouse.windows import Content, WindowMetrics
from include.monitoring import faults, history, policy, probation, reference, replay, report, window
from include.monitoring.policy import Verdict
from include.monitoring.window import Measured
from include.registry import smoke
from include.registry import steps as registry
from include.registry.promotion import Transition

log = logging.getLogger(__name__)


class RootCauseAlert(FlightlineError):
    """A person has to look: a mistake upstream, or performance that fell though no feature drifted and the rows teach
    nothing better."""


@dataclass(frozen=True)
class Probation:
    """What probation says of a window."""

    branch: Literal["decide", "roll_back_version", "leave_to_probation"]
    """Of `monitor_model`: the task that follows."""
    said: str
    """For the note of the run; empty where there is nothing to say."""


def measure_window(run: Run) -> WindowMetrics:
    """Measure what was served of the partition's window, and replace its rows of ``metrics_<model>``.

    A run after the labels arrived replaces what was measured before. Where a partition before changes meanwhile, of
    whose rows the window is made, it is measured again: what is written last is of what is there, or `find_outdated` of
    the run that changed it finds this one.

    Raises:
        UsageError: there is no batch of it, nor labels.
    """
    run.require_batch(LABELS, PREDICTIONS)
    spec, lake, partition = run.spec, run.lake, run.partition
    first = windows.first_partition(spec, partition)

    def look() -> dict[Partition, Content]:
        return windows.contents(spec, lake, first, partition.shift(-1)) if first < partition else {}

    def measured() -> Measured:
        served = predictions.served_rows(spec, lake, partition)
        trained = reference.load(spec, lake, _version(served)) if served is not None else None
        return window.measure(spec, lake, partition, served, trained, run.labels_available_at())

    seen = look()
    while True:
        written, found = window.write(spec, lake, partition, measured)
        if (now := look()) == seen:
            break
        seen = now
    log.info(report.of_window(spec, written, found))
    if found.version is not None and predictions.served_rows(spec, lake, partition) is None:
        return withdraw_window(run)  # it was withdrawn meanwhile
    return written


def withdraw_window(run: Run) -> WindowMetrics:
    """Make the partition a window in which nothing was served: what was measured of it counts no more.

    Raises:
        UsageError: its batch is accepted.
    """
    run.require_withdrawn()
    spec, lake, partition = run.spec, run.lake, run.partition
    nothing = window.measure(spec, lake, partition, None, None, run.labels_available_at())
    return window.write(spec, lake, partition, lambda: nothing)[0]


def decide(run: Run) -> Verdict:
    """Apply the retraining policy to the measured window, and record what it says and all that it took.

    Where the window, or one that it looked back on, changes meanwhile, it is applied again: what is recorded last is of
    what is there, or `find_outdated` of the run that changed it finds this one.

    Raises:
        UsageError: there is no batch of the partition, nor labels.
    """
    run.require_batch(LABELS, PREDICTIONS)
    count = run.spec.monitoring.retraining.of_windows - 1

    def look() -> tuple[WindowMetrics | None, list[WindowMetrics]]:
        return _current(run), history.labelled_windows(run.spec, run.lake, run.partition, count)

    seen = look()
    while True:
        verdict = _decide(run, *seen)
        if (now := look()) == seen:
            return verdict
        seen = now


def judge_probation(run: Run) -> Probation:
    """Hold the version in production against the one before it, by the labelled windows that are there; record it.

    Raises:
        UsageError: there is no batch of the partition, nor labels.
    """
    run.require_batch(LABELS, PREDICTIONS)
    trial = probation.current(run)
    verdict = probation.judge(run, trial) if trial else None
    if trial and verdict and verdict.rolls_back:
        return Probation("roll_back_version", probation.told(run.spec, verdict))
    if before := probation.answered(run, _current(run)):
        said = f"probation has answered this window: version {before.version} was rolled back to {before.former}"
        log.info(said)
        return Probation("leave_to_probation", said)
    return Probation("decide", probation.told(run.spec, verdict) if verdict else "")


def end_probation(run: Run) -> Transition | None:
    """Put the version back into production that was there before one that failed probation.

    Returns:
        What was done; None where nothing is to be done any more: another run did it, or a promotion came first.

    Raises:
        DataError: the version that was there before does not predict, or is gone.
    """
    if begun := probation.begun(run):
        # An earlier attempt was ended in between: what it began is completed, and recorded.
        return registry.go_back(run, begun.former, Reason.SURELY_WORSE, _because_of(run, begun), actor=Actor.POLICY)
    trial = probation.current(run)
    verdict = probation.judge(run, trial) if trial else None
    if trial is None or verdict is None or not verdict.rolls_back:
        return None
    smoke.score(run.spec, run.lake, trial.former)

    def require(running: str | None) -> None:
        now = alias_history.current(run.lake, run.spec.name)
        if now is None or now.decision_id != trial.period.decision_id:
            raise _Replaced

    said = _because_of(run, verdict)
    try:
        return registry.go_back(run, trial.former, Reason.SURELY_WORSE, said, actor=Actor.POLICY, require=require)
    except _Replaced:
        log.info("Version %s is in production no more: nothing is rolled back", trial.version)
        return None


def _because_of(run: Run, verdict: probation.Verdict) -> str:
    return f"probation: {probation.told(run.spec, verdict)}"


class _Replaced(Exception):
    """Another version went into production meanwhile."""


def _in_production(run: Run, current: WindowMetrics | None) -> str | None:
    """The version in production; for a window that has asked for the one that replaced its own, still its own.

    Else a window that is decided on again would take back what it asked for, because it was answered.
    """
    serving = alias_history.current(run.lake, run.spec.name)
    if serving is None:
        return None
    asked = decisions.history(
        run.lake, run.spec.name, Kind.TRAINING_REQUEST, since=run.labels_available_at(), subject=run.partition.key
    )
    answered = any(item.actor == Actor.POLICY for item in asked)
    return current.version if answered and current and current.version else serving.version


def _decide(run: Run, current: WindowMetrics | None, past: Sequence[WindowMetrics]) -> Verdict:
    spec, lake, at = run.spec, run.lake, run.labels_available_at()
    production, requests = _in_production(run, current), history.requests(spec, lake, at)
    verdict = policy.decide(
        spec.monitoring,
        metrics.of(spec),
        current,
        production=production,
        history=past,
        requests=requests,
        at=at,
    )
    run.decide(
        Kind.RETRAINING_POLICY,
        verdict.outcome,
        verdict.reasons,
        at=at,
        inputs=replay.recorded(
            spec,
            window=current,
            looked_back=history.looked_back(past),
            production=production,
            requests=requests,
            verdict=verdict,
        ),
        follows=[spec.monitoring],
    )
    log.info(report.of_verdict(spec, current, verdict, at))
    return verdict


def find_outdated(run: Run) -> list[str]:
    """Keys of the later windows to be decided on again: what they looked back on is not what is measured now, or what
    they are made of not what is there now."""
    return [item.key for item in history.outdated(run.spec, run.lake, run.partition)]


def request_retraining(run: Run) -> str | None:
    """Record that the policy asks for a training with the data known after the partition.

    A window is decided on when it is scored, again when its labels are there, and in a backfill: one training answers
    all of them. The policy's word on a day knows what was asked for before that day; where days come backwards, later
    ones have asked already, and cool-down and budget hold on both sides.

    Returns:
        Why it is not asked for; then nothing is recorded.
    """
    at, rules = run.labels_available_at(), run.spec.monitoring.retraining
    reach = timedelta(days=max(rules.budget_days, rules.cooldown_days))
    asked = [
        item
        for item in decisions.history(run.lake, run.spec.name, Kind.TRAINING_REQUEST, since=at - reach)
        if item.actor == Actor.POLICY and item.run_id != run.run_id
    ]
    if same := [item for item in asked if item.subject == run.partition.key]:
        return f"{same[0].run_id} asked for this training: one is enough"
    apart = [abs(at - item.decided_at) for item in asked]
    if any(gap < timedelta(days=rules.cooldown_days) for gap in apart):
        return f"a training was asked for within {rules.cooldown_days} days of this window, by a later one"
    if sum(gap < timedelta(days=rules.budget_days) for gap in apart) >= rules.budget_requests:
        return f"{rules.budget_requests} trainings were asked for within {rules.budget_days} days of this window"
    run.decide(
        Kind.TRAINING_REQUEST, Outcome.REQUEST_RETRAINING, [Reason.ASKED_FOR], at=at, follows=[run.spec.training]
    )
    return None


def alert(run: Run) -> None:
    """Fail with what is known, so that the run turns red where people look.

    Raises:
        RootCauseAlert: always.
    """
    spec, measured = run.spec, _current(run)
    metric, threshold = metrics.of(spec), spec.monitoring.performance.threshold
    if measured is not None and measured.faults:
        raise RootCauseAlert(
            "; ".join(faults.told(measured)),
            where=f"{spec.name}, {run.partition}, version {measured.version}",
            fix="Have the partition delivered anew, or withdraw it; a change that is to stay is undone in features.sql",
        )
    if measured is None or measured.metric is None:
        said = f"{metric.title} is not known"
    else:
        side = "below" if metric.higher_is_better else "above"
        said = (
            f"{metric.title} is {metric.shown(measured.metric)}, {side} its threshold {metric.shown(threshold)}, "
            f"on {measured.labelled_rows} rows{f' of {measured.span}' if measured.span else ''}, and no feature drifted"
        )
        if measured.residuals_drifted:
            said += "; the predictions miss otherwise than they did, and nothing can be learned from these rows"
    if measured and measured.drifted_columns:
        said += f"; nulls or categories changed in what is delivered: {', '.join(measured.drifted_columns)}"
    raise RootCauseAlert(
        said,
        where=f"{spec.name}, {run.partition}, version {measured.version if measured else None}",
        fix="Look at labels, joins and upstream changes; retraining on these rows may learn the fault",
    )


def _current(run: Run) -> WindowMetrics | None:
    found = windows.read(run.spec, run.lake, run.partition, run.partition)
    return found[0] if found else None


def _version(served: pa.Table) -> str:
    """The one that was served."""
    found = sorted(served[MODEL_VERSION].unique().to_pylist())
    if len(found) > 1:
        raise DataError(
            f"rows of versions {', '.join(found)} were served",
            where=PREDICTIONS.layer,
            fix="Run score_batch for that partition",
        )
    return str(found[0])
