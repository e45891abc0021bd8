from __future__ import annotations

from datetime import UTC, datetime

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from include.core.spec import ModelSpec
from include.evaluation import compare, metrics
from include.registry import gates, promotion, versions
from include.registry.gates import Verdict
from tests.unit.training.stage import Scene

EXAMPLE = pd.DataFrame({"a": [1.0]})
AT = datetime(2025, 1, 5, tzinfo=UTC)


def results(verdict: Verdict) -> dict[str, bool]:
    return {check.name: check.passed for check in verdict.checks}


def with_threshold(spec: ModelSpec, threshold: float) -> ModelSpec:
    gate = spec.gates.production.model_copy(update={"adjusted_r2": threshold})
    return spec.model_copy(update={"gates": spec.gates.model_copy(update={"production": gate})})


def test_staging_passes_a_complete_version_and_names_what_is_missing(scene: Scene) -> None:
    spec = scene.own("staged").world.spec
    version = versions.register(spec, scene.old, scene.old_ref).version
    verdict = gates.staging(spec, version)
    assert verdict.passed
    assert list(results(verdict)) == ["has_artifacts", "has_description", "has_signature", "predicts"]
    MlflowClient().update_model_version(spec.name, version, description=" ")
    assert results(gates.staging(spec, version))["has_description"] is False
    bare = MlflowClient().create_model_version(spec.name, source=f"runs:/{scene.old.mlflow_run_id}/plots")
    verdict = gates.staging(spec, bare.version)
    assert not any(results(verdict).values())
    assert len(verdict.reasons) == 4


class Broken(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [float("nan")] * len(model_input)


def test_staging_refuses_predictions_that_are_not_finite(scene: Scene) -> None:
    spec = scene.own("broken").world.spec
    experiment = MlflowClient().get_experiment_by_name("scratch/training")
    with mlflow.start_run(experiment_id=experiment.experiment_id) as run:
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=Broken(),
            signature=mlflow.models.infer_signature(EXAMPLE, np.zeros(1)),
            input_example=EXAMPLE,
            pip_requirements=["mlflow"],
        )
    client = MlflowClient()
    client.create_registered_model(spec.name)
    made = client.create_model_version(
        spec.name, info.model_uri, run_id=run.info.run_id, model_id=info.model_id, description="always NaN"
    )
    assert [name for name, passed in results(gates.staging(spec, made.version)).items() if not passed] == ["predicts"]


def test_production_prefers_the_version_that_knows_the_drift(scene: Scene) -> None:
    own = scene.own("gated")
    spec, lake = with_threshold(own.world.spec, 0.6), own.world.lake
    old = versions.register(spec, scene.old, scene.old_ref).version
    new = versions.register(spec, scene.new, scene.new_ref).version
    first = gates.production(spec, lake, old)
    assert first.passed
    assert [check.name for check in first.checks] == ["adjusted_r2", "better_than_production"]
    promotion.promote(spec, lake, old, AT, "d1")

    verdict = gates.production(spec, lake, new)
    assert verdict.passed, verdict.reasons
    assert verdict.checks[1].value == scene.new.metrics["recent_rows"]
    assert verdict.checks[2].value == pytest.approx(scene.new.metrics["recent_adjusted_r2"])
    assert "drifted windows" in verdict.checks[3].detail
    promotion.promote(spec, lake, new, AT, "d2")
    assert gates.production(spec, lake, new).passed
    again = gates.production(spec, lake, old)
    assert results(again)["better_than_production"] is False
    assert "drifted windows" in again.checks[3].detail


def test_too_few_rows_of_drifted_windows_reject_a_version(scene: Scene) -> None:
    own = scene.own("few_rows")
    version = versions.register(own.world.spec, scene.new, scene.new_ref).version
    least = int(scene.new.metrics["recent_rows"]) + 1
    gate = own.world.spec.gates.production.model_copy(update={"min_recent_rows": least})
    spec = with_threshold(own.world.spec, 0.1)
    gates_section = spec.gates.model_copy(update={"production": gate.model_copy(update={"adjusted_r2": 0.1})})
    renamed = spec.model_copy(update={"gates": gates_section})
    renamed._folder = spec.folder
    verdict = gates.production(renamed, own.world.lake, version)
    assert results(verdict) == {"adjusted_r2": True, "recent_rows": False}


def test_production_holds_the_threshold_on_all_and_on_recent_rows(scene: Scene) -> None:
    own = scene.own("threshold")
    version = versions.register(own.world.spec, scene.new, scene.new_ref).version
    low, high = sorted(scene.new.metrics[name] for name in ("adjusted_r2", "recent_adjusted_r2"))
    between = gates.production(with_threshold(own.world.spec, (low + high) / 2), own.world.lake, version)
    found = results(between)
    assert sorted([found["adjusted_r2"], found["recent_adjusted_r2"]]) == [False, True]
    assert not between.passed


def test_rows_are_left_out_that_the_other_version_was_fitted_to(scene: Scene) -> None:
    """A version split with another seed was fitted to some of the candidate's test rows."""
    own = scene.own("other_seed")
    spec, lake = own.world.spec, own.world.lake
    old = versions.register(spec, scene.old, scene.old_ref).version
    new = versions.register(spec, scene.new, scene.new_ref).version
    MlflowClient().set_model_version_tag(spec.name, old, "split.seed", "1")
    promotion.promote(spec, lake, old, AT, "d1")
    detail = gates.production(spec, lake, new).checks[3].detail
    compared = int(detail.split("(")[1].split(" rows")[0].replace(",", ""))
    assert compared == pytest.approx(0.3 * scene.new.metrics["recent_rows"], rel=0.25)


def test_difference_is_the_one_of_the_metrics() -> None:
    rng = np.random.default_rng(1)
    actual = rng.normal(1e6, 2e5, 300)
    good, bad = actual + rng.normal(0, 1e4, 300), actual + rng.normal(0, 5e4, 300)
    observed, bound = compare.difference_interval(actual, good, bad, (3, 7), 0.95)
    assert observed == pytest.approx(metrics.adjusted_r2(actual, good, 3) - metrics.adjusted_r2(actual, bad, 7))
    assert 0 < bound < observed
    assert compare.difference_interval(actual, good, bad, (3, 7), 0.95) == (observed, bound)


def test_coverage_of_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound lies below the true difference in about 95 % of repetitions, and not always."""
    monkeypatch.setattr(gates, "RESAMPLES", 400)
    rng = np.random.default_rng(7)
    noise, rows, repetitions = (0.40, 0.45), 250, 300
    truth = -(noise[0] ** 2 - noise[1] ** 2)  # the target has variance 1, no features are counted
    below = 0
    for _ in range(repetitions):
        actual, shared = rng.normal(size=(2, rows))
        own = rng.normal(size=(2, rows))
        predicted = [actual + size * (0.8 * shared + 0.6 * part) for size, part in zip(noise, own, strict=True)]
        below += compare.difference_interval(actual, predicted[0], predicted[1], (0, 0), 0.95)[1] < truth
    assert 0.91 <= below / repetitions <= 0.985
