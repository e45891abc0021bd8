"""The verdict on a day's delivery, recorded as a decision."""

from __future__ import annotations

from datetime import date

from include.governance import decisions
from include.ingestion import batch
from include.ingestion.batch import BatchVerdict
from include.ingestion.delivery import Delivery
from include.lakehouse.times import known_after
from include.workspace import Workspace


def validate(workspace: Workspace, day: date, run_id: str) -> BatchVerdict:
    """Validate the delivery of a day (`batch.validate`) and record what becomes of it."""
    spec = workspace.spec
    verdict = batch.validate(spec, workspace.lake, Delivery.expected(workspace.places, spec, "batches", day))
    decisions.record(
        workspace.lake,
        model=spec.name,
        kind="batch_verdict",
        subject=day.isoformat(),
        outcome=verdict.outcome,
        reasons=[*verdict.batch_reasons, *verdict.reasons],
        inputs={"verdict": verdict},
        decided_at=known_after(day),
        actor="policy",
        policy_hash=decisions.policy_hash(spec.ingestion),
        run_id=run_id,
    )
    return verdict
