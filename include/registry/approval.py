"""What persons answered to the question whether a version goes into production, and whether that suffices.

Each answer is a row of `decisions`, also one that does not count. A promotion reads them there: what a task was handed
of names says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.core.approval import Approval
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Decision, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry.registration import subject
from include.registry.versions import Version


@dataclass(frozen=True)
class Answer:
    """What a person answered."""

    person: str
    """The name that Airflow knows them by."""
    approves: bool
    comment: str
    at: datetime
    """By the clock, UTC; with it a repetition of the step that records it is known for one."""


@dataclass(frozen=True)
class Answered:
    """What follows from an answer."""

    outcome: Outcome
    """`Outcome.APPROVED`, `REJECTED`, or `REFUSED`: then it does not count, and somebody else has to answer."""
    why: str
    """A sentence."""
    missing: int
    """How many more persons have to approve."""


def refusal(policy: Approval, answer: Answer, requester: str | None, approved: Sequence[str]) -> Reason | None:
    """Why an answer does not count, or None.

    Who may not approve a version may not turn it down either, or anybody could stop another one's work. But who asked
    for it may take that back, and who has approved may think better of it.

    Args:
        requester: who asked for the promotion; None where it was no person.
        approved: who has approved already.
    """
    if policy.approvers and answer.person not in policy.approvers:
        return Reason.NO_APPROVER
    if not answer.approves:
        return None
    if _same(answer.person, requester) and not policy.requester_approves:
        return Reason.OWN_REQUEST
    if any(_same(answer.person, name) for name in approved) and len(approved) < policy.persons:
        return Reason.APPROVED_BEFORE
    return None


def _same(name: str, other: str | None) -> bool:
    return other is not None and name.casefold() == other.casefold()


def said(policy: Approval, answer: Answer, reason: Reason | None) -> str:
    """What follows from an answer, in a sentence."""
    who = answer.person
    match reason:
        case Reason.NO_APPROVER:
            return f"{who} is not among the approvers of model.yaml: {', '.join(policy.approvers)}"
        case Reason.OWN_REQUEST:
            return f"{who} asked for this promotion, so somebody else has to approve it"
        case Reason.APPROVED_BEFORE:
            return f"{who} has approved already, and {policy.persons} persons have to"
        case _:
            return f"{who} {'approves' if answer.approves else 'rejects'}"


def requester(run: Run, version: Version) -> str | None:
    """The person who asked for the promotion: who started the run, where no request names another; None for none."""
    for item in _of(run, version):
        if item.kind == Kind.TRANSITION_REQUEST:
            if item.actor == Actor.TRAINING:
                return None
            if item.inputs.get("requester"):
                return str(item.inputs["requester"])
    return None if run.person == Actor.PERSON else run.person


def approvals(run: Run, version: Version) -> list[Answer]:
    """The answers of this run by which the version is approved, one a person.

    Held anew against model.yaml as it is now. None counts from before somebody rejected it, or from before its gate
    concluded last in this run: then there was other evidence, or none.
    """
    found: dict[str, Answer] = {}
    asked_by = requester(run, version)
    gate = [item.recorded_at for item in _of(run, version) if item.kind == Kind.PRODUCTION_GATE]
    for outcome, answer in answers(run, version):
        if not gate or answer.at < max(gate):
            continue
        if outcome == Outcome.REJECTED:
            found = {}
        elif outcome == Outcome.APPROVED and refusal(run.spec.approval, answer, asked_by, ()) is None:
            found.setdefault(answer.person, answer)
    return list(found.values())


def is_last_word(run: Run, version: Version) -> bool:
    """Whether what was said last of a version, in whatever run, is that a person approves it."""
    about, words = subject(version), (Kind.APPROVAL, Kind.REJECTION, Kind.ANSWER)
    made = decisions.history(run.lake, run.spec.name, since=version.known_at)
    said = [item for item in made if item.kind in words and item.subject.partition(",")[0] == about]
    counted = [item for item in said if item.outcome != Outcome.REFUSED]
    last = max(counted, key=lambda item: item.recorded_at, default=None)
    return last is not None and last.outcome == Outcome.APPROVED and last.actor not in set(Actor)


def rejection(run: Run, version: Version) -> Answer | None:
    """The last answer of this run that counts, if it is a no."""
    counted = [(outcome, answer) for outcome, answer in answers(run, version) if outcome != Outcome.REFUSED]
    return counted[-1][1] if counted and counted[-1][0] == Outcome.REJECTED else None


def answers(run: Run, version: Version) -> list[tuple[str, Answer]]:
    """All answers of this run with what followed from each, oldest first."""
    found = [
        (
            item.outcome,
            Answer(
                item.actor,
                bool(item.inputs["approves"]),
                str(item.inputs.get("comment", "")),
                datetime.fromisoformat(item.inputs["at"]),
            ),
        )
        for item in _of(run, version)
        if item.kind == Kind.ANSWER
    ]
    return sorted(found, key=lambda item: item[1].at)


def subject_of(version: Version, answer: Answer) -> str:
    """Of the decision on an answer: a person may answer twice in a run, and each answer is kept."""
    return f"{subject(version)}, answer at {answer.at.isoformat()}"


def _of(run: Run, version: Version) -> list[Decision]:
    about = subject(version)
    found = decisions.history(run.lake, run.spec.name, since=version.known_at, run_id=run.run_id)
    return [item for item in found if item.subject.partition(",")[0] == about]
