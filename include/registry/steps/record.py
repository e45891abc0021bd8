"""How what is decided of a version is written: in the decisions, and where a person looks at it in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from pydantic import BaseModel

from include.core.errors import UsageError
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome
from include.lakehouse.run import Run
from include.registry import versions
from include.registry.registration import subject
from include.registry.versions import Version


def decide(
    run: Run,
    kind: Kind,
    version: Version,
    outcome: Outcome,
    reasons: Sequence[str],
    *,
    actor: str,
    at: datetime | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> str:
    """Record a decision on a version; its id.

    Args:
        at: when it was taken, by the run's time; by default when the version's data was known.
    """
    times = {"at": at or version.known_at, "about": version.known_at}
    return run.decide(
        kind, outcome, reasons, subject=subject(version), **times, actor=actor, inputs=inputs, follows=policy(run)
    )


def decided(run: Run, version: Version, kind: Kind) -> list[decisions.Decision]:
    """What was decided of a version, newest last."""
    found = decisions.history(run.lake, run.spec.name, kind, since=version.known_at, subject=subject(version))
    return sorted(found, key=lambda item: item.recorded_at)


def refuse(
    run: Run,
    version: Version,
    kind: Kind,
    reason: str,
    what: str,
    fix: str,
    *,
    actor: str = Actor.POLICY,
    comment: str = "",
) -> NoReturn:
    """Record that something was refused, and say it.

    Raises:
        UsageError: always.
    """
    decide(run, kind, version, Outcome.REFUSED, [reason], actor=actor, inputs={"refused": what, **said(comment)})
    raise UsageError(what, where=run.spec.name, fix=fix)


def note(
    run: Run,
    version: Version,
    title: str,
    text: str,
    tag: str,
    verdict: str,
    reasons: Sequence[str],
    decision_id: str,
) -> None:
    """What was decided, where a person looks at the version in MLflow."""
    tags = {tag: verdict, f"{tag}.reasons": ", ".join(reasons), f"{tag}.decision": decision_id}
    versions.note(run.spec, version.version, title, f"{text} (decision {decision_id})", tags)


def policy(run: Run) -> list[BaseModel]:
    """The parts of model.yaml that decide on versions."""
    return [run.spec.gates, run.spec.approval]


def said(comment: str) -> dict[str, str]:
    """What somebody had to say, as an input of a decision; nothing where nobody had."""
    return {"comment": comment} if comment else {}
