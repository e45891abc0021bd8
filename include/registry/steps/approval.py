"""Persons, or the policy of the environment, approve a version as it was judged."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from include.core.errors import UsageError
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import approval, gates, question, versions
from include.registry.approval import Answer, Answered
from include.registry.steps import record
from include.registry.steps.release import judged_release
from include.registry.versions import Version

log = logging.getLogger(__name__)


def describe_question(run: Run, version: str) -> str:
    """What a person is shown who is asked whether a version goes into production: Markdown.

    Airflow keeps the text of a question also where its task is cleared: so a run asks on one evidence alone.

    Raises:
        UsageError: a gate of the run has concluded again since it asked, by other answers.
    """
    found = versions.get(run.spec, version)
    evidence = question.evidence(run, found)
    asked = record.decided(run, found, Kind.QUESTION)
    if any(item.run_id == run.run_id and item.inputs["evidence"] != evidence for item in asked):
        raise UsageError(
            f"the evidence on version {version} is another one than when this run asked first, and Airflow would show "
            "what it showed then",
            where=f"{run.spec.name}.promote_model",
            fix=f"Run it anew with {version} as partition key",
        )
    inputs = {"evidence": evidence}
    record.decide(run, Kind.QUESTION, found, Outcome.ASKED, [], actor=Actor.POLICY, inputs=inputs)
    return question.describe(run, found)


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
        inputs={"approves": given.approves, "at": given.at, "found": said, **record.said(given.comment)},
        follows=record.policy(run),
    )
    log.info("Version %s: %s", version, said)
    return Answered(outcome, said, max(policy.persons - len(approval.approvals(run, found)), 0))


def approve(run: Run, version: str) -> str:
    """Record that persons, or the policy of the environment, approve a version, as it was judged; the decision's id.

    Raises:
        UsageError: model.yaml asks for persons, and of those who may not enough have approved it in this run.
    """
    found = versions.get(run.spec, version)
    approved = require_persons(run, found, Kind.APPROVAL)
    reason, judged = Reason.APPROVED_BY_PERSON if approved else Reason.APPROVED_BY_POLICY, judged_release(run, found)
    return record.decide(
        run,
        Kind.APPROVAL,
        found,
        Outcome.APPROVED,
        [reason],
        actor=named(approved) or Actor.POLICY,
        inputs=record.said(comments(approved)) | ({"release": judged.recorded()} if judged else {}),
    )


def require_persons(run: Run, version: Version, kind: Kind) -> list[Answer]:
    """The answers by which a version is approved; none where the environment asks nobody."""
    if not gates.asks_person(run.spec, run.settings):
        return []
    approved, persons = approval.approvals(run, version), run.spec.approval.persons
    if len(approved) < persons:
        whom = "a person has" if persons == 1 else f"{persons} persons have"
        record.refuse(
            run,
            version,
            kind,
            Reason.NOT_APPROVED,
            f"{whom} to approve version {version.version} in {run.settings.environment}, and "
            f"{'none' if not approved else f'only {named(approved)}'} did",
            f"Run {run.spec.name}.promote_model with {version.version} as partition key, and answer its question",
        )
    return approved


def named(answers: Sequence[Answer]) -> str:
    return ", ".join(item.person for item in answers)


def comments(answers: Sequence[Answer]) -> str:
    """What who approved had to say; of several each with the name."""
    if len(answers) == 1:
        return answers[0].comment
    return "; ".join(f"{item.person}: {item.comment}" for item in answers if item.comment)
