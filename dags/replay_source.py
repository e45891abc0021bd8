"""
Plays the outside system: delivers one day of the source file, as a supplier would. For the demo and for tests.

**Runs when:** by hand, or by `make demo`.

**Reads:** the file that model.yaml names under `replay` (or the environment variable named there).

**Writes:** files and `_SUCCESS` markers below `<landing>/<model>/`. It emits no asset: the sensors find the files.

**Safe to re-run:** yes, the same day delivers the same bytes.

**When it fails:** the file named by the environment variable is not there; the message names it.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import workspace_of


def replay_source(model: str) -> None:
    spec = catalogue.load(model)

    @dag(
        **dag_defaults(spec, "replay_source", Tag.DEMO),
        schedule=None,
        doc_md=__doc__,
        params={
            "file": Param(None, type=["string", "null"], description="CSV file; empty: as model.yaml says."),
            "batch": Param(0, type=["integer", "null"], minimum=0, description="Day whose rows come; 0: history."),
            "labels": Param(None, type=["integer", "null"], minimum=0, description="Day whose labels come."),
            "days": Param(10, type="integer", minimum=1, maximum=364, description="Days after the history."),
            "drift_day": Param(4, type=["integer", "null"], minimum=1, description="First day that drifts."),
        },
    )
    def build() -> None:
        @task
        def deliver(params: dict, **context) -> list[str]:
            from include.demo import replay

            return replay.deliver(workspace_of(context), **params)

        deliver()

    build()


for model in models.valid():
    replay_source(model)
