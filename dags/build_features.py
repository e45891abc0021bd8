"""
Computes a partition's features, offline and online, and checks that both say the same.

**Runs when:** a `clean` partition was accepted; when its features are stale: rows that they looked back on have
changed; or backfilled over a range.

**Reads:** that partition of `clean_<model>`, and those before it that `features.lookback` of model.yaml reaches;
`features.sql` of the model.

**Writes:** that partition of `features_<model>` and `skew_<model>`; the online store of Feast, for that interval; a row
in `decisions` (the run's tab *Report*); with a lookback, which rows it saw, in `metrics_<model>`. The asset's event
carries the training-serving skew, too.

**Safe to re-run:** yes, in any order. An older partition never overwrites a newer value online. One that comes late, or
again with other rows, starts this DAG for the later ones whose features looked back on it; what was served of them
stays, and the new predictions stand beside. A run that was started so skips what another one has done meanwhile.

**When it fails:** `check_skew` names the features that differ between the offline and the online store by more
than `features.skew` in model.yaml allows; nothing that waits for these features runs.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.timetables import EachAssetPartition

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, each_partition
from include.orchestration.runs import emit_each, note, run_of, started_by


def build_features(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "build_features", Tag.FEATURES),
        schedule=EachAssetPartition(assets=assets.clean | assets.stale_features, partitions=each_partition(spec)),
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def compute_features(**context) -> dict:
            from include.features import steps

            made = steps.compute_features(run_of(context), if_stale=started_by(context) == {assets.stale_features.name})
            if made is None:
                raise AirflowSkipException("They are of the rows that are there now")
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

        @task(outlets=[assets.stale_features])
        def announce_stale_features(outlet_events=None, **context) -> list:
            from include.features import steps

            if started_by(context) == {assets.stale_features.name}:
                raise AirflowSkipException("No row of this partition has changed")
            stale = steps.find_stale(run_of(context))
            emit_each(context, outlet_events[assets.stale_features], stale, "computed again")
            return stale

        compute_features() >> materialize_features() >> check_skew() >> announce_stale_features()

    build()


for model in models.valid():
    build_features(model)
