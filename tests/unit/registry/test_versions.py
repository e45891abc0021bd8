from __future__ import annotations

import pytest
from mlflow import MlflowClient

from include.core.errors import DataError
from include.registry import versions
from tests.unit.training.stage import Scene


def test_a_run_has_one_version_with_everything_a_reader_needs(scene: Scene) -> None:
    own = scene.own("registered_once")
    spec = own.world.spec
    made = versions.register(spec, scene.new, scene.new_ref)
    assert versions.register(spec, scene.new, scene.new_ref) == made == versions.get(spec, made.version)
    assert made.stage == "None"
    assert made.feature_service == "california_housing_v1"
    assert made.tag("training_set") == scene.new_ref.training_set
    assert "adjusted R2" in made.description
    assert "drifted windows" in made.description
    assert MlflowClient().get_registered_model(spec.name).description == spec.description


def test_stages(scene: Scene) -> None:
    spec = scene.own("stages").world.spec
    assert versions.production(spec) is None
    first = versions.register(spec, scene.old, scene.old_ref)
    second = versions.register(spec, scene.new, scene.new_ref)
    assert versions.production(spec) is None
    versions.set_stage(spec, first.version, "Staging")
    versions.set_stage(spec, second.version, "Staging")
    assert versions.get(spec, first.version).stage == "None"
    staged = versions.by_alias(spec, "staging")
    assert staged is not None
    assert staged.version == second.version
    versions.set_stage(spec, second.version, "Archived")
    assert versions.by_alias(spec, "staging") is None
    with pytest.raises(DataError, match="promotion"):
        versions.set_stage(spec, first.version, "Production")
    with pytest.raises(DataError, match="no version 99"):
        versions.get(spec, 99)
