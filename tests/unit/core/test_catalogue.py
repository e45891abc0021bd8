"""Every registered model is in order, and every mistake in a model's folder is one line with file and key."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import ConfigError
from include.orchestration import models

NAME = "california_housing"


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
    "out of range": (lambda text: text.replace("test_share: 0.3", "test_share: 3"), "key training.test_share"),
    "n above m": (
        lambda text: text.replace("below_windows: 2", "below_windows: 9"),
        "below_windows is above of_windows",
    ),
    "unknown key column": (lambda text: text.replace("  key: listing_id", "  key: id"), "entity.key: column 'id'"),
    "unknown drift column": (lambda text: text.replace("{column: median_income", "{column: x"), "replay.drift.column"),
    "days in disorder": (lambda text: text.replace("last_day: 2025", "last_day: 2020"), "last_day is before first_day"),
    "empty range": (lambda text: text.replace("low: 20,", "low: 99,"), "low is not below high"),
    "start outside": (lambda text: text.replace("num_leaves: 48", "num_leaves: 480"), "start.num_leaves"),
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
