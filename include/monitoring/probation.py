"""A new version's first labelled windows, beside the version before it on the same rows.

Both are held against the rows that the new one served, as it served them; rows that either was trained on are left out.
Which windows these are is asked when a look is due: those that come late are among them by then.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.evaluation import metrics, probation
from include.evaluation.probation import Look
from include.lakehouse import alias_history, decisions
from include.lakehouse.alias_history import AliasPeriod
from include.lakehouse.decisions import Decision, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.windows import WindowMetrics
from include.monitoring import history
from include.registry import promised, registration, side_by_side, smoke, versions
from include.registry.registration import subject_of
from include.registry.side_by_side import SideBySide

log = logging.getLogger(__name__)

DELIVERED = "gain.delivered"
"""Of a version: what it has gained on the one before it, on what it served; in the metric's unit."""


@dataclass(frozen=True)
class Trial:
    """A version on probation: the period that runs, and the version of the period before it."""

    period: AliasPeriod
    former: str

    @property
    def version(self) -> str:
        return self.period.version


@dataclass(frozen=True)
class Delivered:
    """What a version has gained on the one before it, in the metric's unit; positive where it is better."""

    rows: int
    gain: float
    lower_bound: float
    upper_bound: float


@dataclass(frozen=True)
class Verdict:
    """What probation says of the version in production, or of the one that served a window."""

    version: str
    former: str
    outcome: Outcome
    reason: Reason
    windows: tuple[str, ...]
    """Keys of those that it was judged by, oldest first."""
    of: int
    """So many it lasts."""
    roll_back: bool
    """Whether the rule says so of a version that is surely worse."""
    delivered: Delivered | None
    promised: Mapping[str, Any] | None
    """The comparison at the gate."""

    @property
    def rolls_back(self) -> bool:
        return self.outcome is Outcome.FAILED and self.roll_back


def current(run: Run) -> Trial | None:
    """The version in production, if a promotion put it there in the place of another one, and the rule asks for it."""
    periods = alias_history.periods(run.lake, run.spec.name)
    if not run.spec.probation.windows or len(periods) < 2 or periods[-1].kind != Kind.PROMOTION:
        return None
    return Trial(periods[-1], periods[-2].version)


def begun(run: Run) -> Verdict | None:
    """The verdict by which this run has put a version back already, whether or not it came to its end."""
    decided = decisions.history(run.lake, run.spec.name, Kind.PROBATION, run_id=run.run_id)
    found = [verdict for verdict in map(restored, decided) if verdict.rolls_back]
    ours = {period.decision_id for period in alias_history.periods(run.lake, run.spec.name)}
    return next((verdict for verdict in found if _roll_back_id(run, verdict.former) in ours), None)


def _roll_back_id(run: Run, former: str) -> str:
    return decisions.identity(run.spec.name, Kind.ROLL_BACK, subject_of(former), run.run_id)


def looks(run: Run, version: str) -> list[Decision]:
    """What probation has said of a version, in all of its periods, by the clock."""
    found = decisions.history(run.lake, run.spec.name, Kind.PROBATION, subject=subject_of(version))
    return sorted(found, key=lambda item: item.recorded_at)


def restored(decision: Decision) -> Verdict:
    """What was recorded."""
    told = decision.inputs
    delivered = told["delivered"] and Delivered(**told["delivered"])
    reason = Reason(decision.reasons[0])
    return Verdict(
        **{name: told[name] for name in ("version", "former", "of", "roll_back", "promised")},
        outcome=Outcome(decision.outcome),
        reason=reason,
        windows=tuple(told["windows"]),
        delivered=delivered,
    )


def judge(run: Run, trial: Trial) -> Verdict | None:
    """Look at the windows of a version, and record what they say; None where there is nothing new to see.

    A look is taken once a labelled window has come in since the last one, whoever took that; the last one is taken when
    all of them are there. A version that is surely worse is not looked at again.
    """
    said = looks(run, trial.version)
    mine = [item for item in said if item.inputs["promotion"] == trial.period.decision_id]
    settled = [item for item in mine if item.outcome in (Outcome.FAILED, Outcome.PASSED)]
    if own := [item for item in mine if item.run_id == run.run_id] or settled:
        return restored(own[-1])
    others = [item for item in said if item not in mine]
    answered = {key for item in others for key in item.inputs["windows"]}
    windows = _windows(run, trial, answered)
    compared = [item for item in mine if item.outcome != Outcome.NOTHING_TO_COMPARE]
    before = max((len(item.inputs["windows"]) for item in compared), default=0)
    seen = _seen(windows)
    if len(windows) <= before or (mine and mine[-1].inputs.get("seen") == seen):
        return None
    verdict = _look(run, trial, windows, before)
    _record(run, trial, verdict, seen)
    return verdict


def _seen(windows: Sequence[WindowMetrics]) -> str:
    """What is known of windows, in short: corrected labels are another thing, and a look that compared nothing is taken
    again."""
    told = [(item.partition.key, item.metric, item.labelled_rows) for item in windows]
    return hashlib.sha256(decisions.canonical_json(told).encode()).hexdigest()[:16]


def _windows(run: Run, trial: Trial, answered: set[str]) -> list[WindowMetrics]:
    """The first labelled windows of the version, oldest first: at most as many as probation lasts."""
    spec, count = run.spec, run.spec.probation.windows
    first = max(Partition.of(trial.period.model_time, spec.grain), spec.first_partition)
    found = history.labelled_windows_from(spec, run.lake, first, count + len(answered), version=trial.version)
    return [item for item in found if item.partition.key not in answered][:count]


def _look(run: Run, trial: Trial, windows: Sequence[WindowMetrics], before: int) -> Verdict:
    spec, rule = run.spec, run.spec.probation
    compared = promised.of(spec, run.lake, trial.version, trial.former)
    told: dict[str, Any] = {
        "version": trial.version,
        "former": trial.former,
        "windows": tuple(item.partition.key for item in windows),
        "of": rule.windows,
        "roll_back": rule.roll_back,
        "promised": vars(compared) if compared else None,
    }
    try:
        sides = _sides(run, trial, windows)
        seen = probation.look(
            sides.gain, before=before, windows=len(windows), of=rule.windows, alpha=rule.alpha, margin=rule.margin
        )
    except DataError as error:
        log.warning("Version %s is not held against version %s: %s", trial.version, trial.former, error)
        return Verdict(**told, outcome=Outcome.NOTHING_TO_COMPARE, reason=Reason.NOT_COMPARABLE, delivered=None)
    outcome, reason = _said(seen)
    return Verdict(**told, outcome=outcome, reason=reason, delivered=_delivered(sides))


def _said(seen: Look) -> tuple[Outcome, Reason]:
    if seen.is_worse:
        return Outcome.FAILED, Reason.SURELY_WORSE
    if seen.is_last:
        return Outcome.PASSED, Reason.NOT_SURELY_WORSE
    return Outcome.NO_ACTION, Reason.MORE_WINDOWS


def _sides(run: Run, trial: Trial, windows: Sequence[WindowMetrics]) -> SideBySide:
    """The former version beside the one that served, on all rows of the windows, each once."""
    spec, keys = run.spec, {key for item in windows for key in item.partitions or (item.partition.key,)}
    former, serving = (versions.get(spec, number) for number in (trial.former, trial.version))
    registration.of(spec, run.lake, serving)
    partitions = [Partition.parse(key, spec.grain) for key in sorted(keys)]
    return side_by_side.served_by_second(spec, run.lake, former, serving, partitions)


def _delivered(sides: SideBySide) -> Delivered:
    gain = sides.gain  # of the former version
    return Delivered(sides.rows, -gain.value, -gain.at_most(smoke.ALPHA), -gain.at_least(smoke.ALPHA))


def _record(run: Run, trial: Trial, verdict: Verdict, seen: str) -> None:
    period = trial.period
    run.decide(
        Kind.PROBATION,
        verdict.outcome,
        [verdict.reason],
        subject=subject_of(verdict.version),
        at=run.labels_available_at(),
        about=period.model_time,
        inputs={**vars(verdict), "promotion": period.decision_id, "seen": seen},
        follows=[run.spec.probation],
    )
    said = told(run.spec, verdict)
    log.info(said)
    if verdict.delivered and verdict.outcome in (Outcome.FAILED, Outcome.PASSED):
        tags = {DELIVERED: promised.tagged(run.spec, verdict.delivered.gain)}
        if verdict.promised:
            tags[promised.TAG] = promised.tagged(run.spec, verdict.promised["gain"])
        versions.note(run.spec, verdict.version, "Probation", f"{said}.", tags)


def told(spec: ModelSpec, verdict: Verdict) -> str:
    """``version 3 gains -0.0312 (-0.0401 to -0.0220) of adjusted R2 on version 2 in 3 of 3 labelled windows, …``."""
    metric, found = metrics.of(spec), verdict.delivered
    windows = f"in {len(verdict.windows)} of {verdict.of} labelled windows"
    if found is None:
        return f"version {verdict.version} cannot be held against version {verdict.former} {windows}"
    gain, least, most = map(metric.shown, (found.gain, found.lower_bound, found.upper_bound))
    said = (
        f"version {verdict.version} gains {gain} ({least} to {most}) of {metric.title} on version {verdict.former} "
        f"{windows}, on the same {found.rows:,} rows"
    )
    if verdict.promised:
        said += f"; {metric.shown(verdict.promised['gain'])} was promised"
    ends = {
        Reason.SURELY_WORSE: "surely worse: " + ("it is rolled back" if verdict.roll_back else "recorded alone"),
        Reason.NOT_SURELY_WORSE: "not surely worse: it stays",
        Reason.MORE_WINDOWS: "not surely worse yet",
    }
    return f"{said}; {ends[verdict.reason]}"


def answered(run: Run, window: WindowMetrics | None) -> Verdict | None:
    """The verdict that has taken the version of a window out of production because of it, if one has."""
    if window is None or window.version is None:
        return None
    for item in reversed(looks(run, window.version)):
        verdict = restored(item)
        if verdict.rolls_back and window.partition.key in verdict.windows and _is_out(run, item):
            return verdict
    return None


def _is_out(run: Run, decision: Decision) -> bool:
    """Whether the period ended that a decision was about, by a roll-back."""
    periods = alias_history.periods(run.lake, run.spec.name)
    following = [after for one, after in pairwise(periods) if _began(one, decision)]
    return any(period.kind == Kind.ROLL_BACK for period in following)


def _began(period: AliasPeriod, decision: Decision) -> bool:
    return bool(period.decision_id == decision.inputs["promotion"])
