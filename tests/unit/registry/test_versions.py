from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from include.core import catalogue
from include.core.category import Category
from include.core.errors import DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.features import fitted_categories
from include.registry import versions
from include.registry.versions import Version
from include.training.algorithms import ALGORITHMS, Conditions, Sample
from tests.unit.training.stage import Scene

SPEC = catalogue.load("california_housing")


@pytest.mark.parametrize("alias", ["0{}", "{}.0", "+{}", " {}", "{}\n"])
def test_a_version_is_found_by_its_number_alone_as_it_is_written(scene: Scene, alias: str) -> None:
    own = scene.own("written_otherwise")
    made = versions.create(own.world.spec, scene.new, scene.new_ref)
    assert versions.find(own.world.spec, int(made.version)) == made
    assert versions.find(own.world.spec, alias.format(made.version)) is None
    assert versions.find(own.world.spec, chr(0x0660 + int(made.version))) is None


def test_a_run_has_one_version_with_everything_a_reader_needs(scene: Scene) -> None:
    own = scene.own("registered_once")
    spec = own.world.spec
    made = versions.create(spec, scene.new, scene.new_ref)
    assert versions.create(spec, scene.new, scene.new_ref) == made == versions.get(spec, made.version)
    assert made.stage == "None"
    assert made.feature_service == "california_housing_v1"
    assert made.features == tuple(scene.new_ref.features)
    assert made.known_at == datetime(2025, 1, 5, tzinfo=UTC)
    tags = {name: made.tag(name) for name in ("algorithm", "task", "metric", "training_set")}
    assert tags == {
        "algorithm": "lightgbm",
        "task": "regression",
        "metric": "adjusted_r2",
        "training_set": scene.new_ref.training_set,
    }
    shown = set(MlflowClient().get_model_version(spec.name, made.version).tags)
    assert {"stage", "candidate", "training_set", "known_at", "adjusted_r2", "drifted_adjusted_r2"} < shown
    assert not shown & {"features", "split", "data.version", "training_set.version"}, "people read none of these"
    assert json.loads(made.tag("split"))["test_share"] == spec.training.split.test_share
    assert made.description.startswith("lightgbm, baseline. Fitted to ")
    assert "days 2025-01-01 to 2025-01-04 (2025-01-02, 2025-01-03, 2025-01-04 drifted and weigh more)" in (
        made.description
    )
    assert f"test rows: adjusted R2 {scene.new.metrics['adjusted_r2']:.4f}, " in made.description
    assert "of them in drifted windows: adjusted R2 " in made.description
    assert MlflowClient().get_registered_model(spec.name).description == spec.description


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_version_predicts_as_it_did_after_a_value_is_appended_and_not_after_they_are_reordered(
    name: str, tmp_path: Path
) -> None:
    def declaring(*values: str) -> ModelSpec:
        categories = {"place": Category(values=values, unseen="other")}
        return SPEC.model_copy(update={"features": SPEC.features.model_copy(update={"categories": categories})})

    rng = np.random.default_rng(1)
    features = pd.DataFrame({"place": rng.integers(0, 3, 600).astype(float)})
    sample = Sample(features, np.array([5.0, -5.0, 1.0])[features["place"].astype(int)], np.ones(600), ("place",))
    then, now = declaring("inland", "island"), declaring("inland", "island", "bay")
    tags = {
        "algorithm": name,
        "features": '["place"]',
        "categories": fitted_categories.written(then, ["place"]),
    }
    version = Version(SPEC.name, "1", "None", "", "", tags, datetime(2025, 1, 1, tzinfo=UTC))
    model = ALGORITHMS[name].fit(sample, {}, Conditions(Task.REGRESSION, 1, 1)).model
    ALGORITHMS[name].save(model, Task.REGRESSION, features.head(), tmp_path / "model", pip_requirements=["mlflow"])

    before = versions.predictor(then, version, tmp_path / "model")
    after = versions.predictor(now, version, tmp_path / "model")
    bay_before, bay_after = (pd.DataFrame({"place": [code, 1.0, 2.0, np.nan]}) for code in (0.0, 3.0))
    assert before(bay_before)[:3] == pytest.approx([5.0, -5.0, 1.0], abs=0.1)
    assert np.array_equal(after(bay_after), before(bay_before))
    with pytest.raises(DataError, match="version 1 was fitted to place as a category of inland, island, and features"):
        versions.predictor(declaring("island", "inland"), version, tmp_path / "model")


def test_stages(scene: Scene) -> None:
    spec = scene.own("stages").world.spec
    assert versions.production(spec) is None
    first = versions.create(spec, scene.old, scene.old_ref)
    second = versions.create(spec, scene.new, scene.new_ref)
    assert versions.production(spec) is None
    versions.set_stage(spec, first.version, "Staging")
    versions.set_stage(spec, second.version, "Staging")
    assert versions.get(spec, first.version).stage == "None"
    staged = versions.by_alias(spec, "staging")
    assert staged is not None
    assert staged.version == second.version
    versions.set_stage(spec, second.version, "Rejected")
    assert versions.by_alias(spec, "staging") is None
    with pytest.raises(DataError, match="promotion"):
        versions.set_stage(spec, first.version, "Production")
    with pytest.raises(DataError, match="no version 99"):
        versions.get(spec, 99)


def test_what_is_said_again_replaces_its_line(scene: Scene) -> None:
    spec = scene.own("notes").world.spec
    made = versions.create(spec, scene.old, scene.old_ref)
    for title, text in (("Staging gate", "failed"), ("Production gate", "failed"), ("Staging gate", "passed")):
        versions.note(spec, made.version, title, text, {f"gate.{title.split()[0].lower()}": text})
    found = versions.get(spec, made.version)
    assert found.own_description == made.description
    assert found.description.endswith("---\n- **Production gate:** failed\n- **Staging gate:** passed")
    assert (found.tag("gate.staging"), found.tag("gate.production")) == ("passed", "failed")


@pytest.mark.parametrize("version", ["9999", "abc", "latest"])
def test_what_is_no_version_is_said_to_be_none(scene: Scene, version: str) -> None:
    with pytest.raises(DataError, match=f"there is no version {version}. Look up its versions in MLflow"):
        versions.get(scene.own("no_version").world.spec, version)
