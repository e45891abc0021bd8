"""A version's way through the stages: gates, promotion, rejection, roll-back, each recorded as a decision."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any

from include.core.errors import DataError
from include.evaluation import drift, metrics
from include.lakehouse import alias_history, decisions
from include.lakehouse.run import Workspace
from include.registry import gates, promotion, versions
from include.registry.gates import Verdict
from include.registry.versions import Version
from include.training import training_set

log = logging.getLogger(__name__)


def check_staging(workspace: Workspace, version: str, run_id: str) -> Verdict:
    """Is the version complete, and does it work? Recorded."""
    verdict = gates.staging(workspace.spec, version)
    _record_verdict(workspace, verdict, run_id)
    return verdict


def move_to_staging(workspace: Workspace, version: str) -> None:
    """Give the version the stage Staging, unless it is in production already."""
    serving = versions.production(workspace.spec)
    if serving is None or serving.version != version:
        versions.set_stage(workspace.spec, version, "Staging")


def check_production(workspace: Workspace, version: str, run_id: str) -> Verdict:
    """Is the version good enough, and better than the one in production? Recorded."""
    verdict = gates.production(workspace.spec, workspace.lake, version)
    _record_verdict(workspace, verdict, run_id)
    return verdict


def evidence(verdict: Verdict) -> str:
    """A verdict as Markdown, for the person who approves."""
    lines = ["| check | passed | what was found |", "|---|---|---|"]
    lines += [f"| {check.name} | {'yes' if check.passed else '**no**'} | {check.detail} |" for check in verdict.checks]
    return "\n".join(lines)


def promote(workspace: Workspace, version: str, run_id: str, actor: str) -> None:
    """Put a version that passed its gates into production."""
    found = versions.get(workspace.spec, version)
    at = _known_at(found)
    decision_id = _record(
        workspace, "promotion", version, "promoted", ["passed_all_gates"], at=at, actor=actor, run_id=run_id
    )
    moved = promotion.promote(workspace.spec, workspace.lake, version, at, decision_id)
    log.info("Version %s is in production, before it: %s", moved.version, moved.former or "none")


def reject(workspace: Workspace, version: str, run_id: str, actor: str) -> None:
    """Leave production as it is, and say which checks, or who, rejected the version."""
    found = versions.get(workspace.spec, version)
    failed = [
        f"{name}"
        for decided in decisions.history(workspace.lake, workspace.spec.name)
        if decided.run_id == run_id and decided.kind.endswith("_gate") and decided.outcome == "failed"
        for name in decided.reasons
    ]
    reasons = failed or ["not_approved"]
    _record(workspace, "rejection", version, "rejected", reasons, at=_known_at(found), actor=actor, run_id=run_id)
    serving = versions.production(workspace.spec)
    if serving is None or serving.version != version:
        versions.set_stage(workspace.spec, version, "Archived")
    log.info("Version %s is rejected by %s: %s", version, actor, ", ".join(reasons))


def check_drift(workspace: Workspace, version: str, run_id: str) -> list[str]:
    """Do the days after the history of a rejected version's training set differ from the history?

    Returns:
        The features that drifted, sorted; empty also where there is history only.
    """
    spec, found = workspace.spec, versions.get(workspace.spec, version)
    frame = training_set.stored(spec, workspace.lake, found.tag("training_set"), int(found.tag("training_set.version")))
    later = frame["window"] > frame["window"].min()
    names = gates.features_of(found)
    drifted = sorted(
        item.feature
        for item in drift.detect(frame.loc[~later, names], frame.loc[later, names], spec.monitoring.drift)
        if item.drifted
    )
    outcome = "drifted" if drifted else "no_drift"
    _record(workspace, "drift_check", version, outcome, drifted, at=_known_at(found), actor="gate", run_id=run_id)
    log.info("The days after the history of version %s: %s", version, ", ".join(drifted) or "no drift")
    return drifted


def smoke_score(workspace: Workspace, version: str) -> dict[str, Any]:
    """Let a version predict the test rows it was measured on.

    Raises:
        DataError: it does not exist, or predicts something that is no finite number.
    """
    found = versions.get(workspace.spec, version)
    rows = gates.test_rows(workspace.spec, workspace.lake, found)
    value = metrics.adjusted_r2(rows[workspace.spec.target], gates.predict(found, rows), len(gates.features_of(found)))
    log.info("Version %s predicts %s test rows, adjusted R2 %.4f", version, len(rows), value)
    return {"version": version, "rows": len(rows), "adjusted_r2": value}


def roll_back(workspace: Workspace, version: str, *, at: datetime, run_id: str, reason: str) -> None:
    """Put an earlier version into production again.

    Args:
        at: moment of the run. A replayed source lives in the past: there the newest scored day counts.
    """
    decision_id = _record(
        workspace,
        "roll_back",
        version,
        "rolled_back",
        [reason or "no reason given"],
        at=_model_time(workspace, at),
        actor="person",
        run_id=run_id,
    )
    moved = promotion.roll_back(workspace.spec, workspace.lake, version, _model_time(workspace, at), decision_id)
    log.info("Version %s is in production, before it: %s", moved.version, moved.former or "none")


def _model_time(workspace: Workspace, at: datetime) -> datetime:
    last_day = workspace.spec.deliveries.last_day
    serving = alias_history.current(workspace.lake, workspace.spec.name)
    if last_day is None or at.date() <= last_day or serving is None:
        return at
    scored = workspace.lake.read(workspace.spec.table("predictions"), columns=["batch_date"])
    newest: date | None = max(scored["batch_date"].to_pylist(), default=None)
    if newest is None:
        raise DataError("nothing has been scored yet", where=workspace.spec.name, fix="Run score_batch first")
    end = datetime(newest.year, newest.month, newest.day, tzinfo=UTC) + timedelta(days=1)
    return max(end, serving.valid_from)


def _known_at(version: Version) -> datetime:
    """The moment whose data the version was trained on."""
    return datetime.fromisoformat(version.tag("training_set")).replace(tzinfo=UTC)


def _record_verdict(workspace: Workspace, verdict: Verdict, run_id: str) -> None:
    for check in verdict.checks:
        log.info("%s  %s: %s", "passed" if check.passed else "FAILED", check.name, check.detail)
    outcome = "passed" if verdict.passed else "failed"
    names = [check.name for check in verdict.checks if verdict.passed or not check.passed]
    _record(
        workspace,
        f"{verdict.gate}_gate",
        verdict.version,
        outcome,
        names,
        at=_known_at(versions.get(workspace.spec, verdict.version)),
        actor="gate",
        run_id=run_id,
        inputs={"checks": verdict.checks},
    )


def _record(
    workspace: Workspace,
    kind: str,
    version: str,
    outcome: str,
    reasons: list[str],
    *,
    at: datetime,
    actor: str,
    run_id: str,
    inputs: dict[str, Any] | None = None,
) -> str:
    return decisions.record(
        workspace.lake,
        model=workspace.spec.name,
        kind=kind,
        subject=f"version {version}",
        outcome=outcome,
        reasons=reasons,
        inputs=inputs or {},
        decided_at=at,
        actor=actor,
        policy_hash=decisions.policy_hash(workspace.spec.gates, workspace.spec.approval),
        run_id=run_id,
    )
