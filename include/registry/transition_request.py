"""A request that a version go to a stage, and its answer.

A person sets tags on a version in MLflow: `REQUEST` to Staging or Production, and, if they like, `COMMENT` and
`REQUESTED_BY`. Each request that can be answered becomes one run of ``promote_model``, whose id follows from the
request: whoever finds it again, after whatever was lost, asks for the same run, which Airflow makes once.

MLflow does not tell who set a tag. `REQUESTED_BY` is what somebody wrote there, and is kept as that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from include.core.text import on_one_line, shown
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Actor, Decision, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import open_requests, versions
from include.registry.open_requests import REQUEST
from include.registry.registration import subject
from include.registry.versions import Version

COMMENT, REQUESTED_BY = "transition.comment", "transition.requested_by"
ANSWER = "transition.answer"
"""The tag that answers, in a sentence; beside it ``.reasons``, and ``.decision``, which says which row has it all."""
RUN_ID = "request__"
"""What the id of a run that answers a request begins with."""
STAGING, PRODUCTION = "Staging", "Production"
TARGETS = (STAGING, PRODUCTION)
"""The stages that can be asked for."""
OTHER_STAGES = ("None", "Archived", "Rejected")
LONGEST_COMMENT, LONGEST_NAME = 500, 80
"""Characters that are kept."""


@dataclass(frozen=True)
class TransitionRequest:
    """One that a person made in MLflow."""

    version: str
    target: str
    """One of `TARGETS`; of one that is answered at once, what was written."""
    comment: str
    requested_by: str
    """A name, as somebody wrote it; empty where nobody did."""
    number: int
    """How many of the version were answered before."""

    @property
    def run_id(self) -> str:
        """Of the run that answers it: the same whenever, and by whomever, it is found."""
        return f"{RUN_ID}version_{self.version}_{self.target}_{self.number}"


Origin = Literal["person", "tag", "training"]
"""Who asks: a person in Airflow, whose name is known; a tag in MLflow, which anybody there may set; a training."""


@dataclass(frozen=True)
class Requested:
    """What a run was asked for."""

    target: str
    requested_by: str
    """A name; empty where nobody has one."""


@dataclass(frozen=True)
class TransitionAnswer:
    """What became of a request."""

    target: str
    outcome: Outcome
    reasons: Sequence[str]
    actor: str
    comment: str
    """Of whoever answered."""


def stage_of(written: str) -> str:
    """The stage that a text names, in any case; the text itself, cut, where it names none."""
    word = written.strip().casefold()
    return next((stage for stage in (*TARGETS, *OTHER_STAGES) if stage.casefold() == word), shown(written.strip()))


def one_line(text: str, longest: int) -> str:
    """What somebody wrote, as part of a line of the description and of a row."""
    joined = on_one_line(text)
    return joined if len(joined) <= longest else f"{joined[: longest - 1]}…"


def open_ones(run: Run) -> list[tuple[TransitionRequest, Version]]:
    """The requests that wait in MLflow, oldest version first."""
    # Answers are counted before the tags are read. An answer takes the tag away first and is recorded then: a tag that
    # is there after its answer was counted was set anew, and is the next request.
    answered = decisions.history(run.lake, run.spec.name, Kind.TRANSITION_ANSWER)
    found = []
    for asked in open_requests.versions(run.spec.name):
        version = versions.get(run.spec, asked.version)
        about = subject(version)
        number = sum(item.subject == about and bool(item.inputs.get("by_tag")) for item in answered)
        found.append((_tagged(asked, number), version))
    return found


def tagged(run: Run, version: Version, target: str) -> TransitionRequest | None:
    """The request for a stage that a version's tags make now; None where they make none."""
    tags = MlflowClient().get_model_version(run.spec.name, version.version)
    request = _tagged(tags, 0) if REQUEST in tags.tags else None
    return request if request and request.target == target else None


def _tagged(version: ModelVersion, number: int) -> TransitionRequest:
    return TransitionRequest(
        version=str(version.version),
        target=stage_of(version.tags[REQUEST]),
        comment=one_line(version.tags.get(COMMENT, ""), LONGEST_COMMENT),
        requested_by=one_line(version.tags.get(REQUESTED_BY, ""), LONGEST_NAME),
        number=number,
    )


def refusal(model: str, stage: str) -> tuple[Reason, str] | None:
    """Why a stage cannot be asked for, with a sentence that says what to do; None where it can."""
    if stage in OTHER_STAGES:
        return Reason.STAGE_NOT_ASKED_FOR, (
            f"{stage} cannot be asked for, only {' or '.join(TARGETS)}: a version leaves production when another one "
            f"takes its place, by {model}.roll_back_model or a request for that one"
        )
    if stage not in TARGETS:
        return Reason.UNKNOWN_STAGE, f"there is no stage {stage!r}: set {REQUEST} to {' or '.join(TARGETS)}"
    return None


def answer_at_once(run: Run, request: TransitionRequest, version: Version) -> TransitionAnswer | None:
    """The answer to a request that needs no gates: it cannot be, or already is; None where it needs them."""
    serving = alias_history.current(run.lake, run.spec.name)
    if refused := refusal(run.spec.name, request.target):
        reason, said = refused
        return TransitionAnswer(request.target, Outcome.REFUSED, [reason], Actor.POLICY, said)
    if serving is not None and serving.version == version.version:
        reason, said = Reason.ALREADY_IN_PRODUCTION, f"version {version.version} is in production"
        if request.target == STAGING:
            said += f"; {run.spec.name}.roll_back_model puts another one there"
    elif request.target == STAGING and version.stage == STAGING:
        reason, said = Reason.ALREADY_IN_STAGING, f"version {version.version} is in Staging"
    else:
        return None
    return TransitionAnswer(request.target, Outcome.NO_ACTION, [reason], Actor.POLICY, said)


def requested(run: Run, version: Version) -> Decision | None:
    """The request that a run is about, as it was recorded."""
    return next(iter(_decided(run, version, Kind.TRANSITION_REQUEST)), None)


def answer_of(run: Run, version: Version, target: str) -> TransitionAnswer:
    """What a run has decided, by its own rows in `decisions`: that of the gates and the person, or that it has not."""
    promoted, rejected, staging = (
        _decided(run, version, kind) for kind in (Kind.PROMOTION, Kind.REJECTION, Kind.STAGING_GATE)
    )
    done = [item for item in promoted if item.outcome in (Outcome.PROMOTED, Outcome.NO_ACTION)]
    if target == STAGING:
        done = [item for item in staging if item.outcome == Outcome.PASSED]
    last = max([*done, *rejected], key=lambda item: item.recorded_at, default=None)
    if last is None:
        return TransitionAnswer(target, Outcome.FAILED, [Reason.RUN_FAILED], Actor.POLICY, "")
    outcome = Outcome.REJECTED if last.kind == Kind.REJECTION else Outcome.APPROVED
    return TransitionAnswer(
        target, outcome, last.reasons, last.actor, one_line(last.inputs.get("comment", ""), LONGEST_COMMENT)
    )


def close(run: Run, version: str, target: str) -> None:
    """Take a request's tags away, so that they may be set again; not those of a request for another stage."""
    client, tags = MlflowClient(), versions.get(run.spec, version).tags
    if REQUEST in tags and stage_of(tags[REQUEST]) == target:
        for tag in (COMMENT, REQUESTED_BY, REQUEST):  # the one that is looked for last
            if tag in tags:
                client.delete_model_version_tag(run.spec.name, version, tag)


def ask(run: Run, version: str, target: str, comment: str, requested_by: str) -> None:
    """Set the tags as a person does in MLflow, the one that is looked for last."""
    client = MlflowClient()
    for tag, value in ((COMMENT, comment), (REQUESTED_BY, requested_by), (REQUEST, target)):
        if value:
            client.set_model_version_tag(run.spec.name, version, tag, value)


def _decided(run: Run, version: Version, kind: Kind) -> list[Decision]:
    about = subject(version)
    return decisions.history(run.lake, run.spec.name, kind, since=version.known_at, subject=about, run_id=run.run_id)
