"""
Takes the labels of a day's rows into the lakehouse. They arrive later than the rows.

**Runs when:** each day, for the day before; or backfilled, or triggered with a day as partition key.

**Reads:** `<landing>/<model>/labels/batch_date=<day>/`, once its `_SUCCESS` marker is there.

**Writes:** that day's partition of `labels_<model>`.

**Safe to re-run:** yes, the write replaces the day's partition in one commit.

**When it fails:** no labels before the deadline: the message names the marker that was expected.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import dag, task
from flightline.sensors import DeliverySensor

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, daily
from include.orchestration.runs import day_of, workspace_of


def ingest_labels(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "ingest_labels", Tag.INGESTION),
        schedule=daily(spec, days_later=spec.deliveries.label_delay_days),
        doc_md=__doc__,
    )
    def build() -> None:
        wait_for_labels = DeliverySensor(
            task_id="wait_for_labels",
            model=model,
            kind="labels",
            deadline=timedelta(minutes=spec.deliveries.deadline_minutes),
        )

        @task(outlets=[assets.labels])
        def load_labels(**context) -> dict:
            from include.ingestion import labels
            from include.ingestion.delivery import Delivery

            workspace, day = workspace_of(context), day_of(context)
            delivery = Delivery.expected(workspace.places, workspace.spec, "labels", day)
            return asdict(labels.load(workspace.spec, workspace.lake, delivery))

        wait_for_labels >> load_labels()

    build()


for model in models.valid():
    ingest_labels(model)
