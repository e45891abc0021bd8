from __future__ import annotations

import pytest
from mlflow import MlflowClient

from include.core.errors import DataError
from include.lakehouse import alias_history
from include.lakehouse.run import Run
from include.registry import promotion, versions
from tests.unit.registry.cases import registered
from tests.unit.training.stage import Scene

pytestmark = pytest.mark.slow


def put(run: Run, version: str, decision_id: str) -> promotion.Transition:
    return promotion.put_in_production(run.spec, run.lake, version, decision_id)


def state(run: Run) -> tuple[str | None, list[str], list[str]]:
    """The version the alias names, the versions tagged Production, and the versions of the history."""
    serving = versions.production(run.spec)
    tagged = [version.version for version in versions.in_stage(run.spec, "Production")]
    history = alias_history.periods(run.lake, run.spec.name)
    return serving.version if serving else None, tagged, [period.version for period in history]


def test_there_and_back(scene: Scene) -> None:
    run = registered(scene, "promoted")
    versions.set_stage(run.spec, "1", "Staging")
    assert put(run, "1", "d1") == promotion.Transition("1", None, changed=True)
    assert versions.by_alias(run.spec, "staging") is None
    assert put(run, "2", "d2").former == "1"
    assert versions.get(run.spec, "1").stage == "Archived"
    assert put(run, "1", "d3").former == "2"
    assert state(run) == ("1", ["1"], ["1", "2", "1"])
    assert versions.get(run.spec, "2").stage == "Archived"
    assert promotion.served(run.spec, run.lake) == ["1", "2"]
    with pytest.raises(DataError, match="cannot be set"):
        versions.set_stage(run.spec, "1", "Archived")
    known = [period.model_time for period in alias_history.periods(run.lake, run.spec.name)]
    assert known == [versions.get(run.spec, version).known_at for version in ("1", "2", "1")]


def test_repetition_changes_nothing_and_undoes_nothing(scene: Scene) -> None:
    run = registered(scene, "repeated")
    put(run, "1", "d1")
    assert put(run, "1", "d1") == promotion.Transition("1", None, changed=True)
    assert put(run, "1", "d9") == promotion.Transition("1", None, changed=False)
    assert [put(run, "2", "d2") for _ in range(2)] == [promotion.Transition("2", "1", changed=True)] * 2
    put(run, "1", "d3")
    cleared = put(run, "2", "d2")
    assert cleared == promotion.Transition("1", None, changed=False)
    assert state(run) == ("1", ["1"], ["1", "2", "1"])


def test_what_was_moved_by_hand_in_between_is_not_whose_place_is_taken(scene: Scene) -> None:
    run = registered(scene, "moved_between")
    put(run, "1", "d1")
    MlflowClient().set_registered_model_alias(run.spec.name, versions.PRODUCTION, "2")
    assert put(run, "2", "d2") == promotion.Transition("2", "1", changed=True)
    assert state(run) == ("2", ["2"], ["1", "2"])


def test_a_crash_at_any_call_leaves_one_version_and_a_retry_completes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that writes fails in turn, before and after it took effect."""
    calls: list[tuple[object, str]] = [
        (MlflowClient, "set_registered_model_alias"),
        (MlflowClient, "set_model_version_tag"),
    ]
    calls += [(MlflowClient, "delete_registered_model_alias"), (alias_history, "begin")]
    for number, (owner, name) in enumerate([*calls, *calls]):
        took_effect = number >= len(calls)
        run = registered(scene, f"crash_{number}")
        put(run, "1", "d1")
        versions.set_stage(run.spec, "2", "Staging")
        real = getattr(owner, name)

        def crash(*args: object, _real=real, _took_effect=took_effect, **kwargs: object) -> None:
            if _took_effect:
                _real(*args, **kwargs)
            raise ConnectionError("the process ends here")

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, crash)
            with pytest.raises(ConnectionError):
                put(run, "2", "d2")
        assert state(run)[0] in ("1", "2")
        assert put(run, "2", "d2").changed
        assert state(run) == ("2", ["2"], ["1", "2"])
        assert versions.get(run.spec, "1").stage == "Archived"


def test_of_two_at_once_the_alias_names_the_one_that_the_history_has_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one begins and ends while the first one is about to move the alias."""
    run = registered(scene, "at_once")
    put(run, "1", "d0")
    real = MlflowClient.set_registered_model_alias

    def overtaken(*args: object) -> None:
        monkeypatch.setattr(MlflowClient, "set_registered_model_alias", real)
        put(run, "1", "d2")
        real(*args)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", overtaken)
    assert put(run, "2", "d1").changed
    assert state(run) == ("1", ["1"], ["1", "2", "1"])
    assert versions.get(run.spec, "2").stage == "Archived"
