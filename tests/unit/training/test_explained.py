"""Contributions, importance, slices, learning curve and the page of a training set: each says what it claims to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.training import (
    algorithms,
    exploration,
    fitted_rows,
    importance,
    learning_curve,
    slice_metrics,
    training_set,
)
from include.training.algorithms import ALGORITHMS, Conditions, Sample
from include.training.algorithms.lightgbm import LIGHTGBM
from tests.unit.training.stage import Scene

SPEC = catalogue.load("california_housing")
RNG = np.random.default_rng(1)
FEATURES = pd.DataFrame({"a": RNG.normal(size=400), "b": RNG.normal(size=400), "code": RNG.integers(1, 4, 400) * 1.0})
FEATURES.loc[::17, "b"] = np.nan
SUM = 3 * FEATURES["a"] + np.where(FEATURES["code"] == 2, 2.0, 0.0)
TARGETS = {
    Task.REGRESSION: SUM.to_numpy(),
    Task.BINARY: (SUM > 0).to_numpy() * 1.0,
    Task.MULTICLASS: np.digitize(SUM, [-2, 2]) * 1.0,
}


def raw(name: str, model: object, task: Task) -> np.ndarray:
    """What the contributions add up to, with a constant: of classes the score of the predicted one."""
    if name == "lightgbm":
        told = np.asarray(model.predict(FEATURES, raw_score=True))  # type: ignore[attr-defined]
    else:
        kind = "predict" if task is Task.REGRESSION else "decision_function"
        told = np.asarray(getattr(model, kind)(FEATURES))
    return told.max(axis=1) if task is Task.MULTICLASS else told


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("name", [name for name, item in ALGORITHMS.items() if item.contributions])
def test_contributions_add_up_to_the_prediction(name: str, task: Task) -> None:
    algorithm, sample = ALGORITHMS[name], Sample(FEATURES, TARGETS[task], np.ones(400), ("code",))
    model = algorithm.fit(sample, {}, Conditions(task, 1, 1)).model
    assert algorithm.contributions is not None
    told = algorithm.contributions(model, FEATURES, task)
    assert told is not None
    assert told.shape == FEATURES.shape
    assert np.abs(told).mean(axis=0).argmax() == 0, "a moves it most"
    left = raw(name, model, task) - told.sum(axis=1)
    groups = algorithm.predict(model, FEATURES, task) if task is Task.MULTICLASS else np.zeros(400)
    for group in np.unique(groups):
        assert np.ptp(left[groups == group]) == pytest.approx(0, abs=1e-6)


def test_trees_of_linear_leaves_tell_no_contributions(tmp_path: Path) -> None:
    numbers = FEATURES[["a", "b"]]
    sample = Sample(numbers, TARGETS[Task.REGRESSION], np.ones(400))
    model = LIGHTGBM.fit(sample, {"linear_tree": 1.0, "extra_trees": 0}, Conditions(Task.REGRESSION, 1, 1)).model
    LIGHTGBM.save(model, Task.REGRESSION, numbers.head(), tmp_path / "model", pip_requirements=[])
    assert LIGHTGBM.contributions is not None
    for linear in (model, LIGHTGBM.load(tmp_path / "model")):
        assert LIGHTGBM.contributions(linear, numbers, Task.REGRESSION) is None


def test_where_the_algorithm_tells_no_importance_it_is_found_by_shuffling() -> None:
    content = SPEC.model_dump()
    content["training"] |= {"algorithm": "hist_gradient_boosting", "baseline": {}}
    content["training"]["search"] |= {"start": {}, "space": {"max_iter": {"kind": "integer", "low": 1, "high": 9}}}
    spec = ModelSpec.model_validate(content)
    fitted = algorithms.fit(spec, Sample(FEATURES, TARGETS[Task.REGRESSION], np.ones(400)), {})
    found = importance.of(spec, fitted.model, FEATURES, pd.Series(TARGETS[Task.REGRESSION]))
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["a"] > 0.7
    assert found.shares["a"] > found.shares["code"] > 5 * found.shares["b"]
    assert found.meaning == "share of what adjusted R2 loses where a feature's values are shuffled"
    assert importance.of(spec, fitted.model, FEATURES.head(1), pd.Series([1.0])).shares == {}


@pytest.mark.slow
def test_slices_are_each_category_and_bands_and_hold_what_the_metric_says(scene: Scene) -> None:
    spec, ref = scene.world.spec, scene.old_ref
    frame = training_set.read(spec, scene.world.lake, ref)
    test = frame[fitted_rows.judging(frame)]
    predicted = test[spec.target].to_numpy() + 1000.0
    found = slice_metrics.of(spec, ref, test, predicted, {"latitude": 0.9, "ocean_proximity_inland": 0.8})
    columns = {item.title.split(" ")[0] for item in found}
    assert columns == {"ocean_proximity", "median_income", "latitude"}
    for column in columns:
        rows = np.sum([item.part.rows for item in found if item.title.startswith(column)], axis=0)
        assert (rows == 1).all(), column
    (inland,) = [item for item in found if item.title == "ocean_proximity = INLAND"]
    own = test["ocean_proximity_inland"] == 1
    expected = metrics.of(spec).measure(test.loc[own, spec.target].to_numpy(), predicted[own], len(ref.features))
    assert inland.value == pytest.approx(expected)
    assert (inland.rows, inland.residual) == (own.sum(), pytest.approx(-1000))
    assert list(slice_metrics.table(spec, found)["rows"]) == [item.rows for item in found]


@pytest.mark.slow
def test_a_learning_curve_ends_in_the_candidate_and_begins_where_there_are_rows_enough(scene: Scene) -> None:
    spec, ref = scene.world.spec, scene.old_ref
    frame = training_set.read(spec, scene.world.lake, ref)
    points = learning_curve.of(spec, ref, frame, {"n_estimators": 20}, scene.old.metrics)
    count = ref.train_rows + ref.validation_rows
    assert [point.rows for point in points] == [int(share * count) for share in (0.1, 0.25, 0.5)] + [count]
    assert points[-1].test == scene.old.metrics["adjusted_r2"]
    assert points[-1].fitted == scene.old.metrics["train_adjusted_r2"]
    assert points == learning_curve.of(spec, ref, frame, {"n_estimators": 20}, scene.old.metrics)
    assert 0.4 < points[0].test < points[2].test < 1
    few = frame.groupby("split").head(100)
    assert [point.rows for point in learning_curve.of(spec, ref, few, {}, scene.old.metrics)] == [50, 100, 200]


@pytest.mark.slow
def test_the_page_of_a_training_set_has_its_label_its_features_and_no_markup_of_others(scene: Scene) -> None:
    spec, ref = scene.world.spec, scene.old_ref
    frame = training_set.read(spec, scene.world.lake, ref)
    frame["latitude"], frame["total_rooms"] = np.nan, 7.0
    hostile = """<script>alert(1)</script>"""
    content = spec.model_dump(mode="json")
    content["columns"]["longitude"]["description"] = hostile
    told = ModelSpec.model_validate(content)
    told._folder = spec.folder
    page = exploration.render(told, replace(ref, training_set=hostile), frame)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 2
    for name in (spec.target, *ref.features):
        assert name in page
    assert f"{frame[spec.target].max():,.0f}" in page
    assert "100.0 %" in page, "all of latitude is null"
    assert page.count("<svg") == len(ref.features) + 1
    bars = exploration._histogram(np.arange(300.0))
    assert (len(bars), {bar.height for bar in bars}) == (exploration.BINS, {1.0})
