"""The checks on features and predictions, of real versions: each passes, fails, and takes what it can be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from include.core import catalogue
from include.core.column import has_personal_name
from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.features import query, store
from include.lakehouse.run import Run
from include.registry import checks, evidence, promotion, versions
from include.registry.checks import CHECKS, CheckResult
from include.registry.evidence import Evidence
from tests.unit.registry.cases import ask, registered, with_gate
from tests.unit.training.stage import Scene

SPEC = catalogue.load("california_housing")


def asked(about: Evidence | Run, name: str, **params: Any) -> CheckResult:
    """The answer, with the defaults of what is not said."""
    about = evidence.of(about.spec, about.lake, "1") if isinstance(about, Run) else about
    check = CHECKS[name]
    return check.ask(about, {key: param.default for key, param in check.params.items()} | params)


def with_columns(spec: ModelSpec, **changes: dict[str, Any]) -> ModelSpec:
    columns = {name: column.model_copy(update=changes.get(name, {})) for name, column in spec.columns.items()}
    changed = spec.model_copy(update={"columns": columns})
    changed._folder = spec.folder
    return changed


def test_every_check_says_what_it_asks() -> None:
    for check in CHECKS.values():
        assert check.asks.endswith(("?", ".")), check.name
        assert "?" in check.asks, check.name


def test_a_version_without_an_owner(scene: Scene) -> None:
    run = registered(scene, "owned")
    assert asked(run, "has_owner").detail == "data-platform answers for it."
    MlflowClient().set_registered_model_tag(run.spec.name, "owner", " ")
    assert not asked(run, "has_owner").passed
    MlflowClient().set_model_version_tag(run.spec.name, "1", "owner", "pricing")
    assert asked(run, "has_owner").detail == "pricing answers for it."


def test_no_feature_is_made_of_personal_data(scene: Scene) -> None:
    run = registered(scene, "personal")
    about = replace(evidence.of(run.spec, run.lake, "1"), spec=SPEC)
    assert asked(about, "no_personal_features").passed
    tagged = replace(about, spec=with_columns(SPEC, median_income={"pii": True}))
    assert asked(tagged, "no_personal_features").passed is False, "tagged after it was trained"
    feeds = replace(about, spec=with_columns(SPEC, total_bedrooms={"pii": True}))
    found = asked(feeds, "no_personal_features")
    assert not found.passed, "rooms_per_bedroom is made of it"
    assert found.detail.startswith("total_bedrooms: personal data, by declaration or by name.")


def test_a_feature_that_is_named_like_personal_data_has_to_be_confirmed(scene: Scene) -> None:
    run = registered(scene, "suspect")
    about = replace(evidence.of(run.spec, run.lake, "1"), spec=SPEC)
    told = {**about.candidate.tags, "features": '["median_income", "days_since_birth_date"]'}
    named = replace(about, candidate=replace(about.candidate, tags=told))
    assert asked(named, "no_personal_features").value == 1
    assert asked(named, "no_personal_features", confirmed=("days_since_birth_date",)).passed


@pytest.mark.parametrize(
    ("column", "personal"),
    [("email", True), ("customer_last_name", True), ("Date_Of_Birth", True), ("name_of_street", False), ("rib", False)],
)
def test_names_of_personal_data(column: str, personal: bool) -> None:
    assert has_personal_name(column) is personal


def test_what_features_are_made_of() -> None:
    wanted = {"total_bedrooms", "median_income", "no_column"}
    assert query.reads(SPEC, wanted) == {"total_bedrooms", "median_income"}
    unread = catalogue.load("bike_demand")
    assert query.reads(unread, ["casual", "registered", "temp"]) == {"temp"}


def test_features_have_to_be_in_feasts_registry(scene: Scene) -> None:
    run = registered(scene, "resolvable")
    about = evidence.of(run.spec, run.lake, "1")
    assert asked(about, "features_resolvable").passed
    told = {**about.candidate.tags, "features": '["median_income", "gone"]'}
    lacking = asked(replace(about, candidate=replace(about.candidate, tags=told)), "features_resolvable")
    assert (lacking.passed, lacking.value) == (False, 1)
    assert lacking.detail == "california_housing_v1 has no gone: run build_features, or train anew."


def test_a_store_that_does_not_answer_is_a_no(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = registered(scene, "no_store")

    def unreachable() -> None:
        raise ConnectionError("Feast's registry does not answer")

    monkeypatch.setattr(store, "open_store", unreachable)
    for name in ("features_resolvable", "training_serving_skew"):
        _, check = ask(with_gate(run.spec, "staging", name), run.lake, "staging", "1").checks
        assert not check.passed
        assert check.detail == "It could not be checked: Feast's registry does not answer"


def test_a_training_set_that_is_not_what_the_store_says(scene: Scene) -> None:
    run = registered(scene, "skewed")
    about = evidence.of(run.spec, run.lake, "2")
    right = asked(about, "training_serving_skew", online=False)
    assert (right.passed, right.value) == (True, 0)
    rows = about.own_rows.copy()
    rows.loc[rows.index % 2 == 0, "median_income"] *= 1.001
    about.__dict__["own_rows"] = rows
    wrong = asked(about, "training_serving_skew", online=False)
    assert not wrong.passed
    assert wrong.detail.endswith("may: median_income offline.")
    assert asked(about, "training_serving_skew", online=False, most=0.1).passed


def test_what_is_served_online_of_the_same_time_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = registered(scene, "skewed_online")
    about = evidence.of(run.spec, run.lake, "1")
    by_key = about.own_rows.set_index("listing_id")

    def served(_: object, service: str, entities: list[dict[str, Any]], factor: float, days: int) -> dict[str, Any]:
        rows = by_key.loc[[entity["listing_id"] for entity in entities]]
        at = [int(time.timestamp()) + 86400 * days for time in rows["event_timestamp"]]
        values = {name: (rows[name] * factor).tolist() for name in about.candidate.features}
        return values | {f"{name}__ts": at for name in about.candidate.features}

    for factor, days, passed in ((1.0, 0, True), (1.5, 0, False), (1.5, 1, True)):
        monkeypatch.setattr(store, "read_online", lambda *args, f=factor, d=days: served(*args, f, d))
        assert asked(about, "training_serving_skew").passed is passed


def test_a_version_has_to_be_better_than_a_line_on_the_first_deployment(scene: Scene) -> None:
    run = registered(scene, "linear_floor")
    about = evidence.of(run.spec, run.lake, "1")
    found = asked(about, "better_than_linear")
    assert found.passed
    assert found.detail.startswith("On all test rows (")
    line = about.predictions_of_linear(about.test_rows)
    about.__dict__["_predict"] = lambda rows: line[: len(rows)]
    assert not asked(about, "better_than_linear").passed, "as good as a line is not better"
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    later = evidence.of(run.spec, run.lake, "2")
    later.__dict__["_predict"] = lambda rows: np.zeros(len(rows))
    assert asked(later, "better_than_linear").detail == "Version 1 is in production: it is held against that."
    assert not asked(later, "better_than_linear", when="always").passed


@pytest.mark.parametrize(
    ("values", "params", "said"),
    [
        ((1.0, 2.0), {}, None),
        ((1.0, 2.0), {"type": "float64", "low": 1, "high": 2}, None),
        ((1.0, 2.0), {"type": "int64"}, "its signature gives float64 instead of int64"),
        ((-1.0, 2.0), {"low": 0}, "are outside"),
        ((1.0, 2.0), {"high": 1.5}, "are outside"),
        ((1.0, np.nan), {}, "are null"),
        ((1.0, np.nan), {"nulls": True}, None),
        ((1.0, np.inf), {"nulls": True}, "are infinite"),
    ],
)
def test_predictions_are_what_consumers_expect(
    scene: Scene, values: tuple[float, ...], params: dict[str, Any], said: str | None
) -> None:
    run = registered(scene, "expected")
    about = evidence.of(run.spec, run.lake, "1")
    about.__dict__["_predict"] = lambda rows: np.resize(values, len(rows))
    found = asked(about, "prediction_schema", **params)
    assert found.passed is (said is None)
    assert (said or "all are right") in found.detail


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"check": "better_than_linear", "when": "never"}, "'never' is none of first_deployment, always"),
        ({"check": "prediction_schema", "type": "text"}, "production.0.type: 'text' is none of any, float64"),
        ({"check": "prediction_schema", "low": "none"}, "'none' is no float"),
        ({"check": "training_serving_skew", "rows": 0}, "0 is below 1"),
        ({"check": "training_serving_skew", "most": 2}, "2 is above 1"),
        ({"check": "training_serving_skew", "online": 1}, "1 is no bool"),
        ({"check": "no_personal_features", "confirmed": "email"}, "'email' is no list of names"),
        ({"check": "has_owner", "name": "me"}, "has_owner has no parameter 'name'. It has none"),
    ],
)
def test_what_a_check_cannot_be_told(item: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checks.problems(with_gate(SPEC, "production", item), query.feature_schema(SPEC))
    assert said in str(caught.value)


def test_the_owner_is_that_of_the_registered_model(scene: Scene) -> None:
    assert versions.owner(registered(scene, "owner_of").spec) == "data-platform"
