"""
Measures drift, faults and performance of what was served for a partition, and decides what follows from them.

While a version is on probation (`probation` in model.yaml), its labelled windows are held against what the version
before it predicts for the same rows; one that is surely worse is rolled back here, if the rule says so, and else that
is recorded.

**Runs when:** a partition's `predictions` are there (drift alone), again when its `labels` are, when it is the newest
labelled one and a version was rejected (`drift_check_requested`), or when it is `reopened` (a window that it was
decided by has changed, or a partition that its own is made of); or backfilled over a range.

**Reads:** features, labels and served predictions of the window: the partition, and as many before it as
`monitoring.window` says; training set and reference profile of the version that was served; the profiles of the
window's batches and of those that version was trained on; the last windows and requests.

**Writes:** that partition of `metrics_<model>`, and a row in `decisions` (the run's tab *Report*); for probation one
more, the tags `gain.promised` and `gain.delivered` of the version, and what a roll-back writes. Where model.yaml has
`notify`, an incident and its recovery are told, once each, and that they were is a row, too.

**Safe to re-run:** yes, in any order. The same tables give the same metrics and the same branch. A window that comes
late reopens those that looked back on it, which are decided on again, and those that are made of its rows, which are
measured again, too. The trainings that several runs ask for after one partition are one, and of days that come
backwards no more are asked for than cool-down and budget allow. A partition that another version scored again keeps its
own, and no version is measured on rows that it was trained on.

**When it fails:** a table of the partition is missing; the message says which DAG writes it.
`alert_root_cause` fails on purpose, for a person to look: a mistake upstream explains these rows (the message names
columns, share of rows and factor), or performance fell, no feature drifted, and the rows teach nothing better.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import Label, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.notices import IncidentNotice, Notice
from flightline.timetables import EachAssetPartition

from include.core import catalogue
from include.core.notification import Occasion
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults, each_partition
from include.orchestration.runs import emit_each, note, run_of, started_by


def monitor_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "monitor_model", Tag.MONITORING),
        schedule=EachAssetPartition(
            assets=assets.predictions | assets.labels | assets.reopened | assets.drift_check_requested,
            partitions=each_partition(spec),
        ),
        doc_md=__doc__,
    )
    def build() -> None:
        @task
        def measure_window(**context) -> dict:
            from include.monitoring import steps

            if started_by(context) == {assets.reopened.name} and spec.monitoring.window.partitions == 1:
                raise AirflowSkipException("Nothing of this window has changed; it is decided on again")
            return asdict(steps.measure_window(run_of(context)))

        @task.branch(trigger_rule="none_failed")
        def judge_probation(**context) -> str:
            from include.monitoring import steps

            found = steps.judge_probation(run_of(context))
            if found.said:
                note(context, found.said)
            return found.branch

        @task
        def leave_to_probation() -> None:
            print("The version that served this window was rolled back because of it: the policy does not act on it.")

        @task(outlets=[assets.production], on_success_callback=Notice(Occasion.ROLLED_BACK))
        def roll_back_version(**context) -> None:
            from include.monitoring import steps
            from include.orchestration import notes

            moved = steps.end_probation(run_of(context))
            if moved is None or not moved.changed:
                raise AirflowSkipException("Another run has rolled back, or a version was promoted since")
            note(context, notes.of_move(moved))

        @task.branch(trigger_rule="none_failed", on_success_callback=IncidentNotice())
        def decide(**context) -> str:
            from include.monitoring import steps
            from include.orchestration import notes

            run = run_of(context)
            verdict = steps.decide(run)
            note(context, notes.of_window(run, verdict))
            return verdict.outcome.value

        @task
        def no_action() -> None:
            print("Nothing drifted, and performance holds, or nothing can be said yet; the decision says which.")

        @task
        def record_drift() -> None:
            print("Features drifted, and that is no reason to retrain now; the decision says why.")

        @task(outlets=[assets.retraining_requested])
        def request_retraining(**context) -> None:
            from include.monitoring import steps

            if why_not := steps.request_retraining(run_of(context)):
                raise AirflowSkipException(why_not)
            print("A training is asked for, with the data known after this partition.")

        @task(retries=0)
        def alert_root_cause(**context) -> None:
            from include.monitoring import steps

            steps.alert(run_of(context))

        @task(outlets=[assets.reopened])
        def reopen_windows(outlet_events=None, **context) -> list:
            from include.monitoring import steps

            outdated = steps.find_outdated(run_of(context))
            emit_each(context, outlet_events[assets.reopened], outdated, "decided on again")
            return outdated

        judged, decision = judge_probation(), decide()
        measure_window() >> [judged, reopen_windows()]
        judged >> Label("not surely worse than before") >> decision
        judged >> Label("surely worse") >> roll_back_version()
        judged >> Label("answered before") >> leave_to_probation()
        decision >> Label("no harm, no drift") >> no_action()
        decision >> Label("drift, no harm (yet)") >> record_drift()
        decision >> Label("harm and drift") >> request_retraining()
        decision >> Label("a fault, or harm that nothing explains") >> alert_root_cause()

    build()


for model in models.valid():
    monitor_model(model)
