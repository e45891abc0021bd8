"""
Takes a partition's delivery into the lakehouse, row by row.

**Runs when:** each partition (by default a day); or backfilled over a range, or triggered with a partition key.

**Reads:** `<landing>/<model>/batches/batch_date=<key>/`, once its `_SUCCESS` marker is there.

**Writes:** that partition of `raw_`, `quarantine_` and `clean_<model>`, its profile in `profiles_`, a row
for each expectation in `metrics_<model>`, a row in `decisions` (the run's tab *Report*).

**Safe to re-run:** yes, each write replaces the partition in one commit. For a corrected delivery backfill its
partition, with completed runs reprocessed: its features follow; what was served and measured of it stays, and the new
predictions stand beside.

**When it fails:** no delivery before the deadline: the message names the marker that was expected.
A warning comes before that, after half of the time (`deliveries.warn_minutes`), in the triggerer's log.
`alert_rejected_batch` fails on purpose: the batch is rejected, all its rows are in quarantine, and a person has to ask
the sender. What was accepted of that partition before is withdrawn everywhere (`announce_withdrawal` starts
`withdraw_batch`). Bad rows alone fail no run: they wait in quarantine with their reasons. A delivery with a header and
no rows is a rejected one, too; with `deliveries.no_rows: accept` the run is green, and nothing follows from it.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.sensors import DeliverySensor

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, delivery_deadline, each_partition, source_dates
from include.orchestration.runs import note, run_of


def ingest_batch(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)
    schedule = each_partition(spec)

    @dag(
        **dag_defaults(spec, "ingest_batch", Tag.INGESTION) | source_dates(spec, schedule),
        schedule=schedule,
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
            from include.ingestion import steps
            from include.orchestration import notes

            verdict = steps.validate_batch(run_of(context))
            context["ti"].xcom_push("batch_reasons", list(verdict.batch_reasons))
            note(context, notes.of_batch(verdict))
            return verdict.outcome.value

        @task(outlets=[assets.clean])
        def accept_batch(**context) -> dict:
            from include.ingestion import steps

            return asdict(steps.load_batch(run_of(context)))

        @task(outlets=[assets.clean])
        def accept_and_quarantine(**context) -> dict:
            from include.ingestion import steps

            return asdict(steps.load_batch(run_of(context)))

        @task
        def no_new_rows() -> None:
            print("The delivery has a header and no rows, as model.yaml lets it: nothing follows from it.")

        @task
        def reject_batch(reasons: list, **context) -> dict:
            from include.ingestion import steps

            return asdict(steps.reject_batch(run_of(context), reasons))

        @task(outlets=[assets.withdrawn])
        def announce_withdrawal(**context) -> None:
            from include.ingestion import steps

            if not steps.find_traces(run_of(context)):
                raise AirflowSkipException("Nothing of it was accepted before.")
            note(context, "what was accepted before is withdrawn (withdraw_batch)")

        @task(retries=0)
        def alert_rejected_batch(**context) -> None:
            from include.ingestion import steps

            steps.alert(run_of(context))

        verdict = validate_batch()
        wait_for_delivery >> verdict
        verdict >> Label("every row passes") >> accept_batch()
        verdict >> Label("some rows fail") >> accept_and_quarantine()
        verdict >> Label("no row") >> no_new_rows()
        rejected = reject_batch(verdict["batch_reasons"])
        verdict >> Label("the batch fails") >> rejected >> [announce_withdrawal(), alert_rejected_batch()]

    build()


for model in models.valid():
    ingest_batch(model)
