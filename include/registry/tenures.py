"""The versions that were in production, as a person asks for them: from when to when, by whom, how good."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from include.core.spec import ModelSpec
from include.core.text import aligned, shown
from include.evaluation import metrics
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Decision
from include.lakehouse.tables import Lakehouse
from include.registry import registration


@dataclass(frozen=True)
class Tenure:
    """A period in which a version was in production."""

    version: str
    since: datetime
    """By the clock, UTC."""
    until: datetime | None
    """None while it runs."""
    by: str
    """Who began it: a person by name, or the policy."""
    kind: str
    """Of the decision that did: a promotion, a roll-back, an alias that was adopted."""
    comment: str
    decision_id: str
    value: float | None
    """The model's metric on its test rows, when it was registered."""


def read(spec: ModelSpec, lake: Lakehouse) -> list[Tenure]:
    """All of them, oldest first. A promotion that did not come to record itself is in it, too."""
    made = {item.decision_id: item for item in decisions.history(lake, spec.name)}
    known = registration.all_of(spec, lake)
    found = []
    for period in alias_history.periods(lake, spec.name):
        began: Decision | None = made.get(period.decision_id)
        tags = known[period.version].tags if period.version in known else {}
        found.append(
            Tenure(
                period.version,
                period.valid_from,
                period.valid_to,
                by=period.actor or (began.actor if began else "unknown"),
                kind=period.kind or (began.kind if began else "unknown"),
                comment=str(began.inputs.get("comment", "")) if began else "",
                decision_id=period.decision_id,
                value=float(tags[spec.metric]) if spec.metric in tags else None,
            )
        )
    return found


def at(found: Sequence[Tenure], moment: datetime) -> Tenure | None:
    """The one of a moment by the clock, UTC; None before the first."""
    return next((item for item in reversed(found) if item.since <= moment), None)


def told(spec: ModelSpec, found: Sequence[Tenure]) -> str:
    """A line for each, the newest first."""
    metric = metrics.of(spec)
    lines = [("version", "from", "to", "by", "since", metric.title, "comment")]
    for item in reversed(found):
        until = f"{item.until:%Y-%m-%d %H:%M:%S}" if item.until else "now"
        value = "" if item.value is None else metric.shown(item.value)
        kind = item.kind.replace("_", " ")
        said = (item.version, f"{item.since:%Y-%m-%d %H:%M:%S}", until, shown(item.by), kind, value)
        lines.append((*said, shown(item.comment)))
    return aligned(lines)


def choices(spec: ModelSpec, found: Sequence[Tenure], first: str | None, there: Collection[str]) -> list[str]:
    """Of the versions ``there`` those that served and do not now, a sentence each that begins with the number:
    ``first``, then by age."""
    metric, running = metrics.of(spec), found[-1].version if found else None
    last = {item.version: item for item in found if item.version in there and item.version != running}
    newest = sorted(last.values(), key=lambda item: (item.version == first, item.since), reverse=True)
    return [
        f"version {item.version}: in production from {item.since:%Y-%m-%d %H:%M} to {item.until:%Y-%m-%d %H:%M}"
        + ("" if item.value is None else f", {metric.title} {metric.shown(item.value)} on its test rows")
        + (" (the one before)" if item.version == first else "")
        for item in newest
    ]
