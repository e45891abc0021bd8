from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from mlflow import MlflowClient

from include.core.errors import DataError
from include.lakehouse import alias_history
from include.registry import promotion, versions
from include.registry.versions import Version
from tests.unit.training.stage import Scene

AT = datetime(2025, 1, 5, tzinfo=UTC)


def two_versions(scene: Scene, name: str) -> tuple[Scene, Version, Version]:
    own = scene.own(name)
    first = versions.register(own.world.spec, scene.old, scene.old_ref)
    return own, first, versions.register(own.world.spec, scene.new, scene.new_ref)


def state(own: Scene) -> tuple[str | None, list[str], list[str]]:
    """The version the alias names, the versions tagged Production, and the versions of the history."""
    serving = versions.production(own.world.spec)
    tagged = [version.version for version in versions.in_stage(own.world.spec, "Production")]
    history = alias_history.tenures(own.world.lake, own.world.spec.name)
    return serving.version if serving else None, tagged, [tenure.version for tenure in history]


def test_promote_and_roll_back(scene: Scene) -> None:
    own, _, _ = two_versions(scene, "promoted")
    spec, lake = own.world.spec, own.world.lake
    versions.set_stage(spec, "1", "Staging")
    assert promotion.promote(spec, lake, "1", AT, "d1") == promotion.Transition("1", None, changed=True)
    assert versions.by_alias(spec, "staging") is None
    with pytest.raises(DataError, match="never been in production"):
        promotion.roll_back(spec, lake, "2", AT, "d2")
    assert promotion.promote(spec, lake, "2", AT + timedelta(days=1), "d2").former == "1"
    assert versions.get(spec, "1").stage == "Archived"
    assert promotion.roll_back(spec, lake, "1", AT + timedelta(days=2), "d3").former == "2"
    assert state(own) == ("1", ["1"], ["1", "2", "1"])
    assert versions.get(spec, "2").stage == "Archived"
    with pytest.raises(DataError, match="cannot be set"):
        versions.set_stage(spec, "1", "Archived")


def test_repetition_changes_nothing_and_undoes_nothing(scene: Scene) -> None:
    own, _, _ = two_versions(scene, "repeated")
    spec, lake = own.world.spec, own.world.lake
    promotion.promote(spec, lake, "1", AT, "d1")
    assert not promotion.promote(spec, lake, "1", AT + timedelta(hours=1), "d1").changed
    promotion.promote(spec, lake, "2", AT + timedelta(days=1), "d2")
    promotion.roll_back(spec, lake, "1", AT + timedelta(days=2), "d3")
    cleared = promotion.promote(spec, lake, "2", AT + timedelta(days=3), "d2")
    assert cleared == promotion.Transition("1", None, changed=False)
    assert state(own) == ("1", ["1"], ["1", "2", "1"])


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
        own, _, _ = two_versions(scene, f"crash_{number}")
        spec, lake = own.world.spec, own.world.lake
        promotion.promote(spec, lake, "1", AT, "d1")
        versions.set_stage(spec, "2", "Staging")
        real = getattr(owner, name)

        def crash(*args: object, _real=real, _took_effect=took_effect, **kwargs: object) -> None:
            if _took_effect:
                _real(*args, **kwargs)
            raise ConnectionError("the process ends here")

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, crash)
            with pytest.raises(ConnectionError):
                promotion.promote(spec, lake, "2", AT + timedelta(days=1), "d2")
        assert state(own)[0] in ("1", "2")
        promotion.promote(spec, lake, "2", AT + timedelta(days=1), "d2")
        assert state(own) == ("2", ["2"], ["1", "2"])
        assert versions.get(spec, "1").stage == "Archived"


def test_a_moment_before_the_running_promotion_moves_nothing(scene: Scene) -> None:
    own, _, _ = two_versions(scene, "too_early")
    promotion.promote(own.world.spec, own.world.lake, "1", AT, "d1")
    with pytest.raises(DataError, match="same clock"):
        promotion.promote(own.world.spec, own.world.lake, "2", AT - timedelta(days=1), "d2")
    assert state(own) == ("1", ["1"], ["1"])
