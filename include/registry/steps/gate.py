"""The two gates: checks asked one by one or all at once, and the verdict."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from include.core.sections import Gate
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import check_answers, evidence, promotion, release, versions
from include.registry.gates import Verdict
from include.registry.steps import record
from include.registry.versions import Version

log = logging.getLogger(__name__)

GATE_KINDS: Mapping[Gate, Kind] = {"staging": Kind.STAGING_GATE, "production": Kind.PRODUCTION_GATE}


def run_check(run: Run, version: str, gate: Gate, check: str) -> bool:
    """Ask one check of a gate, and record its answer; whether it passed. One that fails is an answer, no error.

    Args:
        check: which one, as `Gates.asked` calls it.

    Raises:
        UsageError: no such version or check.
    """
    about = evidence.of(run.spec, run.lake, version)
    answer = check_answers.find(run, gate, check, about)
    check_answers.record(run, about.candidate, answer)
    return answer.result.passed


def conclude_gate(run: Run, version: str, gate: Gate) -> Verdict:
    """The verdict of a gate whose checks `run_check` has asked in this run, each in a task of its own.

    Raises:
        UsageError: an answer is missing, or they are not about the same.
    """
    found = versions.get(run.spec, version)
    return _conclude(run, gate, found, check_answers.recorded(run, found, gate))


def check_staging(run: Run, version: str) -> Verdict:
    """Is the version complete, and does it work? All checks are asked here."""
    return _check(run, "staging", version)


def move_to_staging(run: Run, version: str) -> str:
    """Give the version the stage Staging, unless it is in production already; its stage."""
    serving = promotion.in_production(run.spec, run.lake)
    if serving is not None and serving.version == version:
        return serving.stage
    return versions.set_stage(run.spec, version, "Staging").stage


def check_production(run: Run, version: str) -> Verdict:
    """Is the version good enough, and better than the one in production? All checks are asked here."""
    return _check(run, "production", version)


def _check(run: Run, gate: Gate, version: str) -> Verdict:
    about = evidence.of(run.spec, run.lake, version)
    return _conclude(run, gate, about.candidate, check_answers.find_all(run, gate, about))


def _conclude(run: Run, gate: Gate, found: Version, answered: Sequence[check_answers.CheckAnswer]) -> Verdict:
    verdict = check_answers.conclude(run.spec, gate, found.version, answered)
    judged = release.if_registered(run.spec, run.lake, found) if gate == "production" else None
    check_answers.require_release(run.spec, gate, answered, judged)  # what changes meanwhile is not judged
    for check in verdict.checks:
        log.info("%s", check)
    outcome = Outcome.PASSED if verdict.passed else Outcome.FAILED
    shown = verdict.failed or verdict.checks
    reasons = [Reason.CHECK.about(check.name) for check in shown]
    inputs = {
        "checks": verdict.checks,
        "compared_with": verdict.compared_with,
        **({"release": judged.recorded()} if judged else {}),
    }
    decision_id = record.decide(run, GATE_KINDS[gate], found, outcome, reasons, actor=Actor.GATE, inputs=inputs)
    said = f"{outcome.value}. {' '.join(check.detail for check in shown)}"
    if judged:
        parts = f"{judged.digest[: release.SHORT]}, one digest over {', '.join(release.TITLES.values())}"
        versions.note(run.spec, found.version, "Release", parts, {"release": judged.digest})
    record.note(run, found, f"{gate.capitalize()} gate", said, f"gate.{gate}", outcome.value, reasons, decision_id)
    return verdict


def require_gates(run: Run, version: Version, now: str | None) -> None:
    """Of each gate the decision of this run counts; where it has none, the newest.

    The version was compared with the one in production then, by the model.yaml of then: where either is another one
    now, it has to be compared again.

    Args:
        now: the version in production.
    """
    policy = decisions.policy_hash(*record.policy(run))
    for kind in GATE_KINDS.values():
        decided = record.decided(run, version, kind)
        decisive = [item for item in decided if item.run_id == run.run_id] or decided[-1:]
        compared_with = decisive[-1].inputs["compared_with"] if decisive else None
        if not decisive:
            problem = f"has not been through the {kind.value.replace('_', ' ')}"
        elif decisive[-1].outcome != Outcome.PASSED:
            problem = f"has not passed the {kind.value.replace('_', ' ')}"
        elif decisive[-1].policy_hash != policy:
            problem = f"passed the {kind.value.replace('_', ' ')} by a model.yaml whose gates or approval were others"
        elif kind is Kind.PRODUCTION_GATE and now not in (compared_with, version.version):
            problem = f"was compared with {compared_with or 'none'}, and {now or 'none'} is in production by now"
        else:
            continue
        record.refuse(
            run,
            version,
            Kind.PROMOTION,
            Reason.GATE_NOT_PASSED.about(kind.value),
            f"version {version.version} {problem}",
            f"Run {run.spec.name}.promote_model with {version.version} as partition key",
        )
