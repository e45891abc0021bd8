"""
Compacts the model's Delta tables and removes files that no kept version needs.

**Runs when:** each Sunday night.

**Reads:** the Delta log of every table of the model.

**Writes:** rewritten files; table versions older than the retention can no longer be read afterwards. Those of training
sets stay: a version of long ago is compared with, and rolled back to.

**Safe to re-run:** yes, also while another model maintains the tables that they share.

**When it fails:** others wrote to a table at each attempt; the retry finds it free.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import model_run_of, note


def maintain_tables(model: str) -> None:
    spec = catalogue.load(model)

    @dag(
        # Tables want upkeep also after their source has ended.
        **dag_defaults(spec, "maintain_tables", Tag.MAINTENANCE),
        schedule=CronTriggerTimetable("0 3 * * 0", timezone="UTC"),
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def compact_and_vacuum(**context) -> dict:
            from include.orchestration import maintenance

            done = maintenance.maintain_tables(model_run_of(context))
            note(context, f"{len(done)} tables, {sum(table['files_removed'] for table in done.values())} files removed")
            return done

        compact_and_vacuum()

    build()


for model in models.valid():
    maintain_tables(model)
