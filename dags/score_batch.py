"""
Predicts for every row of a partition: with the version that it was served by; else with the last one in production that
knew nothing of what came after it.

**Runs when:** a `features` partition is there, offline and online; or backfilled over a range.

**Reads:** the partition's keys, their features through Feast, `alias_history`, the files of the version that it names
(loaded only if they are, byte for byte, what was registered), and which version the partition was served by.

**Writes:** the rows of that partition in `predictions_<model>`; a row in `decisions`; the alias `production`, if
somebody moved it by hand.

**Safe to re-run:** yes. What was served stays served: a re-run or a backfill predicts with the version that served
it, and a row that gets another prediction, since its batch was corrected, keeps the one that was served: the new one
stands beside. With `as_of: current` it predicts with the version in production now; those rows stand beside, too.

**When it fails:** `wait_for_features`: the features of that partition never came. `find_production`: the alias was
moved by hand (it is put back: clear the task), was never set by a promotion, or the version in production was deleted;
or a part of the version's release is not what was approved, and the message names it. `score_rows`: a file of the
version is not what was registered. These two are not retried. Before the first promotion nothing can be predicted:
that is the branch `skip_scoring`, no failure.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, Param, dag, task
from flightline.sensors import FeatureFreshnessSensor
from flightline.timetables import EachAssetPartition

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, each_partition
from include.orchestration.runs import note, run_of


def score_batch(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "score_batch", Tag.SCORING),
        schedule=EachAssetPartition(assets=assets.features, partitions=each_partition(spec)),
        doc_md=__doc__,
        params={
            "as_of": Param(
                "history",
                type="string",
                enum=["history", "current"],
                description="Which version scores: the one that served it, or the one in production, as rows beside.",
            )
        },
    )
    def build() -> None:
        wait_for_features = FeatureFreshnessSensor(
            task_id="wait_for_features", model=model, deadline=timedelta(hours=6)
        )

        @task.branch
        def find_production(params: dict, **context) -> str:
            from include.scoring import steps

            return "score_rows" if steps.choose_version(run_of(context), params["as_of"]) else "skip_scoring"

        @task(outlets=[assets.predictions])
        def score_rows(params: dict, **context) -> dict:
            from include.orchestration import notes
            from include.scoring import steps

            scored = steps.score_rows(run_of(context), params["as_of"])
            note(context, notes.of_scoring(scored))
            return asdict(scored)

        @task
        def skip_scoring(**context) -> None:
            from include.scoring import steps

            steps.skip_scoring(run_of(context))
            note(context, "not scored: no version is in production")

        found = find_production()
        wait_for_features >> found
        found >> Label("a version is in production") >> score_rows()
        found >> Label("none yet") >> skip_scoring()

    build()


for model in models.valid():
    score_batch(model)
