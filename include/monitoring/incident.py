"""Incidents: windows that the policy does not let pass, from the first of them to the next good one; told once each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind, Outcome, Reason
from include.lakehouse.run import Run

QUIET = timedelta(hours=1)
"""So long after an incident was told no other one is, by the clock: one that lasts is told then."""
BAD = (Outcome.ALERT_ROOT_CAUSE, Outcome.REQUEST_RETRAINING)
GOOD = (Reason.PERFORMANCE_HOLDS, Reason.HARMLESS_DRIFT)
"""Nothing less is a recovery: a window without labels says nothing of one that was bad."""


def find(run: Run) -> Outcome | None:
    """What there is to tell after the run has decided on its window: an incident, a recovery, or nothing."""
    history = decisions.history(run.lake, run.spec.name, Kind.RETRAINING_POLICY, subject=run.partition.key)
    ours = [item for item in history if item.run_id == run.run_id]
    told = sorted(decisions.history(run.lake, run.spec.name, Kind.INCIDENT_NOTICE), key=lambda item: item.recorded_at)
    return news(told, ours[-1], datetime.now(UTC)) if ours else None


def news(told: Sequence[Decision], decided: Decision, now: datetime) -> Outcome | None:
    """What a decision on a window adds to what was told.

    Args:
        told: what was told before, in the order of the clock.
    """
    last = told[-1] if told else None
    if last is not None and decided.subject < last.subject:
        return None  # a window of before: a later one was told of
    is_open = last is not None and last.outcome == Outcome.INCIDENT_TOLD
    if decided.outcome in BAD:
        lately = any(item.outcome == Outcome.INCIDENT_TOLD and now - item.recorded_at < QUIET for item in told)
        return None if is_open or lately else Outcome.INCIDENT_TOLD
    return Outcome.RECOVERY_TOLD if is_open and set(decided.reasons) & set(GOOD) else None


def record(run: Run, outcome: Outcome, places: Sequence[str]) -> None:
    """Keep that it was told, and by which connections, once it was: what no place took is told with the next window."""
    run.decide(Kind.INCIDENT_NOTICE, outcome, [], inputs={"told_by": ", ".join(places)})
