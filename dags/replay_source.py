"""
Plays the outside system: delivers one partition of the source file, as a supplier would. For the demo and for tests.

**Runs when:** by hand, or by `make demo`.

**Reads:** the file that model.yaml names under `replay` (or the environment variable named there). Rows with a time of
their own (`replay.time`) come with the partition that they are of; others are shuffled, most of them as history.

**Writes:** files and `_SUCCESS` markers below `<landing>/<model>/`. It emits no asset: the sensors find the files.

**Safe to re-run:** yes, the same partition delivers the same bytes.

**When it fails:** the file named by the environment variable is not there, the param `file` names one that is not in
`<landing>/.cache` (or that variable's), or model.yaml has no `replay` (or no
`replay.drift` and a `drift_day` is given); the message names it.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import MOST, model_run_of, note


def replay_source(model: str) -> None:
    spec = catalogue.load(model)
    drift_day = 4 if spec.replay and spec.replay.drift else None
    days = spec.replay.partitions if spec.replay else 10

    @dag(
        **dag_defaults(spec, "replay_source", Tag.DEMO),
        schedule=None,
        doc_md=__doc__,
        params={
            "file": Param(
                None, type=["string", "null"], description="CSV file in <landing>/.cache; empty: as model.yaml says."
            ),
            "batch": Param(
                0,
                type=["integer", "null"],
                minimum=0,
                maximum=MOST,
                description="Number of its partition; 0: the first.",
            ),
            "labels": Param(
                None, type=["integer", "null"], minimum=0, maximum=MOST, description="Number of their partition."
            ),
            "days": Param(days, type="integer", minimum=1, maximum=364, description="Partitions after the history."),
            "drift_day": Param(
                drift_day, type=["integer", "null"], minimum=1, maximum=MOST, description="First one that drifts."
            ),
        },
    )
    def build() -> None:
        @task
        def deliver(params: dict, **context) -> list[str]:
            from include.demo import replay

            delivered = replay.deliver(model_run_of(context), **params)
            note(context, f"delivered {', '.join('/'.join(path.split('/')[-2:]) for path in delivered) or 'nothing'}")
            return delivered

        deliver()

    build()


for model in models.valid():
    replay_source(model)
