"""
Asks for a training with the data known after a partition: the weekly one, the first one, or one by hand.

**Runs when:** each Monday, for the newest partition whose batch has to be there (`deliveries`); or triggered with a
partition key.

**Reads:** whether rows of the partition are in `clean_<model>`.

**Writes:** a row in `decisions`; its event starts `train_model`.

**Safe to re-run:** yes; each run asks for one more training.

**When it fails:** no row of the partition's batch is accepted: it is late, rejected or withdrawn, the message says
which. Trigger it with the key of one that is.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, source_dates, weekly
from include.orchestration.runs import note, run_of


def request_training(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)
    schedule = weekly(spec)

    @dag(
        **dag_defaults(spec, "request_training", Tag.TRAINING) | source_dates(spec, schedule),
        schedule=schedule,
        doc_md=__doc__,
    )
    def build() -> None:
        @task(outlets=[assets.retraining_requested])
        def request(**context) -> None:
            from include.training import steps

            run = run_of(context)
            steps.request_training(run)
            note(context, f"a training is asked for, with what is known after {run.partition}")

        request()

    build()


for model in models.valid():
    request_training(model)
