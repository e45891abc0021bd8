"""
Computes a partition's features, offline and online, and checks that both say the same.

**Runs when:** a `clean` partition was accepted; or backfilled over a range.

**Reads:** that partition of `clean_<model>`; `features.sql` of the model.

**Writes:** that partition of `features_<model>` and `skew_<model>`; the online store of Feast, for that interval; a row
in `decisions` (the run's tab *Report*). The asset's event carries the training-serving skew, too.

**Safe to re-run:** yes. An older partition never overwrites a newer value online.

**When it fails:** `check_skew` names the features that differ between the offline and the online store by more
than `features.skew` in model.yaml allows; nothing that waits for these features runs.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import dag, task
from flightline.timetables import EachAssetPartition

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, each_partition
from include.orchestration.runs import note, run_of


def build_features(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "build_features", Tag.FEATURES),
        schedule=EachAssetPartition(assets=assets.clean, partitions=each_partition(spec)),
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def compute_features(**context) -> dict:
            from include.features import steps

            made = steps.compute_features(run_of(context))
            note(context, f"{made.rows} rows, {made.features} features")
            return asdict(made)

        @task
        def materialize_features(**context) -> None:
            from include.features import steps

            steps.materialize_features(run_of(context))

        @task(outlets=[assets.features])
        def check_skew(outlet_events=None, **context) -> dict:
            from include.features import steps
            from include.orchestration import notes

            found = steps.check_skew(run_of(context))
            note(context, notes.of_skew(found))
            outlet_events[assets.features].extra = {"skew": found.share, "expired": found.expired, "keys": found.keys}
            return asdict(found)

        compute_features() >> materialize_features() >> check_skew()

    build()


for model in models.valid():
    build_features(model)
