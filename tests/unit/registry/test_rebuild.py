from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient

from include.core.errors import TamperedError, UsageError
from include.core.spec import ModelSpec
from include.lakehouse.decisions import Kind
from include.registry import promotion, rebuild, steps, versions
from include.training import candidate, tracking
from tests.unit.registry.cases import another, ask, decided, registered, with_gate
from tests.unit.training.stage import Scene, register


def with_training(spec: ModelSpec, **changes: Any) -> ModelSpec:
    changed = spec.model_copy(update={"training": spec.training.model_copy(update=changes)})
    changed._folder = spec.folder
    return changed


def test_a_version_comes_out_as_it_was_registered_whatever_model_yaml_says_now(scene: Scene) -> None:
    run = registered(scene, "rebuilt")
    version = register(run.spec, run.lake, scene.tuned, scene.old_ref).version
    other = with_training(run.spec, seed=99, baseline={"learning_rate": 0.9})
    built = steps.rebuild_version(replace(run, spec=other), version)
    assert built.alike
    assert built.distance == 0
    assert built.rebuilt == built.registered == pytest.approx(scene.tuned.metrics["adjusted_r2"])
    assert built.rows == scene.old_ref.test_rows
    assert built.packages == {}
    (decision,) = decided(run, Kind.REBUILD)
    assert (decision.subject, decision.outcome, decision.reasons) == (f"version {version}", "alike", [])
    found = versions.get(run.spec, version)
    assert found.tags["rebuild"] == "alike"
    assert f"version {version} comes out alike: adjusted R2" in found.description


def test_a_committee_comes_out_as_it_was_registered(scene: Scene) -> None:
    run = registered(scene, "committee")
    committee = {"bags": 3, "near": "longitude, latitude", "n_estimators": 20}
    spec = with_training(scene.world.spec, baseline=committee)
    fitted = candidate.fit_baseline(spec, scene.world.lake, scene.old_ref, "run-committee")
    version = register(run.spec, run.lake, fitted, scene.old_ref).version
    built = steps.rebuild_version(run, version)
    assert built.alike
    assert built.distance == 0
    assert built.registered == pytest.approx(fitted.metrics["adjusted_r2"])


def test_another_model_is_said_recorded_and_not_retried(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record names another seed than the one that it was fitted by."""
    run = registered(scene, "unlike")
    log_model, spec = tracking.log_model, with_training(scene.world.spec, baseline={"feature_fraction": 0.4})
    monkeypatch.setattr(
        tracking, "log_model", lambda spec, *more, **named: log_model(with_training(spec, seed=1), *more, **named)
    )
    fitted = candidate.fit_baseline(spec, scene.world.lake, scene.old_ref, "run-unlike")
    version = register(run.spec, run.lake, fitted, scene.old_ref).version
    monkeypatch.setattr(rebuild, "_installed", lambda package: "0.1" if package == "lightgbm" else "")
    with pytest.raises(TamperedError, match=r"comes out different: .* here is lightgbm 0\.1 and not \d"):
        steps.rebuild_version(run, version)
    (decision,) = decided(run, Kind.REBUILD)
    assert decision.outcome == "different"
    assert decision.reasons[0] == "predictions_differ"
    assert "other_package:lightgbm" in decision.reasons
    assert decision.inputs["distance"] > 1e-6
    assert versions.get(run.spec, version).tags["rebuild"] == "different"
    generous = replace(run, spec=with_training(run.spec, rebuild_tolerance=100.0), run_id="generous")
    assert steps.rebuild_version(generous, version).alike


def test_a_gate_may_ask_for_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = registered(scene, "gated")
    spec = with_gate(run.spec, "staging", "rebuilds")
    (_, check) = ask(spec, run.lake, "staging", "1").checks
    assert (check.name, check.passed, check.value, check.threshold) == ("rebuilds", True, 0.0, 1e-6)
    monkeypatch.setattr(rebuild, "_fit", lambda *_: None)
    (_, check) = ask(spec, run.lake, "staging", "1").checks
    assert not check.passed
    assert check.detail.startswith("It could not be checked")


def test_without_a_number_it_is_the_one_in_production(scene: Scene) -> None:
    run = registered(scene, "unnamed")
    with pytest.raises(UsageError, match="no version is in production"):
        steps.rebuild_version(run)
    promotion.put_in_production(run.spec, run.lake, "2", "decision")
    assert steps.rebuild_version(another(run, "second")).version == "2"


def test_what_is_not_as_it_was_registered_is_not_fitted_again(scene: Scene) -> None:
    run = registered(scene, "changed")
    version = versions.get(run.spec, 1)
    MlflowClient().set_model_version_tag(run.spec.name, "1", "training_set", "2025-01-03")
    with pytest.raises(TamperedError, match="tag training_set of version 1"):
        steps.rebuild_version(run, version.version)
    assert decided(run, Kind.REBUILD) == []
