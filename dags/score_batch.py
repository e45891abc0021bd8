"""
Predicts for every row of a day, with the version that is in production.

**Runs when:** a day's `features` partition is there, offline and online.

**Reads:** the day's keys, their features through Feast, the version behind the alias `production`.

**Writes:** that day's partition of `predictions_<model>`; every row carries the version that made it.

**Safe to re-run:** yes. A re-run predicts with the version that is in production now.

**When it fails:** `wait_for_features`: the features of that day never came. Before the first promotion nothing can
be predicted: that is the branch `skip_scoring`, no failure.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, PartitionedAssetTimetable, dag, task
from flightline.sensors import FeatureFreshnessSensor

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import day_of, workspace_of


def score_batch(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "score_batch", Tag.SCORING),
        schedule=PartitionedAssetTimetable(assets=assets.features),
        doc_md=__doc__,
    )
    def build() -> None:
        wait_for_features = FeatureFreshnessSensor(
            task_id="wait_for_features", model=model, deadline=timedelta(hours=6)
        )

        @task.branch
        def find_production(**context) -> str:
            from include.registry import versions

            version = versions.production(workspace_of(context).spec)
            context["ti"].xcom_push("version", version and version.version)
            return "score_rows" if version else "skip_scoring"

        @task(outlets=[assets.predictions])
        def score_rows(version: str, **context) -> dict:
            from include.features import store
            from include.scoring import batch

            workspace, day = workspace_of(context), day_of(context)
            counts = batch.score(workspace.spec, workspace.lake, store.open_store(), day, version, context["run_id"])
            return asdict(counts)

        @task
        def skip_scoring(**context) -> None:
            from include.scoring import batch

            batch.skip(workspace_of(context), day_of(context), context["run_id"])

        found = find_production()
        wait_for_features >> found
        found >> Label("a version is in production") >> score_rows(found["version"])
        found >> Label("none yet") >> skip_scoring()

    build()


for model in models.valid():
    score_batch(model)
