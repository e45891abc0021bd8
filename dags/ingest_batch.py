"""
Takes a day's delivery into the lakehouse, row by row.

**Runs when:** each day; or backfilled over a range of days, or triggered with a day as partition key.

**Reads:** `<landing>/<model>/batches/batch_date=<day>/`, once its `_SUCCESS` marker is there.

**Writes:** that day's partition of `raw_`, `quarantine_` and `clean_<model>`, its profile in `profiles_`, a row
for each expectation in `metrics_<model>`, a page of Data Docs (the run's tab *Data quality*), a row in `decisions`.

**Safe to re-run:** yes, each write replaces the day's partition in one commit. For a corrected delivery backfill its
day, with completed runs reprocessed: features, predictions and metrics of the day follow.

**When it fails:** no delivery before the deadline: the message names the marker that was expected.
A warning comes before that, after half of the time (`deliveries.warn_minutes`), in the triggerer's log.
Bad data does not fail the run: bad rows wait in quarantine with their reasons, a bad batch takes `reject_batch`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, dag, task
from flightline.sensors import DeliverySensor

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, daily, delivery_deadline
from include.orchestration.runs import day_of, workspace_of


def ingest_batch(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "ingest_batch", Tag.INGESTION),
        schedule=daily(spec),
        deadline=delivery_deadline(spec),
        doc_md=__doc__,
    )
    def build() -> None:
        wait_for_delivery = DeliverySensor(
            task_id="wait_for_delivery",
            model=model,
            kind="batch",
            deadline=timedelta(minutes=spec.deliveries.deadline_minutes),
        )

        @task.branch
        def validate_batch(**context) -> str:
            from include.ingestion import audit

            verdict = audit.validate(workspace_of(context), day_of(context), context["run_id"])
            context["ti"].xcom_push("batch_reasons", list(verdict.batch_reasons))
            return verdict.outcome

        @task(outlets=[assets.clean])
        def accept_batch(**context) -> dict:
            from include.ingestion import batch

            workspace = workspace_of(context)
            return asdict(batch.load(workspace.spec, workspace.lake, day_of(context)))

        @task(outlets=[assets.clean])
        def accept_and_quarantine(**context) -> dict:
            from include.ingestion import batch

            workspace = workspace_of(context)
            return asdict(batch.load(workspace.spec, workspace.lake, day_of(context)))

        @task
        def reject_batch(reasons: list, **context) -> dict:
            from include.ingestion import batch

            workspace = workspace_of(context)
            return asdict(batch.reject(workspace.spec, workspace.lake, day_of(context), reasons))

        verdict = validate_batch()
        wait_for_delivery >> verdict
        verdict >> Label("every row passes") >> accept_batch()
        verdict >> Label("some rows fail") >> accept_and_quarantine()
        verdict >> Label("the batch fails") >> reject_batch(verdict["batch_reasons"])

    build()


for model in models.valid():
    ingest_batch(model)
