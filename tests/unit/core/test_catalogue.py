"""Every registered model is in order, and every mistake in a model's folder is one line with file and key."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import ConfigError
from include.core.registry import choose
from include.evaluation.metrics import METRICS
from include.orchestration import models

NAME = "california_housing"
OWN = METRICS["mae"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "include" / "models"
    shutil.copytree(catalogue.MODELS / NAME, folder / NAME)
    return folder


@pytest.mark.parametrize("name", catalogue.registered())
def test_every_registered_model_is_in_order(name: str) -> None:
    assert models.problem(name) is None


def test_a_folder_is_a_model_as_soon_as_it_has_one_of_the_files(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "half").mkdir()
    (root / "half" / "features.sql").write_text("SELECT 1")
    assert catalogue.registered(root) == (NAME, "half")
    assert models.valid(root) == (NAME,)
    assert "model.yaml is missing" in str(models.problem("half", root))


def test_what_is_loaded_is_frozen(root: Path) -> None:
    spec = catalogue.load(NAME, root)
    with pytest.raises(Exception, match="frozen"):
        spec.name = "other"
    assert spec.folder == root / NAME


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown key": (lambda text: text + "extra: 1\n", "key extra: unknown key"),
    "unknown key inside": (
        lambda text: text.replace("trials: 20", "trails: 20"),
        "key training.search.trails: unknown",
    ),
    "wrong type": (lambda text: text.replace("trials: 20", "trials: many"), "key training.search.trials"),
    "out of range": (lambda text: text.replace("test_share: 0.3", "test_share: 3"), "key training.split.test_share"),
    "n above m": (
        lambda text: text.replace("below_windows: 2", "below_windows: 9"),
        "below_windows is above of_windows",
    ),
    "unknown key column": (lambda text: text.replace("keys: [listing_id]", "keys: [id]"), "entity.keys: column 'id'"),
    "unknown drift column": (lambda text: text.replace("{column: median_income", "{column: x"), "replay.drift.column"),
    "days in disorder": (lambda text: text.replace("last_day: 2025", "last_day: 2020"), "last_day is before first_day"),
    "empty range": (lambda text: text.replace("low: 20,", "low: 99,"), "low is not below high"),
    "start outside": (lambda text: text.replace("num_leaves: 48", "num_leaves: 480"), "start.num_leaves"),
    "no time of day": (
        lambda text: text.replace("  deadline_minutes", "  schedule: '0 24 * * *'\n  deadline_minutes"),
        "deliveries.schedule: '0 24 * * *' does not fire once a day",
    ),
    "no schedule of the grain": (
        lambda text: text.replace("  deadline_minutes", "  schedule: '0 0 1 * *'\n  deadline_minutes"),
        "deliveries.schedule: '0 0 1 * *' does not fire once a day",
    ),
    "unknown task": (lambda text: text.replace("task: regression", "task: guessing"), "key task"),
    "no name of a check": (
        lambda text: text.replace("check: drifted_rows", "chekc: drifted_rows"),
        "gates.production.1",
    ),
    "other name": (lambda text: text.replace(f"name: {NAME}", "name: other", 1), "key name: is 'other'"),
    "no mapping": (lambda text: "- 1\n", "model.yaml"),
    "tab": (lambda text: text + "\tx: 1\n", "not valid YAML"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_file_and_key(root: Path, case: str) -> None:
    change, expected = MISTAKES[case]
    path = root / NAME / "model.yaml"
    text = change(path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        catalogue.load(NAME, root)
    message = str(caught.value)
    assert message.startswith(f"include/models/{NAME}/model.yaml: ")
    assert expected in message
    assert "\n" not in message


def test_what_varies_is_chosen_by_name_or_by_path() -> None:
    known = {"rmse": METRICS["rmse"]}
    assert choose(known, "rmse", "here") is METRICS["rmse"]
    assert choose(known, "tests.unit.core.test_catalogue:OWN", "here") is OWN
    for name, message in (
        ("rsme", "here: 'rsme' is not known. Use one of rmse"),
        ("no.such.module:metric", "cannot be imported"),
        ("tests.unit.core.test_catalogue:NAME", "is a str, not a Metric"),
    ):
        with pytest.raises(ConfigError, match=message):
            choose(known, name, "here")


def test_a_model_that_is_in_order_is_checked_once_for_its_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    checked: list[str] = []
    monkeypatch.setattr(models, "_check", lambda spec: checked.append(spec.name))
    assert [models.problem(NAME, root) for _ in range(3)] == [None] * 3
    assert checked == [NAME]
    sql = root / NAME / "features.sql"
    sql.write_text(sql.read_text() + "-- changed\n")
    assert models.problem(NAME, root) is None
    assert checked == [NAME] * 2


def test_a_model_that_is_not_in_order_is_checked_until_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    sql = root / NAME / "features.sql"
    good = sql.read_text()
    sql.write_text(good.replace("median_income,", "median_incom,"))
    for _ in range(2):
        assert "median_incom" in str(models.problem(NAME, root))
    sql.write_text(good)
    assert models.problem(NAME, root) is None
