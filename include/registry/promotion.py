"""Putting a version into production, and going back to an earlier one.

The alias ``production`` moves in one call to the registry. What comes before only checks, what comes
after only describes, so a crash at any point leaves exactly one version in production, and a retry
completes the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlflow import MlflowClient

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse import alias_history
from include.lakehouse.tables import Lakehouse
from include.registry import versions


@dataclass(frozen=True)
class Transition:
    """What a promotion or roll-back has done."""

    version: str
    """In production now."""
    former: str | None
    """In production before; None if none was, or nothing changed."""
    changed: bool


def promote(spec: ModelSpec, lake: Lakehouse, version: str | int, at: datetime, decision_id: str) -> Transition:
    """Make a version the one in production; the former one becomes Archived.

    Safe to repeat. A repetition of a promotion that has been superseded since changes nothing: a cleared task
    must not undo a later roll-back.

    Args:
        at: UTC, from the run; never before the running version's own promotion.
        decision_id: of the decision that allowed it.

    Raises:
        DataError: no such version, or ``at`` is too early.
    """
    return _move(spec, lake, versions.get(spec, version).version, at, decision_id)


def roll_back(spec: ModelSpec, lake: Lakehouse, version: str | int, at: datetime, decision_id: str) -> Transition:
    """Put a version that has been in production before into production again.

    Arguments and errors as `promote`.

    Raises:
        DataError: the version has never been in production.
    """
    target = versions.get(spec, version).version
    served = {tenure.version for tenure in alias_history.tenures(lake, spec.name)}
    if target not in served:
        raise DataError(
            f"version {target} has never been in production, only {', '.join(sorted(served)) or 'none'}",
            where=spec.name,
            fix="Choose one of them, or promote it through the gates",
        )
    return _move(spec, lake, target, at, decision_id)


def _move(spec: ModelSpec, lake: Lakehouse, version: str, at: datetime, decision_id: str) -> Transition:
    former = versions.production(spec)
    if former and _superseded(lake, spec.name, decision_id):
        return Transition(former.version, None, changed=False)
    alias_history.check(lake, spec.name, at)
    changed = former is None or former.version != version
    if changed:
        MlflowClient().set_registered_model_alias(spec.name, versions.PRODUCTION, version)
    _describe(spec, version)
    alias_history.begin(lake, spec.name, version, at, decision_id)
    return Transition(version, former.version if former and changed else None, changed)


def _superseded(lake: Lakehouse, model: str, decision_id: str) -> bool:
    return any(
        tenure.decision_id == decision_id and tenure.valid_to is not None
        for tenure in alias_history.tenures(lake, model)
    )


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
