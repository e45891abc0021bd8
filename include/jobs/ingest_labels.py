"""Load the labels of a day's rows: what the DAG ingest_labels does, without waiting."""

from __future__ import annotations

from datetime import date

from include.ingestion import labels
from include.ingestion.delivery import Delivery
from include.ingestion.labels import LabelCounts
from include.jobs.command import run_for_day
from include.lakehouse.run import Workspace


def ingest(workspace: Workspace, day: date, run_id: str) -> LabelCounts:
    delivery = Delivery.expected(workspace.places, workspace.spec, "labels", day)
    return labels.load(workspace.spec, workspace.lake, delivery)


if __name__ == "__main__":
    run_for_day("ingest_labels", ingest)
