"""
Finds the versions that somebody asks a stage for in MLflow, and has promote_model answer each.

**Runs when:** `transition_requested`: MLflow says that the tag `transition.request` was set; or, as that may be lost, a
trigger has found it there. By hand it does no harm.

**Reads:** the tags `transition.request`, `transition.comment` and `transition.requested_by` of versions in the
registry; `alias_history`.

**Writes:** a run of `promote_model` for each request, at most one. Of a request that is not for Staging or Production,
or for a stage that the version is in: the tag `transition.answer`, a line of the version's description, and a row in
`decisions`; its tag is removed.

**Safe to re-run:** yes. The run that answers a request has an id that follows from it, and is there once.

**When it fails:** `find_requests`: MLflow does not answer. Nothing is lost: the requests stay where they are, and are
found again.
"""

from __future__ import annotations

from airflow.sdk import dag, task
from flightline.start_run import StartRunOperator

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import model_run_of, note
from include.orchestration.transitions import started_for


def collect_requests(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "collect_requests", Tag.REGISTRY) | {"max_active_runs": 1},
        schedule=[assets.transition_requested],
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def find_requests(**context) -> list[dict]:
            from include.orchestration import notes
            from include.registry import steps

            found = steps.collect_requests(model_run_of(context))
            note(context, notes.of_requests(found))
            return [started_for(request) for request in found]

        StartRunOperator.partial(
            task_id="start_promotion",
            trigger_dag_id=f"{model}.promote_model",
            logical_date=None,
            skip_when_already_exists=True,
            openlineage_inject_parent_info=False,
            map_index_template="version {{ task.conf.version }}: {{ task.conf.target }}",
        ).expand_kwargs(find_requests())

    build()


for model in models.valid():
    collect_requests(model)
