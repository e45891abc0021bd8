"""The verdict on a day's delivery: recorded as a decision, as metrics, and as a page of Data Docs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from include.core.partition import known_after
from include.core.settings import Places
from include.ingestion import batch, scores
from include.ingestion.batch import BatchVerdict
from include.ingestion.delivery import Delivery
from include.lakehouse import decisions
from include.lakehouse.run import Workspace


def validate(workspace: Workspace, day: date, run_id: str) -> BatchVerdict:
    """Validate the delivery of a day (`batch.validate`) and record what becomes of it."""
    spec = workspace.spec
    folder = docs_folder(workspace.places, spec.name, day)
    delivery = Delivery.expected(workspace.places, spec, "batches", day)
    verdict = batch.validate(spec, workspace.lake, delivery, folder)
    scores.write(spec, workspace.lake, day, verdict.results, verdict.rows)
    decisions.record(
        workspace.lake,
        model=spec.name,
        kind="batch_verdict",
        subject=day.isoformat(),
        outcome=verdict.outcome,
        reasons=[*verdict.batch_reasons, *verdict.reasons],
        inputs={"verdict": replace(verdict, results=())},
        decided_at=known_after(day),
        actor="policy",
        policy_hash=decisions.policy_hash(spec.ingestion),
        run_id=run_id,
    )
    return verdict


def docs_folder(places: Places, model: str, day: date) -> Path | None:
    """Where the Data Docs of a day's batch are, if any are kept."""
    return Path(places.docs_folder) / model / day.isoformat() if places.docs_folder else None
