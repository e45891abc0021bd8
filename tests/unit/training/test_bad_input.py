"""What nobody means to train on, and stores that are full or away: a clear error or the right answer, and a way on."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm.basic import LightGBMError
from mlflow import MlflowClient

from include.core.catalogue import MODELS
from include.core.errors import DataError
from include.lakehouse.schemas import LABELS
from include.orchestration import models
from include.training import algorithms, candidate, evidence, training_set
from include.training.training_set import TrainingSetRef
from tests.tables import put
from tests.unit.training import world
from tests.unit.training.test_tasks import SEARCHES, become, number
from tests.unit.training.world import HISTORY, World

pytestmark = pytest.mark.slow


@pytest.fixture
def made(tmp_path: Path, mlflow_store: None) -> World:
    return world.make(tmp_path, trials=2)


def build(made: World, rows: int = 1200) -> TrainingSetRef:
    made.deliver(HISTORY, rows)
    return training_set.build(made.spec, made.lake, made.store(), HISTORY)


def logged(run_id: str) -> int:
    client = MlflowClient()
    found = client.search_experiments(filter_string="name = 'california_housing/training'")
    return len(client.search_runs([item.experiment_id for item in found], f"tags.`airflow.run_id` = '{run_id}'"))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: what goes beyond is refused, of every file that is written to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("algorithm", SEARCHES)
def test_a_constant_column_and_one_without_a_value_are_no_hindrance(made: World, algorithm: str) -> None:
    made.rows = made.rows.assign(total_rooms=5.0, housing_median_age=np.nan)
    become(made, algorithm, SEARCHES[algorithm] if algorithm != "linear" else {"alpha": number(0.1, 10)})
    ref = build(made)
    tuned = candidate.fit_tuned(made.spec, made.lake, ref, f"run-bad-{algorithm}")
    evidence.publish(made.spec, made.lake, ref, tuned)
    assert tuned.metrics["adjusted_r2"] > 0.5
    told = {item.path for item in MlflowClient().list_artifacts(tuned.mlflow_run_id, "plots")}
    assert {"plots/feature_importance.png", "plots/partial_dependence.png", "plots/learning_curve.png"} <= told


@pytest.mark.parametrize(
    ("task", "metric"), [("regression", "adjusted_r2"), ("binary", "auc"), ("multiclass", "macro_f1")]
)
def test_labels_that_are_all_the_same_are_refused_before_anything_is_logged(
    made: World, task: str, metric: str
) -> None:
    made.rows = made.rows.assign(median_house_value=1.0)
    become(made, "lightgbm", SEARCHES["lightgbm"], task=task, metric=metric)
    ref = build(made, 600)
    message = r"training_sets_california_housing: all \d+ rows that are fitted to of training set \S+ have the label"
    for fit in (candidate.fit_baseline, candidate.fit_tuned):
        with pytest.raises(DataError, match=f"{message} 1. Look at what is delivered as labels"):
            fit(made.spec, made.lake, ref, f"run-same-{task}")
    assert logged(f"run-same-{task}") == 0


def test_test_rows_of_one_class_are_refused_too(made: World) -> None:
    become(made, "lightgbm", SEARCHES["lightgbm"], task="binary", metric="auc")
    dear = made.rows["median_house_value"] > made.rows["median_house_value"].median()
    made.rows = made.rows.assign(median_house_value=dear.astype(float))
    ref = build(made)
    frame = training_set.read(made.spec, made.lake, ref)
    frame.loc[frame["split"] == "test", made.spec.target] = 0.0
    with pytest.raises(DataError, match=r"all \d+ rows to test on of training set 2025-01-01 have the label 0"):
        candidate._require_labels_differ(made.spec, ref, frame)


def test_fewer_rows_than_folds_are_refused_before_anything_is_logged(made: World) -> None:
    search = made.spec.training.search.model_copy(update={"folds": 5})
    training = made.spec.training.model_copy(update={"search": search})
    folder, made.spec = made.spec.folder, made.spec.model_copy(update={"training": training})
    made.spec._folder = folder
    ref = build(made, 4)
    for fit in (candidate.fit_baseline, candidate.fit_tuned):
        with pytest.raises(DataError, match=r"has \d train rows, fewer than \d+\. Ingest more labelled partitions"):
            fit(made.spec, made.lake, ref, "run-four")
    assert logged("run-four") == 0


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_an_infinite_label_is_named(made: World, value: float) -> None:
    delivered = made.deliver(HISTORY, 400)
    labels = made.lake.read(LABELS.of(made.spec)).to_pandas()
    assert len(labels) == len(delivered)
    labels.loc[7, made.spec.target] = value
    labels = labels.drop(columns=["partition_key", "run_id"], errors="ignore")
    put(made.lake, LABELS.of(made.spec), labels, HISTORY)
    message = "null" if np.isnan(value) else r"labels_california_housing: 1 labels are infinite .*ingest_labels for"
    with pytest.raises(DataError, match=message):
        training_set.build(made.spec, made.lake, made.store(), HISTORY)


def test_a_search_of_an_unknown_parameter_is_refused_when_the_folder_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "bike_demand", tmp_path / "bike_demand")
    file = tmp_path / "bike_demand" / "model.yaml"
    file.write_text(file.read_text().replace("num_leaves", "number_of_leaves"))
    found = models.problem("bike_demand", tmp_path)
    assert "training.search.space: lightgbm has no parameter 'number_of_leaves'. It has e.g. num_leaves" in str(found)
    assert models.valid(tmp_path) == ()


def test_a_full_disk_leaves_the_training_set_that_was_there(made: World) -> None:
    ref = build(made)
    before = training_set.read(made.spec, made.lake, ref)
    store = made.store()
    with files_of_at_most(20_000), pytest.raises(Exception, match="File too large"):
        training_set.build(made.spec, made.lake, store, HISTORY)
    pd.testing.assert_frame_equal(training_set.read(made.spec, made.lake, ref), before)
    again = training_set.build(made.spec, made.lake, store, HISTORY)
    pd.testing.assert_frame_equal(training_set.read(made.spec, made.lake, again), before)


@pytest.mark.parametrize(("algorithm", "size"), [*((name, 2_000) for name in SEARCHES), ("lightgbm", 60_000)])
def test_a_model_that_did_not_fit_on_the_disk_is_no_candidate(
    made: World, algorithm: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(made, algorithm, SEARCHES[algorithm] if algorithm != "linear" else {"alpha": number(0.1, 10)})
    ref, kind, run_id = build(made), algorithms.ALGORITHMS[algorithm], f"run-full-{algorithm}-{size}"

    def save(*args: Any, **named: Any) -> None:
        with files_of_at_most(size):
            kind.save(*args, **named)

    with monkeypatch.context() as full:
        full.setattr(algorithms, "ALGORITHMS", {**algorithms.ALGORITHMS, algorithm: replace(kind, save=save)})
        with pytest.raises((OSError, LightGBMError), match=r"File too large|Cannot write .* wrote \d+ of \d+ bytes"):
            candidate.fit_baseline(made.spec, made.lake, ref, run_id)
    run = candidate.fit_baseline(made.spec, made.lake, ref, run_id)
    assert logged(run_id) == 1, "the attempt that failed goes on"
    assert np.isfinite(run.metrics["adjusted_r2"])
