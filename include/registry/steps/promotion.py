"""A version that passed its gates, and is approved, goes into production."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import approval, promised, promotion, versions
from include.registry.promotion import Transition
from include.registry.registration import subject
from include.registry.steps.approval import approve, comments, named, require_persons
from include.registry.steps.gate import require_gates
from include.registry.steps.move import record_move
from include.registry.steps.release import judged_release, require_release


def promote(run: Run, version: str) -> Transition:
    """Put a version that passed its gates, and is approved, into production.

    Raises:
        UsageError: a gate was not passed, in this run or at last; model.yaml asks for persons, and of those who may
            not enough have approved it in this run; or a part of the release is another one than the gates have judged.
        TamperedError: its files or tags are not those that were registered.
    """
    found, said = versions.get(run.spec, version), tuple[str, ...]()
    decision_id = decisions.identity(run.spec.name, Kind.PROMOTION, subject(found), run.run_id)
    if not any(period.decision_id == decision_id for period in alias_history.periods(run.lake, run.spec.name)):
        serving = promotion.in_production(run.spec, run.lake)
        require_gates(run, found, serving.version if serving else None)
        require_persons(run, found, Kind.PROMOTION)
        held = run.spec.approval.release.at_promotion
        said = require_release(run, found, Kind.PROMOTION, judged_release(run, found), held)
        approve(run, version)
    require, approved = partial(require_gates, run, found), approval.approvals(run, found)
    actor, comment = named(approved) or Actor.POLICY, comments(approved)
    moved = promotion.put_in_production(run.spec, run.lake, found.version, decision_id, require, actor=actor)
    moved, why, at = replace(moved, release_changes=said), Reason.PASSED_ALL_GATES, found.known_at
    record_move(run, found, moved, Kind.PROMOTION, Outcome.PROMOTED, why, at=at, actor=actor, comment=comment)
    if moved.changed:
        promised.note(run.spec, run.lake, found.version, moved.former)
    return moved
