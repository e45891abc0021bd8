"""A version that was in production before goes back there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from include.core.errors import UsageError
from include.core.partition import Partition
from include.core.text import is_said
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import PREDICTIONS
from include.registry import promotion, registration, release, smoke, tenures, versions
from include.registry.promotion import Transition
from include.registry.smoke import SmokeScore
from include.registry.steps import record
from include.registry.steps.move import record_move
from include.registry.steps.release import require_release
from include.registry.tenures import Tenure
from include.registry.versions import Version


def list_production(run: Run) -> list[Tenure]:
    """Which version was in production, from when to when, and by whom; oldest first."""
    return tenures.read(run.spec, run.lake)


def former_version(run: Run) -> str | None:
    """The version that a roll-back goes to where none is named; None where there is none.

    Where the run has rolled back before, as a retry has, that one again.
    """
    for period in alias_history.periods(run.lake, run.spec.name):
        if period.decision_id == _roll_back_id(run, period.version):
            return period.version
    found = alias_history.former(run.lake, run.spec.name)
    return found.version if found else None


def offer_versions(run: Run) -> list[str]:
    """The versions that a person may go back to, of those that MLflow still has, a sentence each that begins with
    ``version 2:``, the one before first.

    Raises:
        UsageError: there is none.
    """
    served = tenures.read(run.spec, run.lake)
    there = {number for number in {item.version for item in served} if versions.find(run.spec, number)}
    if found := tenures.choices(run.spec, served, former_version(run), there):
        return found
    raise UsageError(
        "no other version that is there still was ever in production", where=run.spec.name, fix="Promote another one"
    )


def require_roll_back(run: Run, comment: str, version: str | None = None) -> None:
    """Refuse a roll-back without a reason, or to a version that never was in production.

    Raises:
        UsageError: so it is.
    """
    if not is_said(comment):
        raise UsageError(
            "a roll-back for real needs a reason",
            where=run.spec.name,
            fix="Say why in the field comment; on the command line with --comment",
        )
    served = promotion.served(run.spec, run.lake)
    if version is None or (found := versions.get(run.spec, version)).version in served:
        return
    record.refuse(
        run,
        found,
        Kind.ROLL_BACK,
        Reason.NEVER_IN_PRODUCTION,
        f"version {found.version} has never been in production, only {', '.join(served) or 'none'}",
        "Choose one of them, or promote it through the gates",
        actor=Actor.PERSON,
        comment=comment,
    )


def smoke_score(run: Run, version: str | None = None) -> SmokeScore:
    """Let a version predict test rows and recent ones, beside the one in production; errors as `smoke.score`.

    Args:
        version: by default the one that a roll-back goes to.

    Raises:
        UsageError: there is none.
    """
    return smoke.score(run.spec, run.lake, version or _former(run))


def record_choice(run: Run, version: str, person: str) -> None:
    """Record which version a person has chosen to go back to.

    Args:
        person: the name that Airflow knows them by.
    """
    found = versions.get(run.spec, version)
    record.decide(run, Kind.VERSION_CHOICE, found, Outcome.CHOSEN, [Reason.ASKED_FOR], actor=person)


def _chosen_by(run: Run, version: str) -> Run:
    """The run as that of whoever has chosen the version in it, if anybody was asked.

    Raises:
        UsageError: another one was chosen.
    """
    made = decisions.history(run.lake, run.spec.name, Kind.VERSION_CHOICE, run_id=run.run_id)
    choice = max(made, key=lambda item: item.recorded_at, default=None)
    if choice is None:
        return run
    if choice.subject != registration.subject_of(version):
        raise UsageError(
            f"{choice.actor} chose {choice.subject}, not version {version}",
            where=run.spec.name,
            fix="Run the roll-back anew, and choose the version that is wanted",
        )
    return replace(run, person=choice.actor)


def roll_back(run: Run, version: str | None = None, comment: str = "") -> Transition:
    """Put a version that has been in production before into production again, once it has predicted recent rows.

    Args:
        version: by default the one that was in production before.
        comment: why.

    Raises:
        UsageError: it never was, no reason is given, or a person has chosen another one in this run.
        DataError: as `smoke.score`.
    """
    require_roll_back(run, comment, version)
    target = version or _former(run)
    run = _chosen_by(run, target)
    smoke.score(run.spec, run.lake, target)
    return go_back(run, target, Reason.ASKED_FOR, comment, actor=Actor.PERSON)


def go_back(
    run: Run,
    version: str,
    reason: Reason,
    comment: str,
    *,
    actor: str,
    require: Callable[[str | None], None] = lambda running: None,
) -> Transition:
    """Put a version back, and record it: the one place that does, whoever asks.

    Args:
        require: as of `promotion.put_in_production`.

    Raises:
        UsageError: a part of its release that has to stay is another one than was approved.
        TamperedError: its files or tags are not those that were registered.
    """
    found = versions.get(run.spec, version)
    known, said = release.approved(run.spec, run.lake, found), tuple[str, ...]()
    if known:
        said = require_release(run, found, Kind.ROLL_BACK, known, run.spec.approval.release.at_scoring)
    at, decision_id = _data_time(run, found), _roll_back_id(run, found.version)
    who = run.person if actor == Actor.PERSON else actor
    moved = promotion.put_in_production(
        run.spec, run.lake, found.version, decision_id, require, kind=Kind.ROLL_BACK, actor=who
    )
    moved = replace(moved, release_changes=said)
    record_move(run, found, moved, Kind.ROLL_BACK, Outcome.ROLLED_BACK, reason, at=at, actor=actor, comment=comment)
    return moved


def _former(run: Run) -> str:
    if former := former_version(run):
        return former
    served = ", ".join(promotion.served(run.spec, run.lake)) or "none"
    raise UsageError(
        "no version is there to go back to", where=run.spec.name, fix=f"Name one of those that served: {served}"
    )


def _roll_back_id(run: Run, version: str) -> str:
    return decisions.identity(run.spec.name, Kind.ROLL_BACK, registration.subject_of(version), run.run_id)


def _data_time(run: Run, version: Version) -> datetime:
    """The moment that the newest scored partition was complete: a replayed source lives years before the clock."""
    running = alias_history.current(run.lake, run.spec.name)
    times = [version.known_at, *([running.model_time] if running else [])]
    if scored := run.lake.rows_by_partition(run.table(PREDICTIONS)):
        times.append(Partition.parse(max(scored), run.spec.grain).end)
    return max(times)
