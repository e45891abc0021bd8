"""
Takes the labels of a partition's rows into the lakehouse. They arrive later than the rows.

**Runs when:** once a partition, `deliveries.label_delay` partitions later; or backfilled, or triggered with a
partition key.

**Reads:** `<landing>/<model>/labels/batch_date=<key>/`, once its `_SUCCESS` marker is there, and the keys of the
partition's batch, where that is there: a label of no delivered row waits in quarantine. So does one without a value;
with `deliveries.null_labels: unlabelled` it says that its row has no label, and is counted. A delivery without
labels replaces nothing; with `deliveries.no_rows: accept` the run is green, and nothing follows from it.

**Writes:** that partition of `labels_` and `quarantine_labels_<model>`, a row in `decisions` (the run's tab *Report*).

**Safe to re-run:** yes, each write replaces the partition in one commit.

**When it fails:** no labels before the deadline: the message names the marker that was expected. Labels that are
rejected as a whole (they cannot be read, are none, break the rules under `labels` in expectations.yaml too often, or
their number is unusual) fail `load_labels` at once, on purpose: the run's note and its tab *Report* say why. What could
be read waits in quarantine, those that were there stay, and a person has to ask the sender.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.sensors import DeliverySensor

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, each_partition, source_dates
from include.orchestration.runs import note, run_of


def ingest_labels(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)
    schedule = each_partition(spec, later=spec.deliveries.label_delay)

    @dag(
        **dag_defaults(spec, "ingest_labels", Tag.INGESTION) | source_dates(spec, schedule),
        schedule=schedule,
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
            from include.ingestion import steps
            from include.orchestration import notes

            counts = steps.load_labels(run_of(context))
            note(context, notes.of_labels(counts))
            if not counts.rows:
                raise AirflowSkipException(
                    "The delivery has no labels, as model.yaml lets it: nothing follows from it."
                )
            return asdict(counts)

        wait_for_labels >> load_labels()

    build()


for model in models.valid():
    ingest_labels(model)
