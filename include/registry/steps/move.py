"""What became of a move of the alias, in the decisions."""

from __future__ import annotations

import logging
from datetime import datetime

from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry.promotion import Transition
from include.registry.registration import subject
from include.registry.steps import record
from include.registry.versions import Version

log = logging.getLogger(__name__)


def record_move(
    run: Run,
    version: Version,
    moved: Transition,
    kind: Kind,
    outcome: Outcome,
    reason: Reason,
    *,
    at: datetime,
    actor: str,
    comment: str,
) -> None:
    """Say what was done: moved, found there already, or left since a later decision has moved it on.

    What this decision did before it was superseded is said once: a repetition replaces no row by another meaning.
    """
    decision_id = decisions.identity(run.spec.name, kind, subject(version), run.run_id)
    periods = alias_history.periods(run.lake, run.spec.name)
    began = next((place for place, period in enumerate(periods) if period.decision_id == decision_id), None)
    if began is not None:
        made = record.decided(run, version, kind)
        if any(item.decision_id == decision_id and item.outcome == outcome for item in made):
            log.info("It was done and recorded before; version %s is in production", moved.version)
            return
        # Who began it is in the period: what this run knows of answers may be another thing by now.
        actor = periods[began].actor or actor
        moved = Transition(version.version, periods[began - 1].version if began else None, True, moved.release_changes)
    if moved.version != version.version:
        log.info("Nothing changed: version %s took its place since, and stays", moved.version)
        return
    if not moved.changed:
        outcome, reason = Outcome.NO_ACTION, Reason.ALREADY_IN_PRODUCTION
        log.info("Nothing changed: version %s is in production already", moved.version)
    else:
        log.info("Version %s is in production, before it: %s", moved.version, moved.former or "none")
    changes = {"release_changes": moved.release_changes} if moved.release_changes else {}
    inputs = {"former": moved.former, **record.said(comment), **changes}
    record.decide(run, kind, version, outcome, [reason], at=at, actor=actor, inputs=inputs)
