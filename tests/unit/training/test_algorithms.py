"""Every algorithm on every task that it is for: fitted, stored, loaded, and the same predictions again."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import run
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer
from skops.io.exceptions import UntrustedTypesFoundException

from include.core import catalogue
from include.core.category import Category
from include.core.errors import ConfigError
from include.core.sections import Task
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.training import algorithms, search
from include.training.algorithms import ALGORITHMS, Conditions, Sample
from include.training.algorithms.lightgbm import LIGHTGBM, NUMBERS

SPEC = catalogue.load("california_housing")
CASES = [(name, task) for name, algorithm in ALGORITHMS.items() for task in algorithm.parameters]
OWN = replace(ALGORITHMS["linear"], name="own")
"""What a user might bring."""
OWN_PATH = "tests.unit.training.test_algorithms:OWN"


def spec_of(
    algorithm: str, task: Task = Task.REGRESSION, baseline: object = None, space: object = None, **more: object
) -> ModelSpec:
    content = json.loads(SPEC.model_dump_json())
    content["task"] = task
    content["training"] |= {"algorithm": algorithm, "baseline": baseline or {}, **more}
    content["training"]["search"] |= {
        "start": {},
        "space": space or {"alpha": {"kind": "uniform", "low": 0, "high": 1}},
    }
    return ModelSpec.model_validate(content)


def fitting(algorithm: str, task: Task) -> ModelSpec:
    parameter = {"linear": "alpha" if task is Task.REGRESSION else "C"}.get(algorithm, "learning_rate")
    return spec_of(algorithm, task, space={parameter: {"kind": "uniform", "low": 0.01, "high": 1.0}})


def sample(task: Task, rows: int = 600) -> Sample:
    """Rows in which ``a`` says most, ``b`` is sometimes unknown, and ``c`` never known."""
    rng = np.random.default_rng(rows)
    features = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc")).assign(c=np.nan)
    target = 3 * features["a"] + rng.normal(0, 0.5, rows)
    features.loc[::9, "b"] = np.nan
    if task is not Task.REGRESSION:
        target = pd.cut(target, [-np.inf, 0, np.inf] if task is Task.BINARY else [-np.inf, -2, 2, np.inf], labels=False)
    return Sample(features, target.to_numpy(dtype=np.float64), np.ones(rows))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_stored_model_predicts_the_same_and_by_the_tasks_convention(name: str, task: Task, tmp_path: Path) -> None:
    spec, train, test = fitting(name, task), sample(task), sample(task, 300)
    fitted = algorithms.fit(spec, train, {})
    predicted = algorithms.predict(spec, name, fitted.model, test.features)
    assert predicted.dtype == np.float64
    assert predicted.shape == (300,)
    if task is Task.REGRESSION:
        assert np.corrcoef(predicted, test.target)[0, 1] > 0.95
    elif task is Task.BINARY:
        assert 0 <= predicted.min() < 0.1 < 0.9 < predicted.max() <= 1
        assert np.mean((predicted > 0.5) == test.target) > 0.85
    else:
        assert set(predicted) == {0.0, 1.0, 2.0}
        assert np.mean(predicted == test.target) > 0.85
    assert np.array_equal(
        predicted, algorithms.predict(spec, name, algorithms.fit(spec, train, {}).model, test.features)
    )

    folder = tmp_path / "model"
    ALGORITHMS[name].save(fitted.model, task, train.features.head(3), folder, pip_requirements=["mlflow"])
    assert mlflow.models.get_model_info(str(folder)).signature.outputs is not None
    (folder / "MLmodel").write_text("loader_module: os\n")  # what the registry's files name is not asked
    loaded = algorithms.load(spec, name, folder)
    assert np.allclose(algorithms.predict(spec, name, loaded, test.features), predicted)

    if importance := ALGORITHMS[name].importance:
        found = importance(fitted.model)
        assert list(found) == list("abc")
        assert max(found, key=lambda feature: found[feature]) == "a"


@pytest.mark.parametrize("name", [name for name, algorithm in ALGORITHMS.items() if algorithm.rounds])
def test_validation_rows_say_when_to_stop(name: str) -> None:
    algorithm = ALGORITHMS[name]
    spec, train, validation = fitting(name, Task.REGRESSION), sample(Task.REGRESSION), sample(Task.REGRESSION, 300)
    fitted = algorithms.fit(spec, train, {"learning_rate": 0.3}, validation)
    assert 1 <= fitted.params[algorithm.rounds] < 200
    assert fitted.params["learning_rate"] == 0.3
    bounded = algorithms.fit(spec, train, {"learning_rate": 0.3, algorithm.rounds: 5}, validation)
    assert bounded.params[algorithm.rounds] <= 5
    again = algorithms.fit(spec, train, fitted.params)
    predicted, expected = (algorithms.predict(spec, name, item.model, validation.features) for item in (again, fitted))
    assert np.allclose(predicted, expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_heavier_rows_count_more(name: str) -> None:
    spec, half = fitting(name, Task.REGRESSION), np.arange(600) < 300
    train = sample(Task.REGRESSION)
    shifted = replace(train, target=train.target + 10 * half, weight=np.where(half, 100.0, 1.0))
    mean = algorithms.predict(spec, name, algorithms.fit(spec, shifted, {}).model, train.features).mean()
    assert mean > 9


SMALL: dict[str, dict[str, int | float]] = {
    "lightgbm": {"n_estimators": 10, "num_leaves": 2, "learning_rate": 0.5},
    "hist_gradient_boosting": {"max_iter": 10, "max_leaf_nodes": 2, "learning_rate": 0.5},
    "linear": {},
}
"""Too few splits to tell codes from each other one by one, as numbers."""
PLACES = 40


def places(rows: int = 4000, target: str = "regression") -> Sample:
    """Rows whose target is that of their place, 10 or -10, in no order of the codes; 0 where there is none."""
    rng = np.random.default_rng(rows)
    codes = rng.integers(1, PLACES + 1, rows).astype(np.float64)
    codes[::20] = np.nan
    worth = np.random.default_rng(7).permutation(np.repeat([10.0, -10.0], PLACES // 2))
    effect = np.where(np.isnan(codes), 0.0, worth[np.nan_to_num(codes, nan=1).astype(int) - 1])
    values = effect + rng.normal(size=rows)
    features = pd.DataFrame({"place": codes, "noise": rng.normal(size=rows)})
    return Sample(features, (values > 0).astype(float) if target == "binary" else values, np.ones(rows), ("place",))


def rmse(spec: ModelSpec, name: str, model: object, sample: Sample) -> float:
    predicted = algorithms.predict(spec, name, model, sample.features)
    return float(np.sqrt(np.mean((predicted - sample.target) ** 2)))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_codes_without_an_order_are_told_apart_as_categories_and_not_as_numbers(name: str) -> None:
    spec, train, test = fitting(name, Task.REGRESSION), places(), places(2000)
    as_categories = rmse(spec, name, algorithms.fit(spec, train, SMALL[name]).model, test)
    as_numbers = rmse(spec, name, algorithms.fit(spec, replace(train, categories=()), SMALL[name]).model, test)
    assert as_categories < 3.0
    assert as_numbers > 7.0


@pytest.mark.parametrize("name", [name for name, algorithm in ALGORITHMS.items() if algorithm.rounds])
def test_trials_that_stop_early_take_codes_for_categories(name: str) -> None:
    spec, train, validation = fitting(name, Task.REGRESSION), places(), places(1000)
    stopped = algorithms.fit(spec, train, {"learning_rate": 0.3}, validation)
    again = algorithms.fit(spec, train, stopped.params)
    assert rmse(spec, name, stopped.model, validation) < 1.5
    assert rmse(spec, name, again.model, validation) == pytest.approx(rmse(spec, name, stopped.model, validation))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_stored_model_with_categories_predicts_the_same_of_codes_that_it_has_never_seen_too(
    name: str, tmp_path: Path
) -> None:
    spec, train = fitting(name, Task.BINARY), places(target="binary")
    model = algorithms.fit(spec, train, {}).model
    ALGORITHMS[name].save(model, Task.BINARY, train.features.head(3), tmp_path / "model", pip_requirements=["mlflow"])
    loaded = algorithms.load(spec, name, tmp_path / "model")
    asked = pd.DataFrame({"place": [1.0, 2.0, 0.0, 300.0, np.nan], "noise": 0.0})
    predicted = algorithms.predict(spec, name, loaded, asked)
    assert np.array_equal(predicted, algorithms.predict(spec, name, model, asked))
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert predicted[2] == predicted[3], "which code it is that nobody knows says nothing"
    if importance := ALGORITHMS[name].importance:
        found = importance(model)
        assert list(found) == ["place", "noise"]
        assert found["place"] > 10 * found["noise"]


@pytest.mark.parametrize("function", [os.system, os.getenv, eval])
def test_what_passes_numbers_beside_categories_lets_no_other_function_in(function: Any, tmp_path: Path) -> None:
    file = FunctionTransformer(func=partial(function, "HOME"))
    (tmp_path / "model.skops").write_bytes(skops.io.dumps(file))
    with pytest.raises(UntrustedTypesFoundException, match=function.__name__):
        algorithms.load(fitting("linear", Task.REGRESSION), "linear", tmp_path)


def test_a_model_of_categories_alone_is_fitted_by_every_algorithm() -> None:
    train = replace(places(), features=places().features[["place"]])
    for name in ALGORITHMS:
        spec = fitting(name, Task.REGRESSION)
        assert rmse(spec, name, algorithms.fit(spec, train, {}).model, train) < 3.0, name


def test_there_are_as_many_bins_as_codes_at_least() -> None:
    name = "hist_gradient_boosting"
    spec, train = fitting(name, Task.REGRESSION), places()
    fitted = algorithms.fit(spec, train, {"max_bins": 8})
    assert fitted.params["max_bins"] == 8
    assert rmse(spec, name, fitted.model, train) < 1.5


def test_more_categories_than_an_algorithm_takes_are_refused() -> None:
    values = tuple(f"town {number}" for number in range(255))

    def fitting_towns(name: str, values: tuple[str, ...]) -> ModelSpec:
        spec = fitting(name, Task.REGRESSION)
        categories = {"town": Category(values=values, unseen="other")}
        return spec.model_copy(update={"features": spec.features.model_copy(update={"categories": categories})})

    assert algorithms.of(fitting_towns("lightgbm", values)) is LIGHTGBM
    algorithms.of(fitting_towns("hist_gradient_boosting", values[:-1]))
    with pytest.raises(
        ConfigError, match=r"categories.town: town has 255 values, and hist_gradient_boosting takes 254"
    ):
        algorithms.of(fitting_towns("hist_gradient_boosting", values))


def test_every_parameter_is_one_of_the_librarys_own() -> None:
    from lightgbm.basic import _ConfigAliases
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge

    known = {alias for aliases in _ConfigAliases._get_all_param_aliases().values() for alias in aliases}
    assert set(NUMBERS) | {"objective", "boosting"} <= known
    for name, regression, classes in (
        ("hist_gradient_boosting", HistGradientBoostingRegressor(), HistGradientBoostingClassifier()),
        ("linear", Ridge(), LogisticRegression()),
    ):
        for task, parameters in ALGORITHMS[name].parameters.items():
            assert set(parameters) <= set((regression if task is Task.REGRESSION else classes).get_params())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of("lightgmb"), "training.algorithm: 'lightgmb' is not known. Use one of hist_gradient_boosting, light"),
        (
            spec_of("lightgbm", baseline={"num_leafs": 3}),
            "training.baseline: lightgbm has no parameter 'num_leafs'. It has e.g. num_leaves",
        ),
        (
            spec_of("lightgbm", baseline={"objective": "binary"}),
            "training.baseline: objective is 'binary'. Make it one of regression, regression_l1",
        ),
        (spec_of("lightgbm", baseline={"num_leaves": "many"}), "num_leaves is 'many'. Make it a number"),
        (
            spec_of("hist_gradient_boosting", space={"num_leaves": {"kind": "integer", "low": 2, "high": 9}}),
            "training.search.space: hist_gradient_boosting has no parameter 'num_leaves'",
        ),
        (spec_of("linear", Task.BINARY), "training.search.space: linear has no parameter 'alpha'"),
    ],
)
def test_mistakes_in_model_yaml_name_file_and_key(spec: ModelSpec, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        algorithms.of(spec)
    assert str(caught.value).startswith("include/models/california_housing/model.yaml: training.")
    assert message in str(caught.value)


def test_an_algorithm_is_refused_for_a_task_that_it_is_not_for(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = replace(LIGHTGBM, parameters={Task.REGRESSION: LIGHTGBM.parameters[Task.REGRESSION]})
    monkeypatch.setattr(algorithms, "ALGORITHMS", {**ALGORITHMS, "lightgbm": narrow})
    with pytest.raises(ConfigError, match="lightgbm is for regression, and the task is binary"):
        algorithms.of(fitting("lightgbm", Task.BINARY))


def test_a_users_own_is_loaded_while_model_yaml_names_it_and_no_tag_imports_code() -> None:
    assert algorithms.of(spec_of(OWN_PATH)) is OWN
    assert algorithms.get(spec_of(OWN_PATH), OWN_PATH) is OWN
    assert algorithms.get(spec_of(OWN_PATH), "lightgbm") is LIGHTGBM
    sys.modules.pop("antigravity", None)
    for path in (OWN_PATH, "antigravity:fly"):
        with pytest.raises(ConfigError, match="neither one of the package's own nor named by"):
            algorithms.get(SPEC, path)
    assert "antigravity" not in sys.modules


def test_checking_model_yaml_imports_no_library() -> None:
    """DAG files are parsed where nothing is fitted."""
    code = (
        "import sys; from include.core import catalogue; from include.evaluation import metrics; "
        "from include.training import algorithms, splits; spec = catalogue.load('california_housing'); "
        "metrics.of(spec); algorithms.of(spec); splits.of(spec, ()); "
        "print({'lightgbm', 'sklearn', 'mlflow', 'pandas', 'scipy'} & set(sys.modules))"
    )
    done = run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


PLACED = {"bags": 4, "near": "x, y", "learning_rate": 0.1, "n_estimators": 40}


def placed(rows: int, seed: int) -> Sample:
    """Rows of 80 towns, each of which has a price of its own that no other feature tells."""
    towns = np.random.default_rng(7)
    at, price = towns.uniform(0, 10, (80, 2)), towns.normal(0, 3, 80)
    rng = np.random.default_rng(seed)
    town, a = rng.integers(0, 80, rows), rng.normal(size=rows)
    places = at[town] + rng.normal(0, 0.01, (rows, 2))
    features = pd.DataFrame({"a": a, "x": places[:, 0], "y": places[:, 1]})
    return Sample(features, a + price[town] + rng.normal(0, 0.5, rows), np.ones(rows))


@pytest.mark.parametrize("task", list(Task))
def test_a_committee_is_the_average_of_models_that_each_left_a_part_out(task: Task) -> None:
    spec, train, test = spec_of("lightgbm", task), sample(task), sample(task, 300)
    params = {"bags": 3, "n_estimators": 20, "max_bin": 31, "min_child_samples": 5}
    fitted = algorithms.fit(spec, train, params)
    assert fitted.params == params
    part = np.random.default_rng(spec.training.seed).permutation(600) % 3
    single = {name: value for name, value in params.items() if name != "bags"}
    members = []
    for number in range(3):
        kept = part != number
        rows = Sample(train.features[kept], train.target[kept], train.weight[kept])
        members.append(LIGHTGBM.fit(rows, dict(single), Conditions(task, spec.training.seed + number, 1)).model)
    expected = np.mean([member.predict(test.features, raw_score=True) for member in members], axis=0)
    # Bins are made of all rows, and not of each model's own.
    assert np.corrcoef(fitted.model.predict(test.features, raw_score=True).ravel(), expected.ravel())[0, 1] > 0.98
    again = algorithms.fit(spec, train, params, threads=2)
    assert np.allclose(again.model.predict(test.features), fitted.model.predict(test.features), rtol=1e-6)
    assert algorithms.fit(spec, train, single).model.num_trees() * 3 == fitted.model.num_trees()


def test_neighbours_tell_what_a_place_has_of_its_own_and_little_elsewhere() -> None:
    spec, train, test = spec_of("lightgbm"), placed(1500, 1), placed(500, 2)
    far = replace(test, features=test.features.assign(x=test.features["x"] + 1000))

    def error(params: dict[str, Any], rows: Sample) -> float:
        model = algorithms.fit(spec, train, params).model
        return float(np.std(rows.target - algorithms.predict(spec, "lightgbm", model, rows.features)))

    alone = {name: value for name, value in PLACED.items() if name != "near"}
    assert error(PLACED, test) < 0.95 * error(alone, test)
    assert error(PLACED, far) < 1.1 * error(alone, far)


def test_a_committee_is_stored_and_explained_as_any_model(tmp_path: Path) -> None:
    spec, train = spec_of("lightgbm"), placed(600, 1)
    fitted = algorithms.fit(spec, train, PLACED)
    predicted = algorithms.predict(spec, "lightgbm", fitted.model, train.features)
    LIGHTGBM.save(fitted.model, Task.REGRESSION, train.features.head(3), tmp_path / "m", pip_requirements=["mlflow"])
    loaded = algorithms.load(spec, "lightgbm", tmp_path / "m")
    assert np.array_equal(algorithms.predict(spec, "lightgbm", loaded, train.features), predicted)
    assert np.allclose(fitted.model.predict(train.features, pred_contrib=True).sum(axis=1), predicted, rtol=1e-5)
    assert set(LIGHTGBM.importance(fitted.model)) == {"a", "x", "y"}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ({"bags": 2.5}, "bags is 2.5, and no whole number from 1 to 50"),
        ({"bags": 0}, "bags is 0, and no whole"),
        ({"bags": 3, "boosting": "rf"}, "bags: a random forest is an average already"),
        ({"near": "longitude"}, "near needs bags"),
        ({"bags": 3, "near": "longitude", "objective": "poisson"}, "near adds to the target"),
        ({"bags": 3, "near": 1}, "near is 1.*Make it a text: feature, feature"),
        ({"bags": 3, "near": "longitude, altitude"}, r"training.baseline.near: features.sql selects no altitude"),
    ],
)
def test_a_committee_that_cannot_be_is_an_error_of_model_yaml(baseline: dict[str, Any], message: str) -> None:
    spec = spec_of("lightgbm", baseline=baseline, space={"learning_rate": {"kind": "uniform", "low": 0.1, "high": 1}})
    with pytest.raises(ConfigError, match=message):
        algorithms.of(spec, ["longitude", "latitude"])


def test_a_search_leaves_the_size_of_the_committee_to_the_final_fit() -> None:
    with pytest.raises(ConfigError, match=r"search\.space: bags is of the final fit"):
        algorithms.of(spec_of("lightgbm", space={"bags": {"kind": "integer", "low": 1, "high": 3}}))
    space = {"learning_rate": {"kind": "uniform", "low": 0.05, "high": 0.3}}
    bagged = spec_of("lightgbm", baseline=PLACED, space=space)
    plain = spec_of(
        "lightgbm", baseline={name: PLACED[name] for name in ("learning_rate", "n_estimators")}, space=space
    )
    folds = [(placed(600, 1), placed(300, 2))]
    found, expected = (search.tune(_few_trials(spec), folds) for spec in (bagged, plain))
    assert [trial.validation for trial in found.trials] == [trial.validation for trial in expected.trials]
    for trial, other in zip(found.trials, expected.trials, strict=True):
        assert trial.params == {**other.params, "bags": 4, "near": "x, y"}


def _few_trials(spec: ModelSpec) -> ModelSpec:
    few = spec.training.search.model_copy(update={"trials": 2})
    return spec.model_copy(update={"training": spec.training.model_copy(update={"search": few})})
