"""The alias `production` in MLflow repeats what the history says. Here the two are held against each other."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from include.core.errors import TamperedError
from include.lakehouse import alias_history, decisions
from include.lakehouse.alias_history import AliasPeriod
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import approval, gates, promotion, registration, release, versions
from include.registry.versions import Version

log = logging.getLogger(__name__)

_SUBJECT = "alias production"
IN_FLIGHT = timedelta(hours=1)
"""Longer than a promotion takes."""


def require(run: Run) -> None:
    """Let alias and history agree, or stop where somebody else than a promotion or a roll-back touched the alias.

    What the history knows is put right first, so that it costs one red run; what it does not know stays for a person.
    Where ``approval.alias_moved`` is ``adopt``, a version that may be in production is let into the history, and
    nothing stops. A promotion that did not come to its end is completed, which stops nothing either. Each is recorded
    in `decisions`.

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
            if period is not None and period.kind == Kind.ALIAS_CHECK:
                _require_recorded(run, period)
            return
        complete = period is None or _is_complete(run, period)
        named = versions.number_of(spec, versions.PRODUCTION)
        if named == running or period != alias_history.current(run.lake, model):
            continue  # somebody has promoted in between
        if not (complete and named and _adopt(run, period, named)):
            break
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
            _record(run, Outcome.COMPLETED, Reason.HALF_DONE, named, running)
            log.warning("What put version %s into production stopped half way: the alias is moved to it", running)
            return
        reason, outcome = Reason.ALIAS_MOVED, Outcome.PUT_BACK
        said = f"the alias production was moved by hand from version {running} to {named or 'none'}, and is put back"
        fix = f"Clear this task to go on with version {running}. {move}"
    _record(run, outcome, reason, named, running)
    raise TamperedError(said, where=model, fix=fix)


def _adopt(run: Run, period: AliasPeriod | None, named: str) -> bool:
    """Begin a period of the version that somebody has moved the alias to, if model.yaml says so and it may be there.

    Returns:
        Whether the alias is no more to be put back by what was seen: it is adopted, or somebody was faster.
    """
    spec, lake = run.spec, run.lake
    found = versions.find(spec, named)
    if spec.approval.alias_moved != "adopt" or found is None or not _may_be_in_production(run, found):
        return False
    registration.require(spec, lake, found)
    decision_id = decisions.identity(spec.name, Kind.ALIAS_CHECK, _SUBJECT, run.run_id)

    def require_same(running: AliasPeriod | None) -> None:
        if running != period:
            raise _Overtaken

    try:
        alias_history.begin(
            lake,
            spec,
            named,
            model_time=found.known_at,
            decision_id=decision_id,
            kind=Kind.ALIAS_CHECK,
            actor=Actor.SOMEBODY_IN_MLFLOW,
            require=require_same,
        )
    except _Overtaken:
        return True
    promotion.follow_history(spec, lake)
    running = period.version if period else None
    _record(run, Outcome.ADOPTED, Reason.ALIAS_MOVED, named, running, actor=Actor.SOMEBODY_IN_MLFLOW)
    log.warning("The alias production was moved by hand from version %s to %s, which is adopted", running, named)
    return True


def _require_recorded(run: Run, period: AliasPeriod) -> None:
    """Record the adoption that began a period, where its process ended before it did."""
    made = decisions.history(run.lake, run.spec.name, Kind.ALIAS_CHECK)
    if any(period.decision_id in (item.decision_id, item.inputs.get("adoption")) for item in made):
        return
    inputs = {"alias": period.version, "history": period.version, "adoption": period.decision_id}
    run.decide(Kind.ALIAS_CHECK, Outcome.COMPLETED, [Reason.HALF_DONE], subject=_SUBJECT, inputs=inputs)
    log.warning("Version %s was adopted by a process that ended before it said so: it is recorded now", period.version)


class _Overtaken(Exception):
    """Another period has begun since."""


def _may_be_in_production(run: Run, version: Version) -> bool:
    """Whether it has been in production; or the last word of each gate is that it passed, and it is approved where a
    person has to."""
    if version.version in promotion.served(run.spec, run.lake):
        return True
    said = (
        decisions.history(run.lake, run.spec.name, kind, subject=registration.subject(version))
        for kind in (Kind.STAGING_GATE, Kind.PRODUCTION_GATE)
    )
    newest = (max(made, key=lambda item: item.recorded_at, default=None) for made in said)
    return all(item is not None and item.outcome == Outcome.PASSED for item in newest) and _is_approved(run, version)


def _is_approved(run: Run, version: Version) -> bool:
    """Whether nobody has to approve it, or somebody has, as it is now."""
    if not gates.asks_person(run.spec, run.settings):
        return True
    approved = release.approved(run.spec, run.lake, version)
    if approved is None or not approval.is_last_word(run, version):
        return False
    changes = approved.changes(release.of(run.spec, run.lake, version))
    return not release.sorted_out(changes, run.spec.approval.release.at_promotion)[0]


def _require_registered(run: Run) -> None:
    """Stop where the version in production is another one under its number, or its tags were changed."""
    try:
        promotion.in_production(run.spec, run.lake)
    except TamperedError:
        period = alias_history.current(run.lake, run.spec.name)
        named = versions.number_of(run.spec, versions.PRODUCTION)
        _record(run, Outcome.REFUSED, Reason.NOT_AS_REGISTERED, named, period.version if period else None)
        raise


def _record(
    run: Run,
    outcome: Outcome,
    reason: Reason,
    named: str | None,
    running: str | None,
    actor: Actor = Actor.POLICY,
) -> None:
    inputs = {"alias": named, "history": running}
    run.decide(Kind.ALIAS_CHECK, outcome, [reason], subject=_SUBJECT, inputs=inputs, actor=actor)


def _is_complete(run: Run, period: AliasPeriod) -> bool:
    """Whether the promotion or roll-back that began a period came to its end: it records itself last.

    One whose process ended in between never does, and is at its end once no task runs that long.
    """
    if period.valid_from < datetime.now(UTC) - IN_FLIGHT:
        return True
    decided = decisions.history(run.lake, run.spec.name)
    return any(item.decision_id == period.decision_id for item in decided)
