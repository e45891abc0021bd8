from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.features import query
from include.lakehouse.schemas import DRIFTED, TRAINING_SETS
from include.registry import checks, promotion, versions
from include.registry.checks import Check, CheckResult, Param
from include.registry.evidence import Evidence
from include.registry.gates import Verdict
from include.registry.versions import Predictor
from include.training import card, tracking, training_set
from include.training.algorithms import Conditions, Sample
from include.training.algorithms.linear import LINEAR
from include.training.tracking import RunRef
from tests.unit.registry.cases import ask, lenient, registered, with_gate, with_params
from tests.unit.training.stage import Scene, register

EXAMPLE = pd.DataFrame({"a": [1.0, 2.0]})
SPEC = catalogue.load("california_housing")
FEATURES = query.feature_schema(SPEC)
PRODUCTION = [item.check for item in SPEC.gates.production]


def results(verdict: Verdict) -> dict[str, bool]:
    return {check.name: check.passed for check in verdict.checks}


def detail(verdict: Verdict, name: str) -> str:
    return next(check.detail for check in verdict.checks if check.name == name)


def test_staging_passes_a_complete_version_and_names_what_is_missing(scene: Scene) -> None:
    spec, lake = scene.own("staged").world.spec, scene.world.lake
    version = register(spec, lake, scene.old, scene.old_ref).version
    verdict = ask(spec, lake, "staging", version)
    assert verdict.passed
    assert list(results(verdict)) == ["as_registered", *(item.check for item in spec.gates.staging)]
    MlflowClient().update_model_version(spec.name, version, description=" ")
    versions.note(spec, version, "Staging gate", "what a gate says is no description", {})
    assert results(ask(spec, lake, "staging", version))["has_description"] is False
    bare = MlflowClient().create_model_version(spec.name, source=f"runs:/{scene.old.mlflow_run_id}/plots")
    verdict = ask(spec, lake, "staging", bare.version)
    assert [(check.name, check.passed) for check in verdict.checks] == [("as_registered", False)]
    assert detail(verdict, "as_registered") == (
        f"staged: what the files of version {bare.version} have to be is not recorded: it was registered by hand. Only "
        "staged.train_model registers what can be loaded: run request_training"
    )


def test_staging_refuses_predictions_that_are_not_finite(scene: Scene) -> None:
    own, ref = scene.own("scratch").world, scene.old_ref
    search = own.spec.training.search.model_copy(update={"space": {}})
    linear = own.spec.training.model_copy(update={"algorithm": "linear", "baseline": {}, "search": search})
    spec = own.spec.model_copy(update={"training": linear})
    fitted = LINEAR.fit(Sample(EXAMPLE, np.arange(2.0), np.ones(2)), {}, Conditions(spec.task, 1, 1))
    fitted.model[-1].coef_ *= np.nan
    with tracking.started(spec, "baseline", ref, "always NaN", "test") as run:
        model_id, files = tracking.log_model(
            spec, own.lake, ref, run, fitted, EXAMPLE, candidate="tuned", measured={}, card=full_card(scene)
        )
    made = register(spec, own.lake, RunRef(run.info.run_id, "baseline", model_id, {}, files), ref)
    verdict = ask(spec, own.lake, "staging", made.version)
    assert [check.name for check in verdict.failed] == ["predicts"]
    assert detail(verdict, "predicts").endswith("not all finite or not one per row.")


def full_card(scene: Scene) -> str:
    folder = mlflow.artifacts.download_artifacts(artifact_uri=scene.old.model_uri)
    return Path(folder, card.FILE).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (None, "It has no model_card.html: train it anew."),
        ("", f"Its model_card.html says nothing of: {', '.join(card.SECTIONS)}."),
        (
            "<h3>Purpose</h3><p>Prices</p><h3>Data</h3><p> </p>",
            f"Its model_card.html says nothing of: {', '.join(card.SECTIONS[1:])}.",
        ),
        ("full", "Its model_card.html has all 9 parts."),
    ],
)
def test_a_model_card_has_to_say_something_of_each_part(scene: Scene, page: str | None, said: str) -> None:
    own = scene.own("with_card").world
    candidate = register(own.spec, own.lake, scene.old, scene.old_ref)
    evidence = Evidence(own.spec, own.lake, candidate, None)
    file = evidence.folder / card.FILE
    assert file.read_text() == full_card(scene)
    if page is None:
        file.unlink()
    elif page != "full":
        file.write_text(page)
    found = checks.CHECKS["has_model_card"].ask(evidence, {})
    assert (found.passed, found.detail) == (page == "full", said)


def test_staging_can_ask_for_more(scene: Scene) -> None:
    own = scene.own("asked_for_more").world
    spec, lake = own.spec, own.lake
    version = register(spec, lake, scene.old, scene.old_ref).version
    asked = [
        {"check": "has_tags", "names": ["training_set", "approved_by_legal"]},
        "has_environment",
        {"check": "predicts_within", "milliseconds": 60_000, "rows": 5000},
        {"check": "predicts_within", "milliseconds": 0},
        {"check": "size_within", "megabytes": 50},
        {"check": "size_within", "megabytes": 0.001},
    ]
    verdict = ask(with_gate(spec, "staging", *asked), lake, "staging", version)
    assert [check.passed for check in verdict.checks] == [True, False, True, True, False, True, False], verdict.checks
    said = [check.detail for check in verdict.checks]
    assert said[1] == "It has no tag approved_by_legal: set it in MLflow."
    assert said[2].startswith("Its requirements.txt names the versions of ")
    assert said[3].startswith("5,000 rows take ")
    assert said[3].endswith(" ms, no more than 60000.")
    assert said[6].endswith(" MB, more than 0.001.")
    MlflowClient().set_model_version_tag(spec.name, version, "approved_by_legal", "yes")
    assert ask(with_gate(spec, "staging", asked[0]), lake, "staging", version).passed


def test_a_version_has_to_be_better_than_one_number_for_all(scene: Scene) -> None:
    run = registered(scene, "naive")
    spec = with_gate(run.spec, "production", "better_than_naive")
    _, check = ask(spec, run.lake, "production", "1").checks
    assert check.passed
    assert check.detail.startswith("On all test rows (")
    evidence = Evidence(spec, run.lake, versions.get(spec, "1"), None)
    fitted = evidence._training_set[lambda rows: ~versions.held_out(spec, evidence.candidate, rows)]
    assert evidence.naive == pytest.approx(fitted[spec.target].mean())
    evidence.__dict__["_predict"] = lambda rows: np.resize([evidence.naive * 0.9, evidence.naive * 1.1], len(rows))
    assert not checks.CHECKS["better_than_naive"].ask(evidence, {"confidence": 0.95}).passed


def test_slices_of_real_versions(scene: Scene) -> None:
    run = registered(scene, "sliced")
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    columns = {"columns": ["median_income", "ocean_proximity_inland"], "at_least": 50}
    asked = [
        {"check": "no_slice_below_threshold", "threshold": -1.0, **columns},
        {"check": "no_slice_below_threshold", "threshold": 0.95, **columns},
        {"check": "no_slice_worse_than_production", "margin": 0.01, **columns},
        {"check": "error_ratio_within", "column": "median_income", "most": 20, "at_least": 50},
    ]
    verdict = ask(with_gate(run.spec, "production", *asked), run.lake, "production", "2")
    assert [check.passed for check in verdict.checks] == [True, True, False, True, True], verdict.checks
    assert "In none of 6 slices its adjusted R2 is surely below -1. Worst: " in verdict.checks[1].detail
    assert "In none of " in verdict.checks[3].detail


def test_a_version_that_takes_more_memory_than_it_may_fails(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = registered(scene, "roomy")
    lake, version = run.lake, "1"
    asked = with_gate(run.spec, "staging", {"check": "memory_within", "megabytes": 300, "rows": 2000})
    (_, check) = ask(asked, lake, "staging", version).checks
    assert check.passed, check.detail
    predictor = versions.predictor

    def greedy(*about: object) -> Predictor:
        predict = predictor(*about)

        def predicted(rows: pd.DataFrame) -> Floats:
            kept = np.ones(64_000_000)  # 512 MB, which are gone again when it has predicted
            return predict(rows) * kept[0]

        return predicted

    monkeypatch.setattr(versions, "predictor", greedy)
    (_, check) = ask(asked, lake, "staging", version).checks
    assert not check.passed
    assert check.value == pytest.approx(512, rel=0.3)
    assert check.detail.startswith("To load it and to predict 2,000 rows takes ")


def test_production_prefers_the_version_that_knows_the_drift(scene: Scene) -> None:
    run = registered(scene, "gated")
    spec, lake = run.spec, run.lake
    first = ask(spec, lake, "production", "1")
    assert first.passed
    assert list(results(first)) == ["as_registered", *PRODUCTION]
    assert "drifted" in detail(first, "drifted_rows")
    promotion.put_in_production(spec, lake, "1", "d1")

    verdict = ask(spec, lake, "production", "2")
    assert verdict.passed, verdict.failed
    assert verdict.compared_with == "1"
    measured = {check.name: check.value for check in verdict.checks}
    assert measured["drifted_rows"] == scene.new.metrics["drifted_rows"]
    assert measured["drifted_above_threshold"] == pytest.approx(scene.new.metrics["drifted_adjusted_r2"])
    assert detail(verdict, "above_threshold").startswith("Adjusted R2 on all test rows (")
    assert "On the test rows of drifted windows" in detail(verdict, "better_than_production")
    promotion.put_in_production(spec, lake, "2", "d2")
    assert ask(spec, lake, "production", "2").passed
    again = ask(spec, lake, "production", "1")
    assert results(again)["better_than_production"] is False
    assert "On the test rows of drifted windows" in detail(again, "better_than_production")


def test_too_few_rows_of_drifted_windows_reject_a_version(scene: Scene) -> None:
    run = registered(scene, "few_rows")
    least = int(scene.new.metrics["drifted_rows"]) + 1
    spec = with_params(run.spec, drifted_rows={"at_least": least}, drifted_above_threshold={"threshold": -1.0})
    assert [check.name for check in ask(spec, run.lake, "production", "2").failed] == ["drifted_rows"]


def test_production_holds_the_threshold_on_all_and_on_drifted_rows(scene: Scene) -> None:
    run = registered(scene, "threshold")
    between = sum(scene.new.metrics[name] for name in ("adjusted_r2", "drifted_adjusted_r2")) / 2
    both = {"threshold": between}
    spec = with_params(run.spec, above_threshold=both, drifted_above_threshold=both)
    verdict = ask(spec, run.lake, "production", "2")
    found = results(verdict)
    assert sorted([found["above_threshold"], found["drifted_above_threshold"]]) == [False, True]
    assert not verdict.passed


def test_a_metric_that_falls_as_it_gets_better(scene: Scene) -> None:
    run = registered(scene, "falling")
    spec = run.spec.model_copy(update={"metric": "rmse"})
    measured = scene.old.metrics["rmse"]
    for threshold, passed, side in ((measured + 1, True, "below"), (measured - 1, False, "not below")):
        chosen = with_gate(spec, "production", {"check": "above_threshold", "threshold": threshold})
        chosen = chosen.model_copy(update={"metric": "rmse"})
        _, check = ask(chosen, run.lake, "production", "1").checks
        assert check.passed is passed
        assert check.detail.startswith("RMSE on all test rows (")
        assert f", {side} " in check.detail
    promotion.put_in_production(spec, run.lake, "1", "d1")
    better = with_gate(spec, "production", "better_than_production").model_copy(update={"metric": "rmse"})
    assert ask(better, run.lake, "production", "2").passed


def test_rows_are_left_out_that_the_other_version_was_fitted_to(scene: Scene) -> None:
    """A version split with another seed was fitted to some of the candidate's test rows."""
    split = scene.old_ref.split.replace(str(scene.world.spec.training.split.seed), "1")
    run = registered(replace(scene, old_ref=replace(scene.old_ref, split=split)), "other_seed")
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    said = detail(ask(run.spec, run.lake, "production", "2"), "better_than_production")
    compared = int(said.split("(")[1].split(" rows")[0].replace(",", ""))
    assert compared == pytest.approx(0.3 * scene.new.metrics["drifted_rows"], rel=0.25)


def test_a_feature_that_is_built_no_longer_is_not_stored_and_no_null(scene: Scene) -> None:
    """The table of training sets keeps its column, for the sets of before."""
    run, gone = registered(scene, "left_features_sql"), "median_income"
    old, new = (versions.get(run.spec, number) for number in ("1", "2"))
    names, table = [name for name in new.features if name != gone], TRAINING_SETS.of(run.spec)
    rows = training_set.read(run.spec, run.lake, scene.new_ref).drop(columns=gone)
    declared = TRAINING_SETS.of(run.spec, dict.fromkeys(names, pa.float64()))
    stored = pa.Table.from_pandas(rows.assign(training_set="without")[declared.schema.names], preserve_index=False)
    version = run.lake.replace(declared, stored, {"training_set": "without"})
    assert gone in run.lake.read(table, version=version).column_names
    told = {"training_set": "without", "training_set.version": str(version), "features": json.dumps(names)}
    new = replace(new, tags={**new.tags, **told})

    newer = Evidence(run.spec, run.lake, new, old)
    with pytest.raises(DataError, match=f"version 1 cannot be compared: {gone} not stored"):
        newer.shared_with_production(newer.test_rows)
    older = Evidence(run.spec, run.lake, old, new).test_rows.frame
    assert older[gone].notna().all()


def test_no_version_is_judged_by_what_was_true_before_a_concept_drift(scene: Scene) -> None:
    spec, lake = scene.world.spec, scene.world.lake
    rows = training_set.read(spec, lake, scene.new_ref)
    before = rows["partition_key"] == scene.old_ref.last_partition
    rows = rows.assign(superseded=before, training_set="since")
    rows.loc[rows["partition_key"] == scene.new_ref.last_partition, "drifted"] = False
    rows.loc[before, spec.target] *= 10
    declared = TRAINING_SETS.of(spec, dict.fromkeys(scene.new_ref.features, pa.float64()))
    stored = pa.Table.from_pandas(rows[declared.schema.names], preserve_index=False)
    version = lake.replace(declared, stored, {"training_set": "since"})
    since = replace(scene.new_ref, training_set="since", table_version=version)
    run = registered(replace(scene, new_ref=since), "another_world")
    evidence = Evidence(run.spec, run.lake, versions.get(run.spec, "2"), None)
    judged = evidence.test_rows
    assert judged.title == "the test rows since the concept drift"
    assert set(judged.frame["partition_key"]) == set(scene.new_ref.drifted)
    assert evidence.drifted_rows == judged, "whether a day of them showed the change or not"
    assert evidence.measure(judged) == pytest.approx(scene.new.metrics["drifted_adjusted_r2"])


def _share_of_drifted(evidence, params) -> CheckResult:
    share = float(evidence.test_rows.frame[DRIFTED].mean())
    return CheckResult("share_of_drifted", share <= params["most"], f"{share:.0%} are drifted.", share, params["most"])


def _raises(evidence, params) -> CheckResult:
    raise ZeroDivisionError("in somebody's check\nwith a second line")


share_of_drifted = Check("share_of_drifted", _share_of_drifted, {"most": Param(float, 0.9), "unit": Param(str, "rows")})
raises = Check("raises", _raises)
no_check = 3


def mine(name: str, **params: Any) -> dict[str, Any]:
    return {"check": f"{__name__}:{name}", **params}


def test_a_check_of_ones_own_is_named_by_its_path(scene: Scene) -> None:
    run = registered(scene, "own_check")
    spec = with_gate(run.spec, "production", mine("share_of_drifted"), mine("share_of_drifted", most=0))
    checks.problems(spec, FEATURES)
    verdict = ask(spec, run.lake, "production", "2")
    assert [check.passed for check in verdict.checks] == [True, True, False]
    assert verdict.checks[2].value == pytest.approx(scene.new.metrics["drifted_rows"] / scene.new_ref.test_rows)


def test_what_a_check_raises_is_its_failure(scene: Scene) -> None:
    run = registered(scene, "raising")
    spec = with_gate(run.spec, "production", mine("raises"), "above_threshold")
    with pytest.raises(ConfigError, match="needs threshold"):
        ask(spec, run.lake, "production", "1")
    spec = with_gate(run.spec, "production", mine("raises"), {"check": "above_threshold", "threshold": 0.1})
    verdict = ask(spec, run.lake, "production", "1")
    assert not verdict.passed
    assert verdict.checks[1].detail == "It could not be checked: in somebody's check"
    assert verdict.checks[2].passed


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("looks_nice", "gates.production.1.check: 'looks_nice' is not known"),
        ("no_package.checks:mine", "gates.production.1.check: no_package.checks:mine cannot be imported"),
        (mine("no_check"), "is a int, not a Check"),
        ("above_threshold", "gates.production.1: above_threshold needs threshold"),
        ({"check": "has_signature", "threshold": 1}, "gates.production.1: has_signature has no parameter 'threshold'"),
        ({"check": "above_threshold", "threshold": "high"}, "gates.production.1.threshold: 'high' is no float"),
        ({"check": "drifted_rows", "at_least": True}, "gates.production.1.at_least: True is no int"),
        ({"check": "drifted_rows", "at_least": 2.5}, "2.5 is no int"),
        ({"check": "drifted_rows", "at_least": -1}, "-1 is below 0"),
        ("has_tags", "gates.production.1: has_tags needs names"),
        ({"check": "has_tags", "names": "risk"}, "gates.production.1.names: 'risk' is no list of names"),
        ({"check": "has_tags", "names": ["risk", "risk"]}, "risk is named more than once"),
        (
            {"check": "no_slice_below_threshold", "columns": ["median_incme"], "threshold": 0},
            "gates.production.1.columns: 'median_incme' is no feature. There are degrees_to_los_angeles, ",
        ),
        ({"check": "error_ratio_within", "column": "nothing", "most": 2}, "1.column: 'nothing' is no feature"),
        ({"check": "better_than_production", "confidence": 95}, "gates.production.1.confidence: 95 is above 0.9999"),
        ({"check": "better_than_production", "minimum_gain": -1}, "gates.production.1.minimum_gain: -1 is below 0"),
        ({"check": "better_than_production", "minimum_gain": float("nan")}, "minimum_gain: nan is not finite"),
    ],
)
def test_a_gate_that_cannot_be_run_is_said_with_file_and_key(item: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checks.problems(with_gate(SPEC, "production", "has_signature", item), FEATURES)
    assert said in str(caught.value)
    assert "include/models/california_housing/model.yaml" in str(caught.value)


def test_the_gates_of_the_model_can_be_run() -> None:
    checks.problems(SPEC, FEATURES)
    checks.problems(lenient(SPEC), FEATURES)
    assert isinstance(SPEC, ModelSpec)
