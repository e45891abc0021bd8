"""Validate a day's delivery, and load or reject it: what the DAG ingest_batch does, without waiting."""

from __future__ import annotations

from datetime import date

from include.ingestion import audit, batch
from include.ingestion.batch import BatchCounts
from include.jobs.command import run_for_day
from include.lakehouse.run import Workspace


def ingest(workspace: Workspace, day: date, run_id: str) -> BatchCounts:
    verdict = audit.validate(workspace, day, run_id)
    if verdict.outcome == "reject_batch":
        return batch.reject(workspace.spec, workspace.lake, day, verdict.batch_reasons)
    return batch.load(workspace.spec, workspace.lake, day)


if __name__ == "__main__":
    run_for_day("ingest_batch", ingest)
