from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from include.core.errors import DataError
from include.evaluation import metrics
from include.training import candidate, tracking, training_set, trial_runs
from include.training.algorithms.lightgbm import LIGHTGBM
from include.training.trial import Trial
from include.training.trial_runs import TrialRuns
from tests.unit.evaluation.test_metrics import PATH
from tests.unit.training.stage import Scene, register


def test_metrics_are_those_of_the_logged_model_on_test_rows(scene: Scene) -> None:
    spec = scene.world.spec
    frame = training_set.read(spec, scene.world.lake, scene.new_ref)
    model = mlflow.pyfunc.load_model(scene.new.model_uri)
    drifted = frame["partition_key"].isin(scene.new_ref.drifted)
    for prefix, rows in (
        ("", frame[frame.split == "test"]),
        ("drifted_", frame[(frame.split == "test") & drifted]),
    ):
        predicted = model.predict(rows[list(scene.new_ref.features)])
        assert predicted.shape == (len(rows),)
        expected = metrics.adjusted_r2(rows[spec.target], predicted, len(scene.new_ref.features))
        assert scene.new.metrics[f"{prefix}adjusted_r2"] == pytest.approx(expected)
    assert scene.new.metrics["drifted_adjusted_r2"] > 0.6
    assert "drifted_adjusted_r2" not in scene.old.metrics
    assert scene.old.metrics["adjusted_r2"] > 0.75
    for prefix in ("", "drifted_", "train_"):
        assert {f"{prefix}{name}" for name in ("rows", "adjusted_r2", "r2", "rmse", "mae")} <= set(scene.new.metrics)


def test_tuned_is_at_least_as_good_on_validation_rows(scene: Scene) -> None:
    spec = scene.world.spec
    assert scene.tuned.metrics["validation"] <= scene.tuned.metrics["baseline_validation"]
    assert candidate.better_of(spec, scene.old, scene.tuned) in (scene.old, scene.tuned)
    for tuned, metric, kept in (
        (2.0, "adjusted_r2", "baseline"),
        (1.0, "adjusted_r2", "tuned"),
        (1.0, PATH, "tuned"),
        (3.0, PATH, "baseline"),
    ):
        measured = replace(scene.tuned, metrics={"validation": tuned, "baseline_validation": 2.0})
        judged = spec.model_copy(update={"metric": metric})
        assert candidate.better_of(judged, scene.old, measured).run_name == kept


def test_run_says_what_it_was_made_from(scene: Scene) -> None:
    client = MlflowClient()
    run = client.get_run(scene.tuned.mlflow_run_id)
    assert client.get_experiment(run.info.experiment_id).name == "california_housing/training"
    assert run.data.tags["airflow.run_id"] == "run-old"
    assert run.info.run_name == f"{scene.old_ref.training_set} {run.data.tags['kind']} california_housing"
    chosen = {name: run.data.tags[name] for name in ("task", "metric", "algorithm")}
    assert chosen == {"task": "regression", "metric": "adjusted_r2", "algorithm": "lightgbm"}
    assert run.data.tags["training_set"] == scene.old_ref.training_set
    assert run.data.tags["data.version"] == scene.old_ref.data_version
    assert run.data.tags["data.origin"] == "world.csv"
    dataset = run.inputs.dataset_inputs[0].dataset
    assert dataset.digest == f"{scene.old_ref.training_set}@{scene.old_ref.table_version}"
    assert client.list_artifacts(run.info.run_id) == [], "figures are of the one that is kept"
    trials = trial_runs.of(client, run)
    assert len(trials) == scene.world.spec.training.search.trials + 1
    assert min(trial.data.metrics["validation"] for trial in trials) == scene.tuned.metrics["validation"]
    assert run.data.tags["search.ended_by"] == "trials"


def test_model_has_signature_of_doubles_and_pinned_requirements(scene: Scene) -> None:
    info = mlflow.models.get_model_info(scene.new.model_uri)
    assert info.signature.inputs.input_names() == list(scene.new_ref.features)
    assert {str(kind) for kind in info.signature.inputs.input_types()} == {"DataType.double"}
    assert info.metadata["feature_service"] == scene.new_ref.feature_service
    model = mlflow.pyfunc.load_model(scene.new.model_uri)
    missing = pd.DataFrame([dict.fromkeys(scene.new_ref.features, np.nan)])
    assert np.isfinite(model.predict(missing)).all()
    folder = mlflow.artifacts.download_artifacts(artifact_uri=scene.new.model_uri)
    requirements = (Path(folder) / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line.split("==")[0] for line in requirements} == {*tracking.REQUIREMENTS, *LIGHTGBM.requirements}
    assert all("==" in line for line in requirements)


def test_retry_of_a_run_reuses_what_it_finished(scene: Scene) -> None:
    again = candidate.fit_baseline(scene.world.spec, scene.world.lake, scene.new_ref, "run-new")
    assert again.mlflow_run_id == scene.new.mlflow_run_id
    assert again.model_id == scene.new.model_id
    assert again.metrics == pytest.approx(scene.new.metrics)
    assert again.files == scene.new.files


def test_retry_goes_on_with_what_it_left_unfinished_and_removes_what_is_of_other_data(scene: Scene) -> None:
    spec, client = scene.world.spec, MlflowClient()

    def crash() -> str:
        with tracking.started(spec, "baseline", scene.old_ref, "run-crash", "") as run:
            raise KeyboardInterrupt(run.info.run_id)

    with pytest.raises(KeyboardInterrupt) as crashed:
        crash()
    assert tracking.finished(spec, scene.world.lake, "baseline", scene.old_ref, "run-crash") is None
    with tracking.started(spec, "baseline", scene.old_ref, "run-crash", "") as again:
        assert again.info.run_id == str(crashed.value)
    with pytest.raises(KeyboardInterrupt):
        crash()
    anew = replace(scene.old_ref, data_version="features_california_housing@99 labels_california_housing@99")
    assert tracking.finished(spec, scene.world.lake, "baseline", anew, "run-crash") is None
    assert client.get_run(str(crashed.value)).info.lifecycle_stage == "deleted"


def test_a_killed_search_goes_on_from_its_last_trial(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, lake, client = scene.world.spec, scene.world.lake, MlflowClient()
    record, recorded = TrialRuns.record, []

    def killed_at_the_third(journal: TrialRuns, trial: Trial) -> None:
        if len(recorded) == 3:
            raise KeyboardInterrupt
        record(journal, trial)
        recorded.append(trial.number)

    monkeypatch.setattr(TrialRuns, "record", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        candidate.fit_tuned(spec, lake, scene.old_ref, "run-killed")
    monkeypatch.setattr(
        TrialRuns, "record", lambda journal, trial: (recorded.append(trial.number), record(journal, trial))
    )
    tuned = candidate.fit_tuned(spec, lake, scene.old_ref, "run-killed")
    assert sorted(recorded) == list(range(spec.training.search.trials + 1)), "each trial is fitted once"
    trials = trial_runs.of(client, client.get_run(tuned.mlflow_run_id))
    assert len(trials) == len(recorded)
    same = {name: value for name, value in scene.tuned.metrics.items() if not name.endswith("seconds")}
    assert {name: tuned.metrics[name] for name in same} == same, "as where nobody killed it"


def test_a_trial_reads_as_it_was_recorded(scene: Scene) -> None:
    run = MlflowClient().get_run(scene.tuned.mlflow_run_id)
    journal = TrialRuns(run)
    known = journal.known()
    trial = Trial(99, 1 / 3, {"a": 0.1, "n_estimators": 7}, {"a": 0.1}, 1.25, ((25, 2 / 3), (50, 1e-300)), pruned=True)
    journal.record(trial)
    assert journal.known() == {**known, 99: trial}
    assert journal.known()[99].seconds == 1.25


def test_a_run_that_is_a_version_is_kept_where_its_training_is_cleared(scene: Scene) -> None:
    """The training set is built anew then, of other tables' versions."""
    spec, lake, own = scene.world.spec, scene.world.lake, scene.own("cleared").world
    register(own.spec, own.lake, scene.tuned, scene.old_ref)
    anew = replace(scene.old_ref, data_version="features_california_housing@99 labels_california_housing@99")
    assert tracking.finished(spec, lake, "tuned", anew, "run-old") is None
    assert MlflowClient().get_run(scene.tuned.mlflow_run_id).info.lifecycle_stage == "active"
    kept = tracking.finished(spec, lake, "tuned", scene.old_ref, "run-old")
    assert kept is not None
    assert kept.model_id == scene.tuned.model_id


def test_too_few_rows_are_an_error_before_anything_is_logged(scene: Scene) -> None:
    many = replace(scene.old_ref, features=tuple(f"f{number}" for number in range(5000)))
    with pytest.raises(DataError, match="rows, fewer than 10002"):
        candidate.fit_baseline(scene.world.spec, scene.world.lake, many, "run-few")
