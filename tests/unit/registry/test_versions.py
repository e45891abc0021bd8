from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from mlflow import MlflowClient

from include.core.errors import DataError
from include.registry import versions
from tests.unit.training.stage import Scene


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
