"""One model's mistake shows as an import error that names file and key, and leaves the other models' DAGs alone."""

from __future__ import annotations

import shutil

import pytest
from airflow.dag_processing.dagbag import DagBag

from include.core import catalogue
from include.core.settings import PROJECT_ROOT
from include.orchestration import models

GOOD, BAD = "california_housing", "broken_model"


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    """A folder with one good model and one copy of it to break."""
    root = tmp_path / "include" / "models"
    for name in (GOOD, BAD):
        shutil.copytree(catalogue.MODELS / GOOD, root / name)
    for file in ("model.yaml", "features.sql"):
        text = (root / BAD / file).read_text()
        (root / BAD / file).write_text(text.replace(GOOD, BAD))
    for function in (catalogue.registered, catalogue.load, models.problem, models.valid):
        inner = getattr(function, "__wrapped__", function)
        positions = inner.__code__.co_argcount
        monkeypatch.setattr(inner, "__defaults__", (root,) if positions else None)
    catalogue.load.cache_clear()
    yield root
    catalogue.load.cache_clear()


BREAK = {
    "unknown key": (
        "model.yaml",
        lambda text: text + "colour: red\n",
        ["broken_model/model.yaml", "colour", "unknown key"],
    ),
    "missing key": (
        "model.yaml",
        lambda text: text.replace("target: median_house_value\n", ""),
        ["broken_model/model.yaml", "target"],
    ),
    "wrong value": (
        "model.yaml",
        lambda text: text.replace("alpha: 0.05", "alpha: 5"),
        ["broken_model/model.yaml", "monitoring.drift.alpha"],
    ),
    "broken YAML": ("model.yaml", lambda text: text + "a: [1\n", ["broken_model/model.yaml", "line"]),
    "missing file": ("features.sql", None, ["broken_model", "features.sql is missing"]),
    "SQL with an unknown column": (
        "features.sql",
        lambda text: text.replace("median_income,", "median_incom,"),
        ["broken_model/features.sql", "median_incom"],
    ),
    "SQL that selects the label": (
        "features.sql",
        lambda text: text.replace("median_income,", "median_income, median_income AS median_house_value,"),
        ["broken_model/features.sql", "median_house_value"],
    ),
    "expectation on an unknown column": (
        "expectations.yaml",
        lambda text: text.replace("column: median_income", "column: median_incom"),
        ["broken_model/expectations.yaml", "median_incom"],
    ),
    "unknown expectation": (
        "expectations.yaml",
        lambda text: text.replace("expect_column_mean_to_be_between", "expect_magic"),
        ["broken_model/expectations.yaml", "expect_magic"],
    ),
    "unknown severity": (
        "expectations.yaml",
        lambda text: text.replace("severity: warn", "severity: shrug"),
        ["broken_model/expectations.yaml", "severity"],
    ),
}


@pytest.mark.parametrize("case", BREAK)
def test_the_error_is_this_models_alone(models_folder, case):
    file, change, expected = BREAK[case]
    path = models_folder / BAD / file
    if change is None:
        path.unlink()
    else:
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before
    bag = DagBag(str(PROJECT_ROOT / "dags"))
    assert {dag_id.split(".")[0] for dag_id in bag.dags} == {GOOD}
    (error,) = bag.import_errors.values()
    for word in expected:
        assert word in error


def test_a_second_model_is_a_second_set_of_dags(models_folder):
    bag = DagBag(str(PROJECT_ROOT / "dags"))
    assert bag.import_errors == {}
    counts = {model: sum(dag_id.startswith(f"{model}.") for dag_id in bag.dags) for model in (GOOD, BAD)}
    assert counts[GOOD] == counts[BAD] > 0


def test_the_tasks_of_a_model_run_in_its_own_pool(models_folder):
    file = models_folder / BAD / "model.yaml"
    file.write_text(file.read_text() + "pool: slow_models\n")
    bag = DagBag(str(PROJECT_ROOT / "dags"))
    pools = {
        model: {task.pool for dag in bag.dags.values() if dag.dag_id.startswith(f"{model}.") for task in dag.tasks}
        for model in (GOOD, BAD)
    }
    assert pools == {GOOD: {"default_pool"}, BAD: {"slow_models"}}
