"""The alias that others read, held against the history: what was done by hand is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mlflow import MlflowClient

from include.core.errors import TamperedError
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.registry import alias, gates, promotion, steps, versions
from include.scoring import steps as scoring
from tests.unit.registry.cases import another, outcomes, registered
from tests.unit.training.stage import DAYS, Scene


def promoted(scene: Scene, name: str, *numbers: str) -> Run:
    """A run that scores, after the versions went through the gates in that order."""
    first = registered(scene, name)
    for number in numbers:
        run = another(first, f"promotion of {number}")
        steps.check_staging(run, number)
        steps.check_production(run, number)
        steps.promote(run, number)
    return replace(first, asked_for=DAYS[-1])


def aliased(run: Run) -> str | None:
    return versions.number_of(run.spec, versions.PRODUCTION)


def test_an_alias_that_was_moved_by_hand_costs_one_red_run_and_is_put_back(scene: Scene) -> None:
    run = promoted(scene, "moved", "1")
    client = MlflowClient()
    for number, by_hand in enumerate(
        (
            lambda: client.set_registered_model_alias(run.spec.name, "production", "2"),
            lambda: client.delete_registered_model_alias(run.spec.name, "production"),
        )
    ):
        by_hand()
        scoring_run = another(run, f"run {number}")
        with pytest.raises(TamperedError, match=r"moved by hand from version 1 to (2|none), and is put back\. Clear"):
            scoring.choose_version(scoring_run)
        assert aliased(run) == "1"
        chosen = scoring.choose_version(scoring_run)
        assert chosen is not None
        assert chosen.version == "1"
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "put_back", ["alias_moved"])] * 2
    assert versions.get(run.spec, "1").stage == "Production"


def test_an_alias_that_no_promotion_set_is_refused_in_every_run(scene: Scene) -> None:
    run = promoted(scene, "unknown")
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    for number in "ab":
        with pytest.raises(TamperedError, match="names version 2, and no promotion is recorded: it was set by hand"):
            scoring.choose_version(another(run, number))
    assert promotion.in_production(run.spec, run.lake) is None
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "refused", ["alias_unknown"])] * 2
    MlflowClient().delete_registered_model_alias(run.spec.name, "production")
    assert scoring.choose_version(run) is None


def test_a_deleted_version_in_production_is_red_until_another_one_is_in_its_place(scene: Scene) -> None:
    run = promoted(scene, "deleted", "1", "2")
    MlflowClient().delete_model_version(run.spec.name, "2")
    for _ in range(2):
        with pytest.raises(TamperedError, match="version 2, which is in production, was deleted in MLflow"):
            scoring.choose_version(run)
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "refused", ["version_deleted"])]
    # A candidate is compared with none, so that there is a way on where no earlier version is left.
    assert gates.ask(run.spec, run.lake, "production", "1").compared_with is None
    steps.roll_back(another(run, "back"), "1")
    chosen = scoring.choose_version(run)
    assert chosen is not None
    assert chosen.version == aliased(run) == "1"


def test_a_promotion_that_stopped_half_way_is_completed_and_not_reported(scene: Scene, monkeypatch) -> None:
    run = promoted(scene, "half_way", "1")
    second = another(run, "promotion of 2")
    assert steps.check_staging(second, "2").passed
    assert steps.check_production(second, "2").passed

    def stops(*args: object) -> None:
        raise ConnectionError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "set_registered_model_alias", stops)
        with pytest.raises(ConnectionError):
            steps.promote(second, "2")
    assert aliased(run) == "1"
    alias.require(run)
    assert aliased(run) == "2"
    assert outcomes(run, Kind.ALIAS_CHECK) == []


def test_a_promotion_at_the_same_moment_is_no_hand_at_work(scene: Scene, monkeypatch) -> None:
    """It begins after the history was read, and ends before the alias is."""
    run = promoted(scene, "same_moment", "1")
    second = another(run, "promotion of 2")
    assert steps.check_staging(second, "2").passed
    assert steps.check_production(second, "2").passed
    real = versions.number_of

    def overtaken(*args):
        monkeypatch.setattr(versions, "number_of", real)
        steps.promote(second, "2")
        return real(*args)

    monkeypatch.setattr(versions, "number_of", overtaken)
    alias.require(run)
    assert aliased(run) == "2"
    assert outcomes(run, Kind.ALIAS_CHECK) == []


def test_who_moves_the_alias_by_hand_is_not_asked_which_version_a_candidate_is_compared_with(scene: Scene) -> None:
    run = promoted(scene, "compared", "1")
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    assert gates.ask(run.spec, run.lake, "production", "2").compared_with == "1"
