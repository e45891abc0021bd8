"""A training that was asked for outside the retraining policy: the weekly one, the first one, or by hand."""

from __future__ import annotations

from datetime import date

from include.core.partition import known_after
from include.lakehouse import decisions
from include.lakehouse.run import Workspace


def record(workspace: Workspace, day: date, run_id: str) -> None:
    """Record that a training with the data known after a day is wanted."""
    decisions.record(
        workspace.lake,
        model=workspace.spec.name,
        kind="training_request",
        subject=day.isoformat(),
        outcome="request_retraining",
        reasons=["scheduled_or_by_hand"],
        inputs={},
        decided_at=known_after(day),
        actor="schedule_or_person",
        policy_hash=decisions.policy_hash(workspace.spec.training),
        run_id=run_id,
    )
