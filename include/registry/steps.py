"""A version's way through the stages: gates, approval, promotion, rejection, roll-back. Done first, then recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from pydantic import BaseModel

from include.core.errors import TamperedError, UsageError
from include.core.partition import Partition
from include.core.release import ReleasePart
from include.core.sections import Gate
from include.evaluation import drift
from include.features import store
from include.lakehouse import alias_history, decisions, windows
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import PARTITION, PREDICTIONS
from include.lakehouse.windows import WindowMetrics
from include.registry import (
    approval,
    check_answers,
    drift_note,
    evidence,
    gates,
    promised,
    promotion,
    question,
    rebuild,
    reference_profile,
    registration,
    release,
    saved_dataset,
    smoke,
    tenures,
    transition_request,
    versions,
    withdrawal,
)
from include.registry.approval import Answer, Answered
from include.registry.evidence import stored_rows
from include.registry.gates import Verdict
from include.registry.promotion import Transition
from include.registry.rebuild import Rebuilt
from include.registry.registration import subject
from include.registry.release import Release
from include.registry.smoke import SmokeScore
from include.registry.tenures import Tenure
from include.registry.transition_request import TransitionAnswer, TransitionRequest
from include.registry.versions import Version
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef

log = logging.getLogger(__name__)

_GATE_KINDS: Mapping[Gate, Kind] = {"staging": Kind.STAGING_GATE, "production": Kind.PRODUCTION_GATE}


def register_candidate(run: Run, candidate: RunRef, training_set: TrainingSetRef) -> str:
    """Make the model of a training run a version; its number.

    Its training set is in Feast's registry then, and what its windows are compared with in the lakehouse.
    """
    version = registration.register(run, candidate, training_set)
    reference_profile.record(run.spec, run.lake, version)
    saved_dataset.record(store.open_store(), run.spec, version, training_set)
    withdrawal.name_one(run.spec, run.lake, version, training_set)
    return version.version


def record_profile(run: Run, version: str) -> None:
    """Write what a version's windows are compared with, where its registration did not come so far."""
    reference_profile.record(run.spec, run.lake, versions.get(run.spec, version))


def name_versions(run: Run) -> list[str]:
    """Name the versions that learned from the partition, which is withdrawn: in the decisions, then in MLflow.

    In this order, so that nobody who can write to MLflow keeps it out of the decisions.

    Raises:
        UsageError: its batch is accepted.
        DataError: MLflow did not take it of some version.
    """
    run.require_withdrawn()
    found = withdrawal.learned_from(run.spec, run.lake, run.partition.key)
    serving = alias_history.current(run.lake, run.spec.name)
    inputs = {
        "versions_that_learned_from_it": ", ".join(found) or "none",
        "in_production": serving.version if serving else "none",
    }
    run.decide(Kind.TRAINING_WITHDRAWAL, Outcome.WITHDRAWN, [], inputs=inputs)
    withdrawal.name_all(run.spec, run.partition.key, found)
    return list(found)


def request_transition(run: Run, version: str, target: str, comment: str = "", requested_by: str = "") -> None:
    """Ask for a version in Staging or Production as a person does in MLflow: by tags, which `collect_requests` finds.

    Raises:
        UsageError: no such version, or such a stage that cannot be asked for.
    """
    found, stage = versions.get(run.spec, version), transition_request.stage_of(target)
    if refused := transition_request.refusal(run.spec.name, stage):
        raise UsageError(refused[1], where=run.spec.name)
    transition_request.ask(run, found.version, stage, comment, requested_by)


def collect_requests(run: Run) -> list[TransitionRequest]:
    """The requests in MLflow that need a run of ``promote_model``. Those that need none are answered on the version."""
    wanted = []
    for request, version in transition_request.open_ones(run):
        if answer := transition_request.answer_at_once(run, request, version):
            asked = {"comment": request.comment, "requester": request.requested_by, "by_tag": True}
            # Recorded first: once its tags are gone, a retry does not find the request again.
            _record_answer(run, version, answer, asked)
            _say_answer(run, version, answer, asked)
        else:
            wanted.append(request)
    return wanted


def record_request(
    run: Run,
    version: str,
    target: str = transition_request.PRODUCTION,
    comment: str = "",
    requested_by: str = "",
    by_tag: bool = False,
) -> str:
    """Record that a version is wanted in a stage; the stage.

    Args:
        requested_by: who asks; of a request by tag, who it says.
        by_tag: whether it was made in MLflow, which does not tell by whom.

    Raises:
        UsageError: no such version.
    """
    found = versions.get(run.spec, version)
    inputs = {"target": target, "requester": requested_by, "comment": comment, "by_tag": by_tag}
    actor = Actor.PERSON if by_tag else requested_by or run.person
    _decide(
        run,
        Kind.TRANSITION_REQUEST,
        found,
        Outcome.REQUEST_TRANSITION,
        [Reason.ASKED_FOR],
        actor=actor,
        inputs=inputs,
    )
    log.info("Version %s is wanted in %s, by %s: %s", version, target, requested_by or actor, comment or "no comment")
    return target


def answer_request(run: Run, version: str) -> TransitionAnswer | None:
    """Say on the version what became of the run's request, and take the request away; None where there is none.

    A run that came to no answer says that, too: the request can be made again.
    """
    found = versions.find(run.spec, version)
    request = transition_request.requested(run, found) if found else None
    if found is None or request is None:
        log.info("There is no request to answer: it was not recorded, or version %s is gone", version)
        return None
    answer = transition_request.answer_of(run, found, request.inputs["target"])
    # In this order: `transition_request.open_ones` relies on it, and a retry finds the request in `decisions`.
    _say_answer(run, found, answer, request.inputs)
    _record_answer(run, found, answer, request.inputs)
    return answer


def run_check(run: Run, version: str, gate: Gate, check: str) -> dict[str, Any]:
    """Ask one check of a gate; its answer, as `CheckAnswer.told` tells it. One that fails is an answer, no error.

    Args:
        check: which one, as `Gates.asked` calls it.

    Raises:
        UsageError: no such version or check.
    """
    return check_answers.find(run, gate, check, evidence.of(run.spec, run.lake, version)).told


def conclude_gate(run: Run, version: str, gate: Gate, answered: Sequence[Mapping[str, Any] | None]) -> Verdict:
    """The verdict of a gate whose checks `run_check` has asked, each in a task of its own.

    Not among the steps of a command line: there somebody could bring answers that no check has given.

    Args:
        answered: what it returned for each check; None for one whose task ended without.

    Raises:
        UsageError: an answer is missing, or they are not about the same.
    """
    found = [check_answers.CheckAnswer.read(told) for told in answered if told]
    return _conclude(run, gate, versions.get(run.spec, version), found)


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


def describe_question(run: Run, version: str) -> str:
    """What a person is shown who is asked whether a version goes into production: Markdown."""
    return question.describe(run, versions.get(run.spec, version))


def answer(run: Run, version: str, given: Answer) -> Answered:
    """Record what a person answered to that question, and whether it counts.

    Not among the steps of a command line: only who was asked in Airflow has a name that is surely theirs.
    """
    found, policy = versions.get(run.spec, version), run.spec.approval
    approved = [item.person for item in approval.approvals(run, found) if item.at < given.at]
    reason = approval.refusal(policy, given, approval.requester(run, found), approved)
    counted = Reason.APPROVED_BY_PERSON if given.approves else Reason.REJECTED_BY_PERSON
    outcome = Outcome.REFUSED if reason else Outcome.APPROVED if given.approves else Outcome.REJECTED
    said = approval.said(policy, given, reason)
    run.decide(
        Kind.ANSWER,
        outcome,
        [reason or counted],
        subject=approval.subject_of(found, given),
        at=found.known_at,
        about=found.known_at,
        actor=given.person,
        inputs={"approves": given.approves, "at": given.at, "found": said, **_said(given.comment)},
        follows=_policy(run),
    )
    log.info("Version %s: %s", version, said)
    return Answered(outcome, said, max(policy.persons - len(approval.approvals(run, found)), 0))


def approve(run: Run, version: str) -> str:
    """Record that persons, or the policy of the environment, approve a version, as it was judged; the decision's id.

    Raises:
        UsageError: model.yaml asks for persons, and of those who may not enough have approved it in this run.
    """
    found = versions.get(run.spec, version)
    approved = _require_persons(run, found, Kind.APPROVAL)
    reason, judged = Reason.APPROVED_BY_PERSON if approved else Reason.APPROVED_BY_POLICY, _judged(run, found)
    return _decide(
        run,
        Kind.APPROVAL,
        found,
        Outcome.APPROVED,
        [reason],
        actor=_named(approved) or Actor.POLICY,
        inputs=_said(_comments(approved)) | ({"release": judged.digest} if judged else {}),
    )


def promote(run: Run, version: str) -> Transition:
    """Put a version that passed its gates, and is approved, into production.

    Raises:
        UsageError: a gate was not passed, in this run or at last; model.yaml asks for persons, and of those who may
            not enough have approved it in this run; or a part of the release is another one than the gates have judged.
        TamperedError: its files or tags are not those that were registered.
    """
    found, said = versions.get(run.spec, version), tuple[str, ...]()
    decision_id = decisions.identity(run.spec.name, Kind.PROMOTION, subject(found), run.run_id)
    if not any(period.decision_id == decision_id for period in alias_history.periods(run.lake, run.spec.name)):
        serving = promotion.in_production(run.spec, run.lake)
        _require_gates(run, found, serving.version if serving else None)
        _require_persons(run, found, Kind.PROMOTION)
        said = _require_release(run, found, Kind.PROMOTION, _judged(run, found), run.spec.approval.release.at_promotion)
        approve(run, version)
    require = partial(_require_gates, run, found)
    approved = approval.approvals(run, found)
    moved = promotion.put_in_production(
        run.spec, run.lake, found.version, decision_id, require, actor=_named(approved) or Actor.POLICY
    )
    moved = replace(moved, release_changes=said)
    _record_move(
        run,
        found,
        moved,
        Kind.PROMOTION,
        Outcome.PROMOTED,
        Reason.PASSED_ALL_GATES,
        at=found.known_at,
        actor=_named(approved) or Actor.POLICY,
        comment=_comments(approved),
    )
    if moved.changed:
        promised.note(run.spec, run.lake, found.version, moved.former)
    return moved


def reject(run: Run, version: str) -> list[str]:
    """Leave production as it is; the reasons: the checks that failed in this run, or that a person said no, or nobody
    answered.

    The version in production stays there, and what failed is recorded: only a roll-back takes it out.
    """
    found = versions.get(run.spec, version)
    failed = [
        reason
        for kind in _GATE_KINDS.values()
        for decided in _decided(run, found, kind)
        if decided.run_id == run.run_id and decided.outcome == Outcome.FAILED
        for reason in decided.reasons
    ]
    no = approval.rejection(run, found)
    reasons = failed or [(Reason.NOT_APPROVED if no else Reason.NO_ANSWER).value]
    actor = Actor.GATE if failed else no.person if no else Actor.POLICY
    comment = no.comment if no and not failed else ""
    serving = promotion.in_production(run.spec, run.lake)
    if serving is not None and serving.version == found.version:
        reasons = [Reason.ALREADY_IN_PRODUCTION.value, *reasons]
        _decide(run, Kind.REJECTION, found, Outcome.NO_ACTION, reasons, actor=actor, inputs=_said(comment))
        log.warning("Version %s stays in production in spite of: %s", found.version, ", ".join(reasons[1:]))
        return reasons
    once_served = found.version in promotion.served(run.spec, run.lake)
    versions.set_stage(run.spec, found.version, "Archived" if once_served else "Rejected")
    decision_id = _decide(run, Kind.REJECTION, found, Outcome.REJECTED, reasons, actor=actor, inputs=_said(comment))
    said = f"by {actor}: {', '.join(reasons)}" + (f" ({comment})" if comment else "")
    _note(run, found, "Rejected", said, "rejection", "rejected", reasons, decision_id)
    log.info("Version %s is rejected %s", found.version, said)
    return reasons


def check_drift(run: Run, version: str) -> list[str] | None:
    """Do the partitions after the first of a rejected version's training set differ from that, the history?

    Returns:
        The features that drifted, sorted; None where there is history only, and so nothing to compare.

    Raises:
        TamperedError: it was rejected because it is not what was registered: no end in green.
    """
    found, config = versions.get(run.spec, version), run.spec.monitoring.drift
    registration.require(run.spec, run.lake, found)
    frame, names = stored_rows(run.spec, run.lake, found), list(found.features)
    later = frame[PARTITION] > frame[PARTITION].min()
    sides = frame.loc[~later, names], frame.loc[later, names]
    tested = drift.detect(*sides, config, found.categories) if later.any() else []
    drifted = sorted(item.column for item in tested if item.drifted)
    head = f"{later.sum()} rows after the history of version {version}, beside the {(~later).sum()} of it"
    log.info("%s: %s", head, drift.described([(item.column, item) for item in tested], config))
    outcome = Outcome.DRIFTED if drifted else Outcome.NO_DRIFT if tested else Outcome.NOTHING_TO_COMPARE
    reasons = [Reason.DRIFTED.about(name) for name in drifted]
    decision_id = _decide(run, Kind.DRIFT_CHECK, found, outcome, reasons, actor=Actor.GATE, inputs={"features": tested})
    drift_note.write(run.spec, found, outcome, drifted, _newest_labelled(run), decision_id)
    return drifted if tested else None


def find_window_to_check(run: Run, version: str) -> list[str]:
    """The newest labelled window, if this run has rejected a version on its way to production; else none.

    `monitor_model` measures it again then. The trainings that it asks for after one window are one, so the next
    candidate, if it is rejected, asks for none.
    """
    judged = _decided(run, versions.get(run.spec, version), Kind.PRODUCTION_GATE)
    found = _newest_labelled(run)
    return [found.partition.key] if found and any(item.run_id == run.run_id for item in judged) else []


def _newest_labelled(run: Run) -> WindowMetrics | None:
    return windows.newest(run.spec, run.lake, lambda window: window.labelled)


def rebuild_version(run: Run, version: str | None = None) -> Rebuilt:
    """Fit a version again from what is recorded of it, and write on it whether it is the same.

    Args:
        version: the one in production by default.

    Raises:
        UsageError: none is in production.
        TamperedError: another model comes out, which is recorded; or as `rebuild.rebuild`.
    """
    found = versions.get(run.spec, version) if version else promotion.in_production(run.spec, run.lake)
    if found is None:
        raise UsageError("no version is in production", where=run.spec.name, fix="Name the version to rebuild")
    built = rebuild.rebuild(run.spec, run.lake, found)
    outcome = Outcome.ALIKE if built.alike else Outcome.DIFFERENT
    reasons = [] if built.alike else [Reason.PREDICTIONS_DIFFER.value]
    reasons += [Reason.OTHER_PACKAGE.about(name) for name in built.packages]
    decision_id = _decide(run, Kind.REBUILD, found, outcome, reasons, actor=Actor.GATE, inputs=vars(built))
    said = rebuild.described(run.spec, built)
    _note(run, found, "Rebuilt", said, "rebuild", outcome.value, reasons, decision_id)
    if not built.alike:
        raise TamperedError(said, where=run.spec.name, fix="What it was fitted to, or by, is not what it was")
    return built


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
    """The versions that a person may go back to, a sentence each that begins with ``version 2:``, the one before first.

    Raises:
        UsageError: there is none.
    """
    if found := tenures.choices(run.spec, tenures.read(run.spec, run.lake), former_version(run)):
        return found
    raise UsageError("only one version was ever in production", where=run.spec.name, fix="Promote another one")


def require_roll_back(run: Run, comment: str, version: str | None = None) -> None:
    """Refuse a roll-back without a reason, or to a version that never was in production.

    Raises:
        UsageError: so it is.
    """
    if not comment.strip():
        raise UsageError(
            "a roll-back for real needs a reason",
            where=run.spec.name,
            fix="Say why in the field comment; on the command line with --comment",
        )
    served = promotion.served(run.spec, run.lake)
    if version is None or (found := versions.get(run.spec, version)).version in served:
        return
    _refuse(
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


def roll_back(run: Run, version: str | None = None, comment: str = "") -> Transition:
    """Put a version that has been in production before into production again, once it has predicted recent rows.

    Args:
        version: by default the one that was in production before.
        comment: why.

    Raises:
        UsageError: it never was, or no reason is given.
        DataError: as `smoke.score`.
    """
    require_roll_back(run, comment, version)
    target = version or _former(run)
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
        said = _require_release(run, found, Kind.ROLL_BACK, known, run.spec.approval.release.at_scoring)
    at, decision_id = _data_time(run, found), _roll_back_id(run, found.version)
    who = run.person if actor == Actor.PERSON else actor
    moved = promotion.put_in_production(
        run.spec, run.lake, found.version, decision_id, require, kind=Kind.ROLL_BACK, actor=who
    )
    moved = replace(moved, release_changes=said)
    _record_move(run, found, moved, Kind.ROLL_BACK, Outcome.ROLLED_BACK, reason, at=at, actor=actor, comment=comment)
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
    decision_id = _decide(run, _GATE_KINDS[gate], found, outcome, reasons, actor=Actor.GATE, inputs=inputs)
    said = f"{outcome.value}. {' '.join(check.detail for check in shown)}"
    if judged:
        parts = f"{judged.digest[: release.SHORT]}, one digest over {', '.join(release.TITLES.values())}"
        versions.note(run.spec, found.version, "Release", parts, {"release": judged.digest})
    _note(run, found, f"{gate.capitalize()} gate", said, f"gate.{gate}", outcome.value, reasons, decision_id)
    return verdict


def _require_gates(run: Run, version: Version, now: str | None) -> None:
    """Of each gate the decision of this run counts; where it has none, the newest.

    The version was compared with the one in production then, by the model.yaml of then: where either is another one
    now, it has to be compared again.

    Args:
        now: the version in production.
    """
    policy = decisions.policy_hash(*_policy(run))
    for kind in _GATE_KINDS.values():
        decided = _decided(run, version, kind)
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
        _refuse(
            run,
            version,
            Kind.PROMOTION,
            Reason.GATE_NOT_PASSED.about(kind.value),
            f"version {version.version} {problem}",
            f"Run {run.spec.name}.promote_model with {version.version} as partition key",
        )


def _judged(run: Run, version: Version) -> Release | None:
    """The release that the production gate has judged: in this run, or at last."""
    decided = _decided(run, version, Kind.PRODUCTION_GATE)
    own = [item for item in decided if item.run_id == run.run_id]
    return release.read(next(reversed(own or decided), None))


def _require_release(
    run: Run, version: Version, kind: Kind, approved: Release | None, refusing: Collection[ReleasePart]
) -> tuple[str, ...]:
    """Hold a version, and all that it works with, against what was approved; the parts that differ and may.

    Args:
        refusing: the parts that have to be the same.
    """
    again = f"Run {run.spec.name}.promote_model with {version.version} as partition key: it is judged and approved anew"
    try:
        registration.require(run.spec, run.lake, version)
        now = release.of(run.spec, run.lake, version)
    except TamperedError as error:
        reason = Reason.RELEASE_CHANGED.about(ReleasePart.MODEL_FILES.value)
        _decide(run, kind, version, Outcome.REFUSED, [reason], actor=Actor.POLICY, inputs={"refused": error.what})
        raise
    changes = approved.changes(now) if approved else []
    voiding, said = release.sorted_out(changes, refusing)
    if said:
        log.warning("Since version %s was approved these are others: %s", version.version, release.described(said))
    if voiding or approved is None:
        what = (
            f"version {version.version} is not as it was approved. Others are: {release.described(voiding)}"
            if approved
            else f"version {version.version} was judged before releases were recorded"
        )
        reasons = release.reasons(voiding) or [Reason.NOT_APPROVED]
        inputs = {"refused": what, "approved": approved and approved.digest, "now": now.digest}
        _decide(run, kind, version, Outcome.REFUSED, reasons, actor=Actor.POLICY, inputs=inputs)
        raise UsageError(what, where=run.spec.name, fix=again)
    return tuple(map(str, said))


def _require_persons(run: Run, version: Version, kind: Kind) -> list[Answer]:
    """The answers by which a version is approved; none where the environment asks nobody."""
    if not gates.asks_person(run.spec, run.settings):
        return []
    approved, persons = approval.approvals(run, version), run.spec.approval.persons
    if len(approved) < persons:
        whom = "a person has" if persons == 1 else f"{persons} persons have"
        _refuse(
            run,
            version,
            kind,
            Reason.NOT_APPROVED,
            f"{whom} to approve version {version.version} in {run.settings.environment}, and "
            f"{'none' if not approved else f'only {_named(approved)}'} did",
            f"Run {run.spec.name}.promote_model with {version.version} as partition key, and answer its question",
        )
    return approved


def _named(answers: Sequence[Answer]) -> str:
    return ", ".join(item.person for item in answers)


def _comments(answers: Sequence[Answer]) -> str:
    """What who approved had to say; of several each with the name."""
    if len(answers) == 1:
        return answers[0].comment
    return "; ".join(f"{item.person}: {item.comment}" for item in answers if item.comment)


def _refuse(
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
    _decide(run, kind, version, Outcome.REFUSED, [reason], actor=actor, inputs={"refused": what, **_said(comment)})
    raise UsageError(what, where=run.spec.name, fix=fix)


def _record_move(
    run: Run,
    version: Version,
    moved: Transition,
    kind: Kind,
    outcome: Outcome,
    reason: Reason,
    *,
    at: datetime,
    actor: str,
    comment: str,
) -> None:
    """Say what was done: moved, found there already, or left since a later decision has moved it on.

    What this decision did before it was superseded is said once: a repetition replaces no row by another meaning.
    """
    decision_id = decisions.identity(run.spec.name, kind, subject(version), run.run_id)
    periods = alias_history.periods(run.lake, run.spec.name)
    began = next((place for place, period in enumerate(periods) if period.decision_id == decision_id), None)
    if began is not None and not moved.changed:
        if any(item.decision_id == decision_id for item in _decided(run, version, kind)):
            log.info("It was done and recorded before, and version %s took its place since", moved.version)
            return
        moved = Transition(version.version, periods[began - 1].version if began else None, changed=True)
    if moved.version != version.version:
        log.info("Nothing changed: version %s took its place since, and stays", moved.version)
        return
    if not moved.changed:
        outcome, reason = Outcome.NO_ACTION, Reason.ALREADY_IN_PRODUCTION
        log.info("Nothing changed: version %s is in production already", moved.version)
    else:
        log.info("Version %s is in production, before it: %s", moved.version, moved.former or "none")
    changes = {"release_changes": moved.release_changes} if moved.release_changes else {}
    inputs = {"former": moved.former, **_said(comment), **changes}
    _decide(run, kind, version, outcome, [reason], at=at, actor=actor, inputs=inputs)


def _say_answer(run: Run, version: Version, answer: TransitionAnswer, asked: Mapping[str, Any]) -> None:
    """Say it on the version, and take the request away."""
    decision_id = decisions.identity(run.spec.name, Kind.TRANSITION_ANSWER, subject(version), run.run_id)
    by = asked["requester"] or ("a person" if asked["by_tag"] else "")
    found = "needs nothing, says" if answer.outcome is Outcome.NO_ACTION else f"is {answer.outcome.value} by"
    said = f"{answer.target}{f', asked for by {by},' if by else ''} {found} "
    said += f"{answer.actor}: {', '.join(answer.reasons)}" + (f" ({answer.comment})" if answer.comment else "")
    tags = {transition_request.ANSWER: said, f"{transition_request.ANSWER}.decision": decision_id}
    versions.note(run.spec, version.version, "Request", f"{said} (decision {decision_id})", tags)
    if asked["by_tag"]:
        transition_request.close(run, version.version, answer.target)
    log.info("Version %s: %s", version.version, said)


def _record_answer(run: Run, version: Version, answer: TransitionAnswer, asked: Mapping[str, Any]) -> None:
    inputs = {"target": answer.target, "asked": dict(asked), "by_tag": asked["by_tag"], **_said(answer.comment)}
    _decide(run, Kind.TRANSITION_ANSWER, version, answer.outcome, answer.reasons, actor=answer.actor, inputs=inputs)


def _data_time(run: Run, version: Version) -> datetime:
    """The moment that the newest scored partition was complete: a replayed source lives years before the clock."""
    running = alias_history.current(run.lake, run.spec.name)
    times = [version.known_at, *([running.model_time] if running else [])]
    if scored := run.lake.rows_by_partition(run.table(PREDICTIONS)):
        times.append(Partition.parse(max(scored), run.spec.grain).end)
    return max(times)


def _decided(run: Run, version: Version, kind: Kind) -> list[decisions.Decision]:
    """What was decided of a version, newest last."""
    found = decisions.history(run.lake, run.spec.name, kind, since=version.known_at, subject=subject(version))
    return sorted(found, key=lambda item: item.recorded_at)


def _decide(
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
    times = {"at": at or version.known_at, "about": version.known_at}
    return run.decide(
        kind, outcome, reasons, subject=subject(version), **times, actor=actor, inputs=inputs, follows=_policy(run)
    )


def _policy(run: Run) -> list[BaseModel]:
    """The parts of model.yaml that decide on versions."""
    return [run.spec.gates, run.spec.approval]


def _note(
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


def _said(comment: str) -> dict[str, str]:
    return {"comment": comment} if comment else {}
