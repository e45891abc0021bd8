"""A version is wanted in a stage: asked for, found, recorded and answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from include.core.errors import UsageError
from include.core.text import shown
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import transition_request, versions
from include.registry.registration import subject
from include.registry.steps import record
from include.registry.transition_request import Origin, Requested, TransitionAnswer, TransitionRequest
from include.registry.versions import Version

log = logging.getLogger(__name__)


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
    origin: Origin = "person",
) -> Requested:
    """Record that a version is wanted in a stage.

    Args:
        comment: of a person.
        requested_by: the person. Who asks by tag, and why, the version's tags say: nobody else is believed.

    Raises:
        UsageError: no such version; or its tags ask for that stage no more.
    """
    found = versions.get(run.spec, version)
    if origin == "tag":
        tagged = transition_request.tagged(run, found, target)
        if tagged is None:
            return _recorded_before(run, found, target)
        comment, requested_by = tagged.comment, tagged.requested_by
    actor = {"tag": Actor.PERSON, "training": Actor.TRAINING, "person": requested_by or run.person}[origin]
    inputs = {"target": target, "requester": requested_by, "comment": comment, "by_tag": origin == "tag"}
    reasons = [Reason.ASKED_FOR]
    kind, outcome = Kind.TRANSITION_REQUEST, Outcome.REQUEST_TRANSITION
    record.decide(run, kind, found, outcome, reasons, actor=actor, inputs=inputs)
    who, why = shown(requested_by or actor), shown(comment or "no comment")
    log.info("Version %s is wanted in %s, by %s: %s", version, target, who, why)
    return Requested(target, requested_by or ("training" if origin == "training" else ""))


def _recorded_before(run: Run, version: Version, target: str) -> Requested:
    """The request of a run that is repeated once it is answered, and its tags are gone."""
    made = transition_request.requested(run, version)
    if made is None or made.inputs["target"] != target:
        raise UsageError(
            f"version {version.version} has no tag that asks for {target}: it was taken back, or answered by now",
            where=run.spec.name,
            fix=f"Set {transition_request.REQUEST} on the version in MLflow, if it is wanted still",
        )
    return Requested(target, made.inputs["requester"])


def answer_request(run: Run, version: str) -> TransitionAnswer | None:
    """Say on the version what became of the run's request, and take the request away; None where there is none.

    A run that came to no answer says that, too: the request can be made again. One that did not get so far as to
    record its request leaves it where it is, for another run.
    """
    found = versions.find(run.spec, version)
    request = transition_request.requested(run, found) if found else None
    if found is None or request is None:
        log.info("There is no request to answer: it was not recorded, or version %s is gone", version)
        if found and run.run_id.startswith(transition_request.RUN_ID):
            nothing = TransitionAnswer("", Outcome.FAILED, [Reason.RUN_FAILED], Actor.POLICY, "")
            _record_answer(run, found, nothing, {"comment": "", "requester": "", "by_tag": True})
        return None
    answer = transition_request.answer_of(run, found, request.inputs["target"])
    # In this order: `transition_request.open_ones` relies on it, and a retry finds the request in `decisions`.
    _say_answer(run, found, answer, request.inputs)
    _record_answer(run, found, answer, request.inputs)
    return answer


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
    inputs = {"target": answer.target, "asked": dict(asked), "by_tag": asked["by_tag"], **record.said(answer.comment)}
    record.decide(
        run, Kind.TRANSITION_ANSWER, version, answer.outcome, answer.reasons, actor=answer.actor, inputs=inputs
    )
