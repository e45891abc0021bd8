"""
Validates the quarantined rows of a partition again, after a rule or model.yaml changed, and takes back those that pass.

**Runs when:** by hand, for the partition that the trigger form asks for. A dry run by default: it says what would be
taken back. Without a partition it lists those that have rows in quarantine, in its log and in the run's tab *Report*.

**Reads:** that partition of `raw_` and `quarantine_<model>`.

**Writes:** (no dry run) that partition of `quarantine_` and `clean_<model>`, and a row in `decisions`.

**Safe to re-run:** yes: a row that was taken back is in quarantine no more.

**When it fails:** no batch of that partition is there, or it is none of the model's grain; nothing has changed then.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import Label, Param, PartitionedAtRuntime, dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import key_of, model_run_of, note, partition_param, run_of


def reprocess_quarantine(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "reprocess_quarantine", Tag.INGESTION) | {"max_active_runs": 1},
        schedule=PartitionedAtRuntime(),
        doc_md=__doc__,
        params={
            "partition": partition_param(spec, "its rows are validated again. Empty: list those that have some."),
            "dry_run": Param(True, type="boolean", description="Only say what would be taken back."),
        },
    )
    def build() -> None:
        @task.branch
        def find_partition(**context) -> str:
            return "judge_again" if key_of(context) else "list_partitions"

        @task
        def list_partitions(**context) -> None:
            from include.ingestion import steps
            from include.orchestration import notes

            note(context, notes.of_waiting(steps.list_quarantine(model_run_of(context))))

        @task
        def judge_again(**context) -> dict:
            from include.ingestion import steps
            from include.orchestration import notes

            found = steps.preview_quarantine(run_of(context))
            note(context, notes.of_quarantine(found))
            return asdict(found)

        @task.branch
        def choose_action(found: dict, params: dict) -> str:
            if not found["taken_back"]:
                return "keep_waiting"
            return "report_only" if params["dry_run"] else "take_rows_back"

        @task
        def keep_waiting(found: dict) -> None:
            print(f"None of {found['waiting']} rows passes: {found['batch_reasons'] or found['still_waiting']}")

        @task
        def report_only(found: dict, **context) -> None:
            note(context, "dry run: nothing was taken back")
            print(f"Dry run: {found['taken_back']} of {found['waiting']} rows pass; run again with dry_run off.")

        @task(outlets=[assets.clean])
        def take_rows_back(outlet_events=None, **context) -> dict:
            from include.ingestion import steps

            run = run_of(context)
            outlet_events[assets.clean].add_partitions(run.partition.key)
            return asdict(steps.take_rows_back(run))

        asked, found = find_partition(), judge_again()
        action = choose_action(found)
        asked >> Label("none asked for") >> list_partitions()
        asked >> Label("one asked for") >> found
        action >> Label("no row passes") >> keep_waiting(found)
        action >> Label("dry run") >> report_only(found)
        action >> Label("for real") >> take_rows_back()

    build()


for model in models.valid():
    reprocess_quarantine(model)
