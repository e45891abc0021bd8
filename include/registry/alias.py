"""The alias `production` in MLflow repeats what the history says. Here the two are held against each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.core.errors import TamperedError
from include.lakehouse import alias_history, decisions
from include.lakehouse.alias_history import AliasPeriod
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import promotion, versions

IN_FLIGHT = timedelta(hours=1)
"""Longer than a promotion takes."""


def require(run: Run) -> None:
    """Stop where somebody else than a promotion or a roll-back touched what is in production.

    What the history knows is put right first, so that it costs one red run; what it does not know stays for a person.
    Either is recorded in `decisions`. A promotion that did not come to its end is completed, which nobody needs to see.

    Raises:
        TamperedError: the alias was moved or removed by hand, names a version that was never promoted, or the version
            in production was deleted, or is not as it was registered.
    """
    spec, model = run.spec, run.spec.name
    while True:
        period = alias_history.current(run.lake, model)
        running = period.version if period else None
        if versions.number_of(spec, versions.PRODUCTION) == running:
            _require_registered(run)
            return
        complete = period is None or _is_complete(run, period)
        named = versions.number_of(spec, versions.PRODUCTION)
        if named != running and period == alias_history.current(run.lake, model):
            break  # else somebody has promoted in between
    move = f"To change what is in production, run {model}.promote_model or {model}.roll_back_model"
    if period is None:
        reason, outcome = Reason.ALIAS_UNKNOWN, Outcome.REFUSED
        said = f"the alias production names version {named}, and no promotion is recorded: it was set by hand"
        fix = f"Remove the alias in MLflow. {move}"
    elif versions.find(spec, period.version) is None:
        reason, outcome = Reason.VERSION_DELETED, Outcome.REFUSED
        said = f"version {running}, which is in production, was deleted in MLflow"
        fix = f"Run {model}.roll_back_model with another version, or {model}.request_training"
    else:
        _require_registered(run)
        promotion.follow_history(spec, run.lake)
        if not complete:
            return
        reason, outcome = Reason.ALIAS_MOVED, Outcome.PUT_BACK
        said = f"the alias production was moved by hand from version {running} to {named or 'none'}, and is put back"
        fix = f"Clear this task to go on with version {running}. {move}"
    _record(run, outcome, reason, named, running)
    raise TamperedError(said, where=model, fix=fix)


def _require_registered(run: Run) -> None:
    """Stop where the version in production is another one under its number, or its tags were changed."""
    try:
        promotion.in_production(run.spec, run.lake)
    except TamperedError:
        period = alias_history.current(run.lake, run.spec.name)
        named = versions.number_of(run.spec, versions.PRODUCTION)
        _record(run, Outcome.REFUSED, Reason.NOT_AS_REGISTERED, named, period.version if period else None)
        raise


def _record(run: Run, outcome: Outcome, reason: Reason, named: str | None, running: str | None) -> None:
    inputs = {"alias": named, "history": running}
    run.decide(Kind.ALIAS_CHECK, outcome, [reason], subject="alias production", inputs=inputs)


def _is_complete(run: Run, period: AliasPeriod) -> bool:
    """Whether the promotion or roll-back that began a period came to its end: it records itself last.

    One whose process ended in between never does, and is at its end once no task runs that long.
    """
    if period.valid_from < datetime.now(UTC) - IN_FLIGHT:
        return True
    decided = decisions.history(run.lake, run.spec.name, since=period.model_time)
    return any(item.decision_id == period.decision_id for item in decided)
