"""
Withdraws a partition everywhere: its rows, features, online values, predictions, and what was measured of it.

**Runs when:** a batch is rejected of whose partition something was accepted before; or by hand, for the partition and
the reason that the trigger form asks for. Without a reason it only says what would be withdrawn.

**Reads:** that partition of `clean_`, `features_` and `predictions_<model>`; the training sets of all versions.

**Writes:** that partition of `quarantine_` (all rows), `clean_` and `features_<model>` (none); the online store, where
each key gets back what it had before; `predictions_<model>`: what was served stays, marked as withdrawn, and nothing
is measured on it; `metrics_<model>`: a window in which nothing was served; the tag `withdrawn` of each version that
learned from it; rows in `decisions` (the run's tab *Report*). A later training set leaves it out. Later partitions
whose features looked back on it have them computed again (`build_features`).

**Safe to re-run:** yes. A delivery of that partition that is accepted later brings it back, also the same one; so does
`reprocess_quarantine`.

**When it fails:** there is nothing of that partition. A step after `withdraw_rows` refuses a partition that was
accepted again meanwhile: then there is nothing to withdraw.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import Label, Param, PartitionedAssetTimetable, dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import emit_each, note, partition_param, run_of


def withdraw_batch(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "withdraw_batch", Tag.INGESTION) | {"max_active_runs": 1},
        schedule=PartitionedAssetTimetable(assets=assets.withdrawn),
        doc_md=__doc__,
        params={
            "partition": partition_param(spec, "it is withdrawn."),
            "reason": Param(
                None,
                type=["null", "string"],
                description="Why; kept in the decisions. Empty: only say what would be withdrawn.",
            ),
        },
    )
    def build() -> None:
        @task
        def find_traces(**context) -> dict:
            from include.ingestion import steps
            from include.orchestration import notes

            found = steps.preview_withdrawal(run_of(context))
            note(context, notes.of_traces(found))
            return asdict(found)

        @task.branch
        def choose_action(found: dict, params: dict) -> str:
            return "report_only" if found["accepted"] and not params["reason"] else "withdraw_rows"

        @task
        def report_only(**context) -> None:
            note(context, "nothing is withdrawn: the batch is accepted, and no reason is given")
            print("Nothing was withdrawn; run again with a reason.")

        @task
        def withdraw_rows(params: dict, **context) -> dict:
            from include.ingestion import steps

            counts = steps.withdraw_batch(run_of(context), params["reason"] or "")
            note(context, f"withdrawn: {counts.quarantined} rows in quarantine")
            return asdict(counts)

        @task
        def withdraw_features(**context) -> dict:
            from include.features import steps

            found = steps.withdraw_features(run_of(context))
            note(context, f"{found.rows} rows of features, {found.keys} keys online")
            return asdict(found)

        @task(outlets=[assets.stale_features])
        def announce_stale_features(outlet_events=None, **context) -> list:
            from include.features import steps

            stale = steps.find_stale(run_of(context))
            emit_each(context, outlet_events[assets.stale_features], stale, "computed again")
            return stale

        @task
        def withdraw_predictions(**context) -> int:
            from include.scoring import steps

            count = steps.withdraw_predictions(run_of(context))
            note(context, f"{count} predictions marked")
            return count

        @task
        def withdraw_window(**context) -> None:
            from include.monitoring import steps

            steps.withdraw_window(run_of(context))

        @task(outlets=[assets.reopened])
        def reopen_windows(outlet_events=None, **context) -> list:
            from include.monitoring import steps

            outdated = steps.find_outdated(run_of(context))
            emit_each(context, outlet_events[assets.reopened], outdated, "decided on again")
            return outdated

        @task
        def name_versions(**context) -> list:
            from include.orchestration import notes
            from include.registry import steps

            run = run_of(context)
            versions = steps.name_versions(run)
            note(context, notes.of_withdrawal(run, versions))
            return versions

        found = find_traces()
        action, rows = choose_action(found), withdraw_rows()
        action >> Label("accepted, and no reason given") >> report_only()
        action >> Label("rejected, or a reason given") >> rows
        features, window = withdraw_features(), withdraw_window()
        rows >> features >> announce_stale_features()
        features >> withdraw_predictions() >> window >> [reopen_windows(), name_versions()]

    build()


for model in models.valid():
    withdraw_batch(model)
