"""The alias that others read, held against the history: what was done by hand is noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from mlflow import MlflowClient

from include.core.errors import TamperedError
from include.core.settings import Settings
from include.lakehouse import alias_history
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.registry import alias, promotion, registration, steps, versions
from include.scoring import steps as scoring
from tests.unit.registry.cases import another, answered, ask, outcomes, registered
from tests.unit.training.stage import DAYS, Scene, register

pytestmark = pytest.mark.slow


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
    assert ask(run.spec, run.lake, "production", "1").compared_with is None
    steps.roll_back(another(run, "back"), "1", "a test")
    chosen = scoring.choose_version(run)
    assert chosen is not None
    assert chosen.version == aliased(run) == "1"


def test_a_number_is_not_given_again_after_the_model_was_deleted_in_mlflow(scene: Scene) -> None:
    """MLflow counts from 1 again: what was in production, served and decided is not that of a new version."""
    run = promoted(scene, "numbers", "1")
    MlflowClient().delete_registered_model(run.spec.name)
    made = [register(run.spec, run.lake, scene.tuned, scene.old_ref) for _ in range(2)]
    assert [version.version for version in made] == ["3", "3"]
    assert promotion.in_production(run.spec, run.lake) is None
    with pytest.raises(TamperedError, match="version 1, which is in production, was deleted in MLflow"):
        scoring.choose_version(run)
    assert aliased(run) is None
    assert steps.check_staging(another(run, "anew"), "3").passed
    assert steps.check_production(another(run, "anew"), "3").compared_with is None
    restored = register(run.spec, run.lake, scene.new, scene.new_ref)  # a version of before has a new number, too
    assert registration.of(run.spec, run.lake, restored).files == scene.new.files


def test_what_is_registered_by_hand_under_the_number_in_production_is_not_put_there(scene: Scene) -> None:
    run = promoted(scene, "impostor", "1")
    client = MlflowClient()
    client.delete_registered_model(run.spec.name)
    client.create_registered_model(run.spec.name)
    client.create_model_version(run.spec.name, scene.new.model_uri)
    for _ in range(2):
        with pytest.raises(TamperedError, match=r"tag \w+ of version 1 is not what was registered"):
            scoring.choose_version(run)
        assert aliased(run) is None
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "refused", ["not_as_registered"])]
    client.set_registered_model_alias(run.spec.name, "production", "1")  # as the history says: it stands there no less
    with pytest.raises(TamperedError, match=r"tag \w+ of version 1 is not what was registered"):
        scoring.choose_version(another(run, "aliased"))
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "refused", ["not_as_registered"])] * 2


def test_a_promotion_that_stopped_half_way_is_completed_and_recorded(scene: Scene, monkeypatch) -> None:
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
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "completed", ["half_done"])]
    (period,) = [item for item in alias_history.periods(run.lake, run.spec.name) if item.version == "2"]
    assert (period.kind, period.actor) == (Kind.PROMOTION, "policy"), "by whom, though it was never recorded"


def test_a_roll_back_whose_process_ended_before_it_was_recorded_hides_no_hand_for_long(
    scene: Scene, monkeypatch
) -> None:
    run = promoted(scene, "unrecorded", "1", "2")

    def stops(*args: object, **more: object) -> None:
        raise ConnectionError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr("include.registry.steps.rolling_back.record_move", stops)
        with pytest.raises(ConnectionError):
            steps.roll_back(another(run, "back"), "1", "a test")
    steps.roll_back(another(run, "once more"), "1", "a test")
    monkeypatch.setattr(alias, "IN_FLIGHT", timedelta(0))
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    with pytest.raises(TamperedError, match="moved by hand from version 1 to 2, and is put back"):
        alias.require(another(run, "scoring"))


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
    assert ask(run.spec, run.lake, "production", "2").compared_with == "1"


def adopting(run: Run) -> Run:
    approval = run.spec.approval.model_copy(update={"alias_moved": "adopt"})
    spec = run.spec.model_copy(update={"approval": approval})
    spec._folder = run.spec.folder
    return replace(run, spec=spec)


def test_a_version_that_has_served_is_adopted_where_model_yaml_says_so(scene: Scene) -> None:
    run = adopting(promoted(scene, "adopted", "1", "2"))
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "1")
    for _ in range(2):
        chosen = scoring.choose_version(run)
        assert chosen is not None
        assert chosen.version == aliased(run) == "1"
    last = alias_history.current(run.lake, run.spec.name)
    assert last is not None
    assert (last.version, last.kind, last.actor) == ("1", "alias_check", "somebody in MLflow")
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "adopted", ["alias_moved"])]
    assert {number: versions.get(run.spec, number).stage for number in "12"} == {"1": "Production", "2": "Archived"}


def test_an_adoption_whose_process_ended_before_it_was_recorded_is_recorded_once(scene: Scene, monkeypatch) -> None:
    run = adopting(promoted(scene, "adopted_unrecorded", "1", "2"))
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "1")

    def ends(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(alias, "_record", ends)
        with pytest.raises(KeyboardInterrupt):
            alias.require(another(run, "ends"))
    assert outcomes(run, Kind.ALIAS_CHECK) == []
    for run_id in ("next", "and the one after"):
        alias.require(another(run, run_id))
    assert outcomes(run, Kind.ALIAS_CHECK) == [("alias production", "completed", ["half_done"])]


def test_a_version_that_passed_no_gate_is_not_adopted(scene: Scene) -> None:
    run = adopting(promoted(scene, "not_adopted", "1"))
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    with pytest.raises(TamperedError, match="moved by hand from version 1 to 2, and is put back"):
        scoring.choose_version(another(run, "first"))
    assert aliased(run) == "1"
    gated = another(run, "gates of 2")
    assert steps.check_staging(gated, "2").passed
    assert steps.check_production(gated, "2").passed
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    alias.require(another(run, "second"))
    assert aliased(run) == "2"
    assert [outcome for _, outcome, _ in outcomes(run, Kind.ALIAS_CHECK)] == ["put_back", "adopted"]


def is_put_back(run: Run) -> None:
    """The alias, moved to version 2 by hand, is."""
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    with pytest.raises(TamperedError, match="moved by hand from version 1 to 2, and is put back"):
        alias.require(run)


def test_a_version_that_no_person_approved_is_not_adopted_where_one_has_to(scene: Scene) -> None:
    run = adopting(promoted(scene, "unapproved", "1"))
    gated = another(run, "gates of 2")
    assert steps.check_staging(gated, "2").passed
    assert steps.check_production(gated, "2").passed
    asked = replace(another(run, "asked"), settings=Settings(environment="prod", lakehouse_uri="unused"))
    is_put_back(asked)
    assert aliased(run) == "1"
    steps.approve(gated, "2")  # by the policy of dev
    is_put_back(replace(asked, run_id="approved by policy"))
    in_prod = replace(asked, run_id="gates in prod")
    assert steps.check_production(in_prod, "2").passed
    steps.answer(in_prod, "2", answered("ada"))
    steps.approve(in_prod, "2")
    turned_down = replace(asked, run_id="turned down")
    assert steps.check_production(turned_down, "2").passed
    steps.answer(turned_down, "2", answered("grace", approves=False))
    is_put_back(replace(asked, run_id="after a no"))
    again = replace(asked, run_id="once more")
    assert steps.check_production(again, "2").passed
    steps.answer(again, "2", answered("grace"))
    steps.approve(again, "2")
    MlflowClient().set_registered_model_alias(run.spec.name, "production", "2")
    alias.require(replace(asked, run_id="approved"))
    assert aliased(run) == "2"


def test_an_alias_that_was_removed_by_hand_is_put_back_also_where_others_are_adopted(scene: Scene) -> None:
    run = adopting(promoted(scene, "removed", "1"))
    MlflowClient().delete_registered_model_alias(run.spec.name, "production")
    with pytest.raises(TamperedError, match="from version 1 to none, and is put back"):
        scoring.choose_version(run)
    assert aliased(run) == "1"
