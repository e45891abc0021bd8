"""
Fits a baseline and a tuned candidate on all labels known by then, and registers the better one.

**Runs when:** `retraining_requested` for a partition: by the retraining policy, weekly, or by hand
(`request_training`).

**Reads:** `labels_<model>` that had arrived, joined point in time to their features through Feast.

**Writes:** `training_sets_<model>`; two runs in the MLflow experiment `<model>/training`, below the tuned one a run
for each trial of the search, and on the run of the one that is kept figures and the model card; a registered
version, with a digest of each of its files in `decisions`; the training set as a dataset in Feast's registry;
`reference_profiles_<model>`, which the version's windows are compared with.

**Safe to re-run:** yes. The same run replaces its own training set and its own MLflow runs. A search that was killed
goes on from its last trial; its log says of each trial what it found, and how long the rest takes at most.

**When it fails:** `wait_for_features`: the features of that partition never came; `build_training_set`: no
labels yet, features that are the label or determine it together, or rows that cannot be split as model.yaml
wants; `train_baseline`: too few rows; `explain_candidate`, `register_candidate`: a file of the model is not the one
that was fitted.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, PartitionedAssetTimetable, TriggerRule, dag, task
from flightline.sensors import FeatureFreshnessSensor

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import note, run_of


def train_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "train_model", Tag.TRAINING) | {"max_active_runs": 1},
        schedule=PartitionedAssetTimetable(assets=assets.retraining_requested),
        doc_md=__doc__,
    )
    def build() -> None:
        wait_for_features = FeatureFreshnessSensor(
            task_id="wait_for_features", model=model, deadline=timedelta(hours=6), delivered=True
        )

        @task
        def build_training_set(**context) -> dict:
            from include.training import steps

            return asdict(steps.build_training_set(run_of(context)))

        @task
        def train_baseline(training_set: dict, **context) -> dict:
            from include.training import steps
            from include.training.training_set import TrainingSetRef

            return asdict(steps.fit_baseline(run_of(context), TrainingSetRef(**training_set)))

        @task
        def tune(training_set: dict, **context) -> dict:
            from include.training import steps
            from include.training.training_set import TrainingSetRef

            return asdict(steps.fit_tuned(run_of(context), TrainingSetRef(**training_set)))

        @task.branch
        def choose_candidate(baseline: dict, tuned: dict, **context) -> str:
            from include.training import steps
            from include.training.tracking import RunRef

            return f"keep_{steps.choose_candidate(run_of(context), RunRef(**baseline), RunRef(**tuned))}"

        @task
        def keep_baseline(baseline: dict) -> dict:
            return baseline

        @task
        def keep_tuned(tuned: dict) -> dict:
            return tuned

        @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
        def explain_candidate(kept: list, training_set: dict, **context) -> dict:
            from include.training import steps
            from include.training.tracking import RunRef
            from include.training.training_set import TrainingSetRef

            candidate = next(run for run in kept if run)
            steps.explain_candidate(run_of(context), RunRef(**candidate), TrainingSetRef(**training_set))
            return candidate

        @task(outlets=[assets.candidate])
        def register_candidate(explained: dict, training_set: dict, outlet_events=None, **context) -> str:
            from include.orchestration import notes
            from include.registry import steps
            from include.training.tracking import RunRef
            from include.training.training_set import TrainingSetRef

            candidate, fitted_to = RunRef(**explained), TrainingSetRef(**training_set)
            run = run_of(context)
            version = steps.register_candidate(run, candidate, fitted_to)
            note(context, notes.of_candidate(run, version, candidate, fitted_to.suspected))
            outlet_events[assets.candidate].add_partitions(version)
            return version

        training_set = build_training_set()
        baseline, tuned = train_baseline(training_set), tune(training_set)
        chosen = choose_candidate(baseline, tuned)
        kept_baseline, kept_tuned = keep_baseline(baseline), keep_tuned(tuned)

        wait_for_features >> training_set
        baseline >> tuned  # one after the other: each uses all cores
        chosen >> Label("tuning brought nothing") >> kept_baseline
        chosen >> Label("tuned is better on validation") >> kept_tuned
        register_candidate(explain_candidate([kept_baseline, kept_tuned], training_set), training_set)

    build()


for model in models.valid():
    train_model(model)
