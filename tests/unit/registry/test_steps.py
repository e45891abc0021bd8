"""What is recorded is what happened: checked, done, recorded, in this order."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from include.core.errors import DataError, UsageError
from include.core.sections import Gate
from include.core.spec import ModelSpec
from include.evaluation.drift import kolmogorov_smirnov
from include.lakehouse import comparisons, decisions, reference_profiles, windows
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, METRICS, MODEL_VERSION, PREDICTION, RESIDUAL, SPLIT, WEIGHT
from include.registry import checks, evidence, gates, promotion, registration, steps, versions
from include.registry.checks import CheckResult
from tests.tables import put
from tests.unit.registry.cases import (
    THRESHOLD,
    another,
    answered,
    decided,
    outcomes,
    registered,
    with_gate,
    with_params,
)
from tests.unit.training.stage import Scene, register
from tests.unit.training.world import HISTORY

pytestmark = pytest.mark.slow


def through_the_gates(run: Run, version: str) -> None:
    assert steps.check_staging(run, version).passed
    assert steps.move_to_staging(run, version) == "Staging"
    assert steps.check_production(run, version).passed


def serving(run: Run) -> str | None:
    found = versions.production(run.spec)
    return found and found.version


def test_a_version_that_never_was_in_production_is_not_rolled_back_to_and_nothing_says_so(scene: Scene) -> None:
    run = registered(scene, "never_served")
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    with pytest.raises(DataError, match=r"version 2 has never been in production, only 1\. Choose"):
        steps.roll_back(run, "2", comment="trying")
    assert serving(run) == "1"
    (refused,) = decided(run)
    assert (refused.kind, refused.outcome, refused.reasons) == ("roll_back", "refused", ["never_in_production"])
    assert refused.inputs["comment"] == "trying"


def test_what_fails_is_not_recorded_as_done(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = registered(scene, "not_done")
    through_the_gates(run, "1")

    def unreachable(*args: object, **kwargs: object) -> None:
        raise ConnectionError("the registry does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "set_registered_model_alias", unreachable)
        with pytest.raises(ConnectionError):
            steps.promote(run, "1")
    assert serving(run) is None
    assert outcomes(run, Kind.PROMOTION) == []
    steps.promote(run, "1")
    assert outcomes(run, Kind.PROMOTION) == [("version 1", "promoted", ["passed_all_gates"])]


def test_the_profile_of_a_version_is_that_of_its_training_set_and_its_predictions(scene: Scene) -> None:
    """Rows of drifted windows weigh more in the training, and not here: else ordinary days would have drifted."""
    run = registered(scene, "profile")
    version = versions.get(run.spec, "2")
    for _ in range(2):
        steps.record_profile(run, version.version)
    found = reference_profiles.read(run.spec, run.lake, "2")
    assert found.quantiles.keys() == {*version.features, PREDICTION, RESIDUAL}
    assert list(found.rows) == list(version.features)
    rows = evidence.stored_rows(run.spec, run.lake, version)
    assert set(rows[WEIGHT]) == {1.0, run.spec.training.drifted_weight}
    for name in version.features:
        values = rows[name].fillna(-np.inf).to_numpy()
        assert kolmogorov_smirnov(np.nan_to_num(found.quantiles[name], nan=-np.inf, neginf=-np.inf), values)[0] < 1e-4
    test = rows[rows[SPLIT] == "test"]
    predicted = registration.predict(run.spec, run.lake, version, test)
    np.testing.assert_array_equal(found.quantiles[PREDICTION], np.sort(predicted))
    np.testing.assert_array_equal(found.quantiles[RESIDUAL], np.sort(test[run.spec.target] - predicted))


def test_versions_that_learned_from_a_withdrawn_partition_say_so(scene: Scene) -> None:
    run = replace(registered(scene, "learned"), asked_for=HISTORY)
    version = versions.get(run.spec, "1")
    with pytest.raises(UsageError, match="is accepted"):
        steps.name_versions(run)
    clean = CLEAN.of(run.spec)
    put(run.lake, clean, clean.schema.empty_table(), HISTORY)
    for _ in range(2):
        named = steps.name_versions(run)
    assert version.version in named
    assert versions.get(run.spec, "1").tags["withdrawn"] == HISTORY.key
    assert f"learned from rows of {HISTORY.key}, withdrawn since" in versions.get(run.spec, "1").description
    (found,) = decisions.history(run.lake, run.spec.name, Kind.TRAINING_WITHDRAWAL)
    assert found.inputs["versions_that_learned_from_it"] == ", ".join(named)


def moves_the_training_set(spec: ModelSpec, client: MlflowClient) -> None:
    client.set_model_version_tag(spec.name, "1", "training_set", "2025-01-99")


def takes_the_details(spec: ModelSpec, client: MlflowClient) -> None:
    client.delete_model_version_tag(spec.name, "1", "details")


def puts_no_number(spec: ModelSpec, client: MlflowClient) -> None:
    client.set_model_version_tag(spec.name, "1", "training_set.version", "x")


def fills_what_is_noted(spec: ModelSpec, client: MlflowClient) -> None:
    client.set_model_version_tag(spec.name, "1", "withdrawn", "2025-01-01, " * 400)


def deletes_it(spec: ModelSpec, client: MlflowClient) -> None:
    client.delete_model_version(spec.name, "1")


def registers_one_by_hand(spec: ModelSpec, client: MlflowClient) -> None:
    copied = client.get_model_version(spec.name, "1").tags
    client.create_model_version(spec.name, "s3://x/y", tags=copied | {"training_set.version": "x"})
    client.create_model_version(spec.name, "s3://x/y", tags=copied)


@pytest.mark.parametrize(
    "attack",
    [
        moves_the_training_set,
        takes_the_details,
        puts_no_number,
        fills_what_is_noted,
        deletes_it,
        registers_one_by_hand,
    ],
    ids=lambda attack: attack.__name__,
)
def test_nobody_in_mlflow_changes_which_versions_learned_from_a_withdrawn_partition(
    scene: Scene, attack: Callable[[ModelSpec, MlflowClient], None]
) -> None:
    run = replace(registered(scene, attack.__name__), asked_for=HISTORY)
    attack(run.spec, MlflowClient())
    clean = CLEAN.of(run.spec)
    put(run.lake, clean, clean.schema.empty_table(), HISTORY)
    assert steps.name_versions(run) == ["1", "2"]
    (found,) = decisions.history(run.lake, run.spec.name, Kind.TRAINING_WITHDRAWAL)
    assert found.inputs["versions_that_learned_from_it"] == "1, 2"
    there = versions.find(run.spec, "1")
    assert there is None or there.tags["withdrawn"] == HISTORY.key


def test_a_version_that_mlflow_takes_no_note_on_is_in_the_decisions_and_the_others_are_named(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = replace(registered(scene, "no_note"), asked_for=HISTORY), versions.note
    clean = CLEAN.of(run.spec)
    put(run.lake, clean, clean.schema.empty_table(), HISTORY)

    def full(spec: ModelSpec, version: str, *said: Any) -> None:
        if version == "1":
            raise MlflowException("the description is too long")
        real(spec, version, *said)

    monkeypatch.setattr(versions, "note", full)
    with pytest.raises(DataError, match="did not take the note on version 1: the description is too long"):
        steps.name_versions(run)
    (found,) = decisions.history(run.lake, run.spec.name, Kind.TRAINING_WITHDRAWAL)
    assert found.inputs["versions_that_learned_from_it"] == "1, 2"
    assert versions.get(run.spec, "2").tags["withdrawn"] == HISTORY.key


def test_after_a_roll_back_the_next_candidate_is_promoted_and_one_of_older_data_too(scene: Scene) -> None:
    first = registered(scene, "back_and_on")
    runs = {"1": first, "2": another(first, "second")}
    for version, run in runs.items():
        through_the_gates(run, version)
        steps.promote(run, version)
    compared, *slices = comparisons.read(first.spec, first.lake, "1")
    assert slices
    assert all(item.gain != compared.gain for item in slices)
    assert float(versions.get(first.spec, "2").tag("gain.promised")) == pytest.approx(compared.gain, rel=1e-5)
    back = another(first, "third")
    assert steps.roll_back(back, "1", comment="bad prices").former == "2"
    again = another(first, "fourth")  # it knew more than the one in production
    through_the_gates(again, "2")
    assert steps.promote(again, "2").former == "1"
    easy = with_gate(first.spec, "production", {"check": "above_threshold", "threshold": THRESHOLD})
    old = Run(easy, first.settings, first.lake, "fifth")  # it knew less
    assert steps.check_staging(old, "1").passed
    assert steps.check_production(old, "1").passed
    assert steps.promote(old, "1").former == "2"
    assert serving(first) == "1"
    assert [(item.kind, item.outcome) for item in decided(first) if item.kind in ("promotion", "roll_back")] == [
        ("promotion", "promoted"),
        ("promotion", "promoted"),
        ("roll_back", "rolled_back"),
        ("promotion", "promoted"),
        ("promotion", "promoted"),
    ]
    (rolled_back,) = decided(first, Kind.ROLL_BACK)
    assert rolled_back.inputs == {"comment": "bad prices", "former": "2"}
    assert rolled_back.decided_at == versions.get(first.spec, "2").known_at  # data went as far, nothing was scored


def test_repeating_what_was_superseded_leaves_its_row_as_it_is(scene: Scene) -> None:
    first = registered(scene, "superseded")
    runs = {"1": first, "2": another(first, "second")}
    for version, run in runs.items():
        through_the_gates(run, version)
        steps.promote(run, version)
    steps.roll_back(another(first, "third"), "1", comment="bad prices")
    steps.roll_back(another(first, "fourth"), "2", comment="they were right")
    before = decided(first)
    assert not steps.promote(runs["2"], "2").changed
    assert decided(first) == before
    assert serving(first) == "2"


def test_a_promotion_that_was_killed_and_superseded_is_recorded_by_its_retry(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered(scene, "killed_then_superseded")
    through_the_gates(first, "1")
    steps.promote(first, "1")
    second = another(first, "second")
    through_the_gates(second, "2")
    with monkeypatch.context() as patch:
        patch.setattr(
            "include.registry.steps.promotion.record_move", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            steps.promote(second, "2")
    steps.roll_back(another(first, "third"), "1", comment="bad prices")
    assert not steps.promote(second, "2").changed
    of_second = [item for item in decided(first, Kind.PROMOTION) if item.run_id == "second"]
    assert [(item.outcome, item.inputs["former"]) for item in of_second] == [("promoted", "1")]
    assert serving(first) == "1"


def test_a_job_promotes_in_prod_only_what_a_person_approved(scene: Scene) -> None:
    run = registered(scene, "prod", "prod")
    through_the_gates(run, "1")
    assert gates.asks_person(run.spec, run.settings)
    with pytest.raises(DataError, match=r"approve version 1 in prod, and none did\. Run prod\.promote_model"):
        steps.promote(run, "1")
    with pytest.raises(DataError, match="a person has to approve"):
        steps.approve(run, "1")
    assert serving(run) is None
    assert outcomes(run, Kind.PROMOTION) == [("version 1", "refused", ["not_approved"])]
    assert outcomes(run, Kind.APPROVAL) == [("version 1", "refused", ["not_approved"])]
    assert steps.answer(run, "1", answered("Ada", comment="looks right")).missing == 0
    assert steps.promote(run, "1").changed
    assert serving(run) == "1"
    (approval,) = decided(run, Kind.APPROVAL)
    assert (approval.outcome, approval.reasons, approval.actor) == ("approved", ["approved_by_person"], "Ada")
    (judged,) = decided(run, Kind.PRODUCTION_GATE)
    assert approval.inputs == {"comment": "looks right", "release": judged.inputs["release"]}
    (promoted,) = decided(run, Kind.PROMOTION)
    assert (promoted.outcome, promoted.actor) == ("promoted", "Ada")


def test_no_gate_no_promotion(scene: Scene) -> None:
    run = registered(scene, "ungated")
    with pytest.raises(DataError, match="version 1 has not been through the staging gate"):
        steps.promote(run, "1")
    steps.check_staging(run, "1")
    with pytest.raises(DataError, match="version 1 has not been through the production gate"):
        steps.promote(run, "1")
    steps.check_production(run, "1")
    strict = with_params(run.spec, above_threshold={"threshold": 0.999})
    failing = another(Run(strict, run.settings, run.lake, ""), "second")
    assert steps.check_staging(failing, "1").passed
    assert not steps.check_production(failing, "1").passed
    for refused in (failing, another(failing, "third")):  # its own decision, or the newest one
        with pytest.raises(DataError, match="version 1 has not passed the production gate"):
            steps.promote(refused, "1")
    assert {item[1] for item in outcomes(run, Kind.PROMOTION)} == {"refused"}
    assert outcomes(failing, Kind.PROMOTION)[-1][2] == ["gate_not_passed:production_gate"]
    assert steps.promote(run, "1").changed  # this run's own decision is that it passed


def test_a_repetition_is_no_second_promotion(scene: Scene) -> None:
    run = registered(scene, "repeated_step")
    through_the_gates(run, "1")
    steps.promote(run, "1")
    steps.promote(run, "1")
    assert outcomes(run, Kind.PROMOTION) == [("version 1", "promoted", ["passed_all_gates"])]
    second = another(run, "second")
    assert steps.check_staging(second, "1").passed
    assert steps.check_production(second, "1").passed
    assert steps.move_to_staging(second, "1") == "Production"
    assert not steps.promote(second, "1").changed
    assert outcomes(run, Kind.PROMOTION)[-1] == ("version 1", "no_action", ["already_in_production"])
    promotion.put_in_production(run.spec, run.lake, "2", "d2")
    before = decided(run)
    assert steps.promote(run, "1").version == "2"  # cleared after another took its place
    assert decided(run) == before


def test_a_rejected_version_says_why_where_a_person_looks(scene: Scene) -> None:
    run = registered(scene, "rejected")
    strict = Run(with_params(run.spec, above_threshold={"threshold": 0.999}), run.settings, run.lake, "first")
    steps.check_staging(strict, "1")
    assert not steps.check_production(strict, "1").passed
    assert steps.reject(strict, "1") == ["check:above_threshold"]
    found = versions.get(run.spec, "1")
    assert found.stage == "Rejected"
    (decision,) = decided(run, Kind.PRODUCTION_GATE)
    assert decision.reasons == ["check:above_threshold"]
    asked = ["as_registered", *(item.check for item in run.spec.gates.production)]
    assert [check["name"] for check in decision.inputs["checks"]] == asked
    assert found.tag("gate.staging") == "passed"
    assert found.tag("gate.production") == "failed"
    assert found.tag("gate.production.reasons") == "check:above_threshold"
    assert found.tag("gate.production.decision") == decision.decision_id
    lines = found.description.splitlines()
    assert any(line.startswith("- **Staging gate:** passed. ") for line in lines)
    assert any(line.startswith("- **Production gate:** failed. Adjusted R2 on all test rows") for line in lines)
    assert any(line.startswith("- **Rejected:** by gate: check:above_threshold (decision ") for line in lines)


def test_a_person_or_a_silence_rejects(scene: Scene) -> None:
    run = registered(scene, "turned_down", "prod")
    through_the_gates(run, "1")
    assert steps.answer(run, "1", answered("Ada", False, "not on a Friday")).outcome == "rejected"
    assert steps.reject(run, "1") == ["not_approved"]
    (rejection,) = decided(run, Kind.REJECTION)
    assert (rejection.actor, rejection.inputs) == ("Ada", {"comment": "not on a Friday"})
    silent = another(run, "second")
    steps.reject(silent, "1")
    assert decided(run, Kind.REJECTION)[-1].actor == "policy"
    assert versions.get(run.spec, "1").stage == "Rejected"
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    promotion.put_in_production(run.spec, run.lake, "2", "d2")
    steps.reject(another(run, "third"), "1")
    assert versions.get(run.spec, "1").stage == "Archived"  # it was served once


def test_drift_check_names_the_features_that_drifted(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    run = registered(scene, "drifted")
    assert steps.check_drift(run, "1") is None, "it knows the history alone"
    caplog.clear()  # what the first check logged is there or not, by the level that an earlier test left
    with caplog.at_level(logging.INFO):
        found = steps.check_drift(run, "2")
    assert "median_income" in found
    (table,) = [message for message in caplog.messages if "distributions drifted" in message]
    assert re.search(rf": {len(found)} of \d+ distributions drifted$", table, re.M)
    assert re.search(r"^median_income +0\.\d{4} +0\.1 +\S+ +0\.05  drifted$", table, re.M)
    nothing, drifted = decided(run, Kind.DRIFT_CHECK)
    assert (nothing.outcome, nothing.reasons) == ("nothing_to_compare", [])
    assert drifted.outcome == "drifted"
    assert "drifted:median_income" in drifted.reasons
    knew, told = (versions.get(run.spec, version) for version in "12")
    assert (knew.tags["drift_check"], knew.tags["drift_check.features"]) == ("nothing_to_compare", "none")
    assert told.tags["drift_check"] == "drifted"
    assert told.tags["drift_check.features"] == ", ".join(found)
    assert told.tags["drift_check.decision"] == drifted.decision_id
    assert "**Drift check:** since the history " in told.description


def test_a_rejection_on_the_way_to_production_names_the_newest_labelled_window(scene: Scene) -> None:
    run = registered(scene, "window_to_check")
    assert steps.find_window_to_check(run, "1") == [], "it was not asked for production"
    steps.check_production(run, "1")
    rows = pd.DataFrame(
        [
            ("rows", windows.ALL, 413.0),
            ("labelled_rows", windows.ALL, 413.0),
            ("adjusted_r2", windows.ALL, 0.7125),
            ("drifted", "median_income", 1.0),
            ("distance", "median_income", 0.4),
        ],
        columns=["metric", "slice", "value"],
    ).assign(**{MODEL_VERSION: "1", "threshold": 0.1})
    key = {"partition_key": "2025-02-01", "source": windows.SOURCE}
    put(run.lake, METRICS.of(run.spec), rows, key)
    put(run.lake, METRICS.of(run.spec), rows[:2], {**key, "partition_key": "2025-02-02"})
    try:
        assert steps.find_window_to_check(run, "1") == ["2025-02-01"], "the one after it has no metric"
        assert steps.find_window_to_check(another(run, "another"), "1") == []
        steps.check_drift(run, "1")
        tags = versions.get(run.spec, "1").tags
        assert tags["drift_check.window"] == "2025-02-01"
        assert tags["drift_check.window_features"] == "median_income"
        assert tags["drift_check.window_metric"] == "0.7125"
    finally:
        for day in ("2025-02-01", "2025-02-02"):
            put(run.lake, METRICS.of(run.spec), rows[:0], {**key, "partition_key": day})


def test_smoke_score(scene: Scene) -> None:
    run = registered(scene, "smoke")
    found = steps.smoke_score(run, "1")
    assert (found.version, found.rows, found.metric) == ("1", scene.old_ref.test_rows, "adjusted_r2")
    assert found.value == pytest.approx(scene.old.metrics["adjusted_r2"])
    assert (found.in_production, found.has_served) == (None, False)
    through_the_gates(run, "1")
    steps.promote(run, "1")
    assert steps.smoke_score(run, "1") == replace(found, in_production="1", has_served=True)
    with pytest.raises(DataError, match="no version 9"):
        steps.smoke_score(run, "9")


def test_a_gate_that_compared_with_a_former_version_says_nothing_of_this_one(scene: Scene) -> None:
    run = registered(scene, "compared_before")
    through_the_gates(run, "1")
    through_the_gates(run, "2")
    assert steps.promote(run, "2").changed
    for late in (run, another(run, "a job")):
        with pytest.raises(DataError, match="version 1 was compared with none, and 2 is in production by now"):
            steps.promote(late, "1")
    assert serving(run) == "2"


def test_the_version_in_production_is_not_rejected(scene: Scene) -> None:
    run = registered(scene, "rejected_in_production")
    through_the_gates(run, "1")
    steps.promote(run, "1")
    assert steps.reject(another(run, "later"), "1") == ["already_in_production", "no_answer"]
    assert serving(run) == "1"
    assert outcomes(run, Kind.REJECTION)[-1][1] == "no_action"
    assert "rejection" not in versions.get(run.spec, "1").tags


def test_a_promotion_is_refused_where_another_one_ends_while_its_files_are_read(scene: Scene, monkeypatch) -> None:
    run = registered(scene, "overtaken")
    other = another(run, "a job")
    through_the_gates(run, "1")
    through_the_gates(other, "2")
    real = registration.require

    def overtaken(*args) -> None:
        monkeypatch.setattr(registration, "require", real)
        assert steps.promote(other, "2").changed
        real(*args)

    monkeypatch.setattr(registration, "require", overtaken)
    with pytest.raises(DataError, match="version 1 was compared with none, and 2 is in production by now"):
        steps.promote(run, "1")
    assert serving(run) == "2"
    assert outcomes(run, Kind.PROMOTION)[-1] == ("version 1", "refused", ["gate_not_passed:production_gate"])


def test_a_gate_that_was_passed_by_another_model_yaml_says_nothing_of_this_one(scene: Scene) -> None:
    run = registered(scene, "raised")
    through_the_gates(run, "1")
    raised = with_params(run.spec, above_threshold={"threshold": 0.999})
    for late in (run, another(run, "a job")):
        with pytest.raises(DataError, match=r"passed the staging gate by a model\.yaml whose gates"):
            steps.promote(replace(late, spec=raised), "1")
    assert serving(run) is None
    assert steps.promote(another(run, "a job"), "1").changed


def numbered(run: Run, run_id: str, version: str) -> tuple[int, float]:
    """The number of a version at the gate, and its alpha."""
    found = steps.check_production(another(run, run_id), version).comparison
    assert found is not None
    return found.number, found.alpha


def on_all_rows(run: Run) -> list[comparisons.Comparison]:
    return [item for item in comparisons.read(run.spec, run.lake, "1") if item.slice == comparisons.ALL]


def with_three(scene: Scene, name: str) -> Run:
    """Version 1 in production; 2 and 3 are candidates."""
    run = registered(scene, name)
    register(run.spec, run.lake, scene.tuned, scene.old_ref)
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    return run


def test_candidates_are_counted_once_however_often_they_are_compared(scene: Scene) -> None:
    run = with_three(scene, "counted")
    first, second = (1, pytest.approx(0.025)), (2, pytest.approx(0.05 / 6))
    asked = [("a", "2"), ("a", "2"), ("b", "3"), ("c", "2"), ("b", "3"), ("d", "3")]
    assert [numbered(run, *each) for each in asked] == [first, first, second, first, second, second]
    rows = on_all_rows(run)
    assert [(item.candidate, item.number) for item in rows] == [("2", 1), ("2", 1), ("3", 2), ("3", 2)]
    told = [check for item in decided(run, Kind.PRODUCTION_GATE) for check in item.inputs["checks"]]
    recorded = [check["comparison"] for check in told if check["comparison"]]
    assert sorted((item["candidate"], item["number"]) for item in recorded) == [("2", 1), ("2", 1), ("3", 2), ("3", 2)]
    assert recorded[0]["detectable_gain"] == rows[0].detectable_gain


def test_a_promotion_begins_to_count_anew_and_a_roll_back_goes_on(scene: Scene) -> None:
    run = with_three(scene, "count_anew")
    assert [numbered(run, "a", version)[0] for version in ("3", "2")] == [1, 2]
    promotion.put_in_production(run.spec, run.lake, "2", "d2")
    assert numbered(run, "b", "3")[0] == 1
    promotion.put_in_production(run.spec, run.lake, "1", "d3")
    assert [numbered(run, "c", version)[0] for version in ("3", "2")] == [1, 2]


def test_of_two_gates_at_once_each_candidate_has_a_number_of_its_own(scene: Scene, monkeypatch) -> None:
    run, real = with_three(scene, "gates_at_once"), checks.ask

    def overtaken(spec: ModelSpec, gate: Gate, asked: str, about: evidence.Evidence) -> CheckResult:
        result = real(spec, gate, asked, about)
        if asked == "better_than_production":
            monkeypatch.setattr(checks, "ask", real)
            assert numbered(run, "other", "3")[0] == 1  # recorded between the look at the numbers and the commit
        return result

    monkeypatch.setattr(checks, "ask", overtaken)
    assert numbered(run, "first", "2") == (2, pytest.approx(0.05 / 6))
    assert [item.candidate for item in on_all_rows(run)] == ["3", "2"]
    (kept,) = [item for item in decided(run, Kind.PRODUCTION_GATE) if item.subject == "version 2"]
    compared = {check["name"]: check["comparison"] for check in kept.inputs["checks"]}
    assert compared["better_than_production"]["number"] == 2


def test_who_was_asked_has_chosen_what_a_roll_back_goes_to(scene: Scene) -> None:
    first = registered(scene, "chosen")
    for number in ("1", "2"):
        promotion.put_in_production(first.spec, first.lake, number, f"promotion of {number}")
    run = another(first, "roll-back")
    steps.record_choice(run, "1", "ada")
    with pytest.raises(UsageError, match="ada chose version 1, not version 2"):
        steps.roll_back(run, "2", "bad prices")
    steps.roll_back(run, "1", "bad prices")
    assert [item.actor for item in decided(run, Kind.ROLL_BACK)] == ["ada"]
