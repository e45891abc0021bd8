"""Models of other tasks, metrics and algorithms, from labels to logged candidates, by model.yaml alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from include.core.spec import ModelSpec
from include.evaluation.metrics import METRICS
from include.training import algorithms, candidate, training_set
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef
from tests.unit.evaluation.test_metrics import PATH, wape
from tests.unit.training import world
from tests.unit.training.world import HISTORY, World

pytestmark = pytest.mark.slow


def number(low: float, high: float, kind: str = "uniform") -> dict[str, Any]:
    return {"kind": kind, "low": low, "high": high}


SEARCHES: dict[str, dict[str, Any]] = {
    "lightgbm": {"learning_rate": number(0.05, 0.2), "num_leaves": number(4, 16, "integer")},
    "hist_gradient_boosting": {"learning_rate": number(0.05, 0.2)},
    "linear": {"C": number(0.01, 10, "log_uniform")},
}


@pytest.fixture
def made(tmp_path: Path, mlflow_store: None) -> World:
    found = world.make(tmp_path)
    found.rows = found.rows.assign(total_rooms=found.rows["total_rooms"].where(found.rows.index % 50 != 0))
    return found


def become(made: World, algorithm: str, space: dict[str, Any], **changes: Any) -> None:
    content = json.loads(made.spec.model_dump_json()) | changes
    content["training"] |= {"algorithm": algorithm, "baseline": {}}
    content["training"]["search"] = {"trials": 2, "seed": 1, "space": space}
    folder, made.spec = made.spec.folder, ModelSpec.model_validate(content)
    made.spec._folder = folder


def stored(run: RunRef) -> Path:
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=run.model_uri))


def tune(made: World, run_id: str) -> tuple[TrainingSetRef, RunRef]:
    ref = training_set.build(made.spec, made.lake, made.store(), HISTORY)
    return ref, candidate.fit_tuned(made.spec, made.lake, ref, run_id)


@pytest.mark.parametrize("algorithm", SEARCHES)
def test_a_binary_model_predicts_probabilities_and_is_judged_by_them(made: World, algorithm: str) -> None:
    metric = "log_loss" if algorithm == "linear" else "auc"
    dear = made.rows["median_house_value"] > made.rows["median_house_value"].median()
    made.rows = made.rows.assign(median_house_value=dear.astype(float))
    become(made, algorithm, SEARCHES[algorithm], task="binary", metric=metric)
    made.deliver(HISTORY, 2500)
    ref, tuned = tune(made, f"run-binary-{algorithm}")
    baseline = candidate.fit_baseline(made.spec, made.lake, ref, f"run-binary-{algorithm}")
    frame = training_set.read(made.spec, made.lake, ref)
    test = frame[frame["split"] == "test"]
    model = algorithms.load(made.spec, algorithm, stored(tuned))
    predicted = algorithms.predict(made.spec, algorithm, model, test[list(ref.features)])
    assert 0 <= predicted.min() < predicted.max() <= 1
    assert tuned.metrics["auc"] == pytest.approx(roc_auc_score(test["median_house_value"], predicted))
    assert tuned.metrics["log_loss"] == pytest.approx(log_loss(test["median_house_value"], predicted))
    assert tuned.metrics["auc"] > 0.85
    measured = {name for name in tuned.metrics if not name.startswith("train_")}
    intervals = {f"{name}.{end}" for name in ("auc", "log_loss", "brier") for end in ("low", "high")}
    lowest = {"floor_mean"} | ({"floor_linear"} if algorithm != "linear" else set())
    others = {"rows", "auc", "log_loss", "brier", "validation", "baseline_validation", "fit_seconds"}
    assert measured == others | intervals | lowest
    assert all(
        tuned.metrics[f"{name}.low"] < tuned.metrics[name] < tuned.metrics[f"{name}.high"] for name in ("auc", "brier")
    )
    assert METRICS[metric].clears(tuned.metrics[metric], tuned.metrics["floor_mean"])
    assert METRICS[metric].gain(tuned.metrics["validation"], tuned.metrics["baseline_validation"]) >= 0
    kept = candidate.better_of(made.spec, baseline, tuned).run_name
    assert kept == ("tuned" if tuned.metrics["validation"] != tuned.metrics["baseline_validation"] else "baseline")


def test_several_classes_are_predicted_as_classes(made: World) -> None:
    classes = pd.qcut(made.rows["median_house_value"], 3, labels=False).astype(float)
    made.rows = made.rows.assign(median_house_value=classes)
    become(made, "lightgbm", SEARCHES["lightgbm"], task="multiclass", metric="macro_f1")
    made.deliver(HISTORY, 2500)
    ref, tuned = tune(made, "run-classes")
    model = algorithms.load(made.spec, "lightgbm", stored(tuned))
    features = training_set.read(made.spec, made.lake, ref)[list(ref.features)]
    assert set(algorithms.predict(made.spec, "lightgbm", model, features)) == {0.0, 1.0, 2.0}
    assert tuned.metrics["macro_f1"] > 0.6


def test_a_users_metric_judges_a_training(made: World) -> None:
    become(made, "linear", {"alpha": number(0.1, 10, "log_uniform")}, metric=PATH)
    made.deliver(HISTORY, 2500)
    ref, tuned = tune(made, "run-wape")
    frame = training_set.read(made.spec, made.lake, ref)
    test = frame[frame["split"] == "test"]
    model = algorithms.load(made.spec, "linear", stored(tuned))
    predicted = algorithms.predict(made.spec, "linear", model, test[list(ref.features)])
    assert tuned.metrics[PATH] == pytest.approx(wape(test[made.spec.target].to_numpy(), predicted, 0))
    assert tuned.metrics["validation"] <= tuned.metrics["baseline_validation"]
    assert np.isfinite([tuned.metrics[name] for name in ("adjusted_r2", "r2", "rmse", "mae")]).all()
