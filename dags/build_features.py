"""
Computes a day's features, offline and online, and checks that both say the same.

**Runs when:** a day's `clean` partition was accepted.

**Reads:** that day's partition of `clean_<model>`; `features.sql` of the model.

**Writes:** that day's partition of `features_<model>` and `parity_<model>`; the online store of Feast, for that
day's interval.

The run's tab *Data quality* shows the training-serving skew, and the asset's event carries it.

**Safe to re-run:** yes. An older day never overwrites a newer value online.

**When it fails:** `check_parity` names the features that differ between the offline and the online store by more
than `features.parity` in model.yaml allows; nothing that waits for the day's features runs.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import PartitionedAssetTimetable, dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import day_of, workspace_of


def build_features(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "build_features", Tag.FEATURES),
        schedule=PartitionedAssetTimetable(assets=assets.clean),
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def compute_features(**context) -> dict:
            from include.features import query

            workspace = workspace_of(context)
            return asdict(query.write(workspace.spec, workspace.lake, day_of(context)))

        @task
        def materialize_features(**context) -> None:
            from include.features import store

            workspace, feast = workspace_of(context), store.open_store()
            store.apply(feast, workspace.spec)
            store.materialize(feast, workspace.spec, day_of(context))

        @task(outlets=[assets.features])
        def check_parity(outlet_events=None, **context) -> dict:
            from include.features import parity, store

            workspace = workspace_of(context)
            found = parity.gate(workspace.spec, store.open_store(), workspace.lake, day_of(context))
            outlet_events[assets.features].extra = {"skew": found.skew, "expired": found.expired, "keys": found.keys}
            return asdict(found)

        compute_features() >> materialize_features() >> check_parity()

    build()


for model in models.valid():
    build_features(model)
