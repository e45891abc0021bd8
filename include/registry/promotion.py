"""Putting a version into production, whether it is new or was there before.

The commit that begins a period of the alias' history is what decides, also between two that promote at once. The alias
``production`` then follows it, in one call to the registry, and the descriptions follow the alias. So a crash at any
point leaves exactly one version in production, and a retry, or the next promotion, completes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient

from include.core.spec import ModelSpec
from include.lakehouse import alias_history
from include.lakehouse.alias_history import AliasPeriod
from include.lakehouse.decisions import Actor, Kind
from include.lakehouse.tables import Lakehouse
from include.registry import registration, versions
from include.registry.versions import Version


@dataclass(frozen=True)
class Transition:
    """What a promotion or roll-back has done."""

    version: str
    """In production now."""
    former: str | None
    """Whose place it took; None if there was none, or nothing changed."""
    changed: bool
    """Whether it is in production by the decision that asked: also where an earlier attempt had put it there."""
    release_changes: Sequence[str] = ()
    """The parts of its release that are others than at its approval, and may be (`release`)."""


def in_production(spec: ModelSpec, lake: Lakehouse) -> Version | None:
    """The version whose period runs; None before the first promotion, and where it was deleted (`alias.require`).

    Resolve it once per run. Whoever moves the alias by hand does not change the answer.

    Raises:
        TamperedError: its tags are not those that were registered.
    """
    found = _found(spec, alias_history.current(lake, spec.name))
    if found:
        registration.of(spec, lake, found)
    return found


def put_in_production(
    spec: ModelSpec,
    lake: Lakehouse,
    version: str,
    decision_id: str,
    require: Callable[[str | None], None] = lambda former: None,
    *,
    kind: Kind = Kind.PROMOTION,
    actor: str = Actor.POLICY,
) -> Transition:
    """Make a version the one in production; the former one becomes Archived.

    Safe to repeat. A repetition of a promotion that has been superseded since changes nothing: a cleared task
    must not undo a later roll-back.

    Args:
        decision_id: of the decision that this is.
        require: raises where the version that it takes the place of, if any, is not the one to be replaced. It is asked
            in the commit: another promotion may have ended since the caller looked.
        kind: of that decision.
        actor: who made it.

    Raises:
        DataError: no such version.
        TamperedError: it is not what was registered.
    """
    found = versions.get(spec, version)
    if _superseded(lake, spec.name, decision_id):
        return Transition(follow_history(spec, lake), None, changed=False)
    registration.require(spec, lake, found)
    alias_history.begin(
        lake,
        spec,
        found.version,
        model_time=found.known_at,
        decision_id=decision_id,
        kind=kind,
        actor=actor,
        require=lambda running: require(_number(_found(spec, running))),
    )
    follow_history(spec, lake)
    periods = alias_history.periods(lake, spec.name)
    place = next((number for number, period in enumerate(periods) if period.decision_id == decision_id), None)
    former = periods[place - 1].version if place else None
    return Transition(found.version, former, changed=place is not None)


def served(spec: ModelSpec, lake: Lakehouse) -> list[str]:
    """The versions that are or have been in production, sorted."""
    return sorted({period.version for period in alias_history.periods(lake, spec.name)}, key=int)


def follow_history(spec: ModelSpec, lake: Lakehouse) -> str:
    """Let the alias name the version whose period runs, also if that changes meanwhile; that version.

    Raises:
        TamperedError: somebody registered another one by hand under its number.
    """
    settled: str | None = None
    while (running := _running(spec, lake)) != settled:
        serving = versions.production(spec)
        if serving is None or serving.version != running:
            registration.of(spec, lake, versions.get(spec, running))
            MlflowClient().set_registered_model_alias(spec.name, versions.PRODUCTION, running)
        _describe(spec, running)
        settled = running
    return running


def _found(spec: ModelSpec, period: AliasPeriod | None) -> Version | None:
    return versions.find(spec, period.version) if period else None


def _number(version: Version | None) -> str | None:
    return version.version if version else None


def _superseded(lake: Lakehouse, model: str, decision_id: str) -> bool:
    return any(
        period.decision_id == decision_id and period.valid_to is not None
        for period in alias_history.periods(lake, model)
    )


def _running(spec: ModelSpec, lake: Lakehouse) -> str:
    period = alias_history.current(lake, spec.name)
    assert period is not None, "a period has begun before, and one ends only where the next begins"
    return period.version


def _describe(spec: ModelSpec, version: str) -> None:
    """Make tags and the alias ``staging`` agree with the alias ``production``, whatever was half done."""
    client = MlflowClient()
    for other in versions.in_stage(spec, "Production"):
        if other.version != version:
            client.set_model_version_tag(spec.name, other.version, "stage", "Archived")
    client.set_model_version_tag(spec.name, version, "stage", "Production")
    staged = versions.by_alias(spec, versions.STAGING)
    if staged and staged.version == version:
        client.delete_registered_model_alias(spec.name, versions.STAGING)
