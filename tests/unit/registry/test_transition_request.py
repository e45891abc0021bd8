"""Asked in MLflow, answered there: nothing is lost, nothing is answered twice, and a request made again is another."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

import pytest
from mlflow import MlflowClient

from include.core.errors import UsageError
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.registry import open_requests, promotion, steps, transition_request, versions
from include.registry.approval import Answer
from include.registry.steps import record
from include.registry.transition_request import ANSWER, COMMENT, REQUEST, REQUESTED_BY, Requested
from tests.unit.registry.cases import another, decided, outcomes, registered
from tests.unit.training.stage import Scene

pytestmark = pytest.mark.slow


def ask(run: Run, version: str, target: str, **tags: str) -> None:
    client = MlflowClient()
    for name, value in tags.items():
        client.set_model_version_tag(run.spec.name, version, f"transition.{name}", value)
    client.set_model_version_tag(run.spec.name, version, REQUEST, target)


def tags_of(run: Run, version: str) -> dict[str, str]:
    """Those of the request."""
    return {name: text for name, text in versions.get(run.spec, version).tags.items() if name.startswith("transition")}


def start(run: Run, version: str, run_id: str = "answering") -> Run:
    """A run of promote_model for the one open request."""
    (found,) = steps.collect_requests(run)
    answering = another(run, run_id)
    requested = steps.record_request(answering, version, found.target, origin="tag")
    assert requested == Requested(found.target, found.requested_by)
    return answering


def test_a_request_of_mlflow_is_found_with_what_was_said(scene: Scene) -> None:
    run = registered(scene, "asked_in_mlflow")
    assert steps.collect_requests(run) == []
    ask(run, "2", " production", comment="looks\n\nbetter", requested_by="Ada")
    (found,) = steps.collect_requests(run)
    assert (found.version, found.target, found.comment, found.requested_by) == (
        "2",
        "Production",
        "looks better",
        "Ada",
    )
    assert open_requests.look(run.spec.name) == {"2": " production"}
    assert steps.collect_requests(another(run, "again")) == [found]
    assert found.run_id == "request__version_2_Production_0"
    assert decided(run) == []


def test_a_request_for_production_is_approved_on_the_version_and_in_decisions(scene: Scene) -> None:
    run = registered(scene, "approved_request", "prod")
    ask(run, "1", "Production", comment="please", requested_by="Ada")
    answering = start(run, "1")
    steps.check_staging(answering, "1")
    steps.move_to_staging(answering, "1")
    steps.check_production(answering, "1")
    told = steps.answer(answering, "1", Answer("Ada", True, "mine", datetime.now(UTC)))
    assert (told.outcome, told.why[:24]) == (Outcome.REFUSED, "Ada asked for this promo")
    steps.answer(answering, "1", Answer("Grace", True, "fine", datetime.now(UTC)))
    steps.promote(answering, "1")
    answer = steps.answer_request(answering, "1")
    assert answer is not None
    assert (answer.outcome, answer.actor, answer.comment) == (Outcome.APPROVED, "Grace", "fine")
    (asked,) = decided(run, Kind.TRANSITION_REQUEST)
    assert (asked.actor, asked.outcome) == ("person", "request_transition")
    assert asked.inputs == {"target": "Production", "requester": "Ada", "comment": "please", "by_tag": True}
    (kept,) = decided(run, Kind.TRANSITION_ANSWER)
    assert (kept.actor, kept.outcome, kept.reasons) == ("Grace", "approved", ["passed_all_gates"])
    assert kept.inputs["asked"] == asked.inputs
    found = tags_of(run, "1")
    assert found == {
        ANSWER: "Production, asked for by Ada, is approved by Grace: passed_all_gates (fine)",
        f"{ANSWER}.decision": kept.decision_id,
    }
    assert f"- **Request:** {found[ANSWER]} (decision {kept.decision_id})" in versions.get(run.spec, "1").description


def test_a_request_that_a_gate_rejects_says_by_which_check(scene: Scene) -> None:
    run = registered(scene, "rejected_request")
    client = MlflowClient()
    client.update_model_version(run.spec.name, "2", description="")
    ask(run, "2", "Production")
    answering = start(run, "2")
    assert not steps.check_staging(answering, "2").passed
    steps.reject(answering, "2")
    answer = steps.answer_request(answering, "2")
    assert answer is not None
    assert (answer.outcome, answer.actor) == (Outcome.REJECTED, "gate")
    assert tags_of(run, "2")[ANSWER].startswith("Production, asked for by a person, is rejected by gate: check:")


def test_a_request_for_staging_ends_there(scene: Scene) -> None:
    run = registered(scene, "staging_request")
    ask(run, "1", "Staging")
    answering = start(run, "1")
    steps.check_staging(answering, "1")
    steps.move_to_staging(answering, "1")
    answer = steps.answer_request(answering, "1")
    assert answer is not None
    assert (answer.target, answer.outcome) == ("Staging", Outcome.APPROVED)
    assert versions.production(run.spec) is None
    assert REQUEST not in tags_of(run, "1")


def test_a_run_that_comes_to_no_end_says_so_and_the_request_can_be_made_again(scene: Scene) -> None:
    run = registered(scene, "failed_request")
    ask(run, "1", "Production")
    answering = start(run, "1")
    steps.check_staging(answering, "1")
    answer = steps.answer_request(answering, "1")
    assert answer is not None
    assert (answer.outcome, list(answer.reasons)) == (Outcome.FAILED, ["run_failed"])
    ask(run, "1", "Production")
    (anew,) = steps.collect_requests(run)
    assert anew.run_id == "request__version_1_Production_1"


@pytest.mark.parametrize("stopped_before", ["note", "close", "decide"])
def test_an_answer_that_is_interrupted_is_given_once_and_the_request_stays_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, stopped_before: str
) -> None:
    """Until its answer is recorded, whoever looks asks for the same run."""
    run = registered(scene, f"interrupted_{stopped_before}")
    ask(run, "1", "Staging")
    before = [item.run_id for item in steps.collect_requests(run)]
    answering = start(run, "1", before[0])
    steps.check_staging(answering, "1")
    where = {"note": versions, "close": transition_request, "decide": record}[stopped_before]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, stopped_before, killed)
        with pytest.raises(KeyboardInterrupt):
            steps.answer_request(answering, "1")
    assert [item.run_id for item in steps.collect_requests(run)] in (before, [])
    for _ in range(2):
        steps.answer_request(answering, "1")
    assert len(decided(run, Kind.TRANSITION_ANSWER)) == 1
    assert steps.collect_requests(run) == []


def test_an_answer_leaves_a_request_for_another_stage_that_was_made_meanwhile(scene: Scene) -> None:
    run = registered(scene, "meanwhile")
    ask(run, "1", "Staging")
    answering = start(run, "1")
    steps.check_staging(answering, "1")
    steps.move_to_staging(answering, "1")
    ask(run, "1", "Production", comment="and further")
    steps.answer_request(answering, "1")
    (open_one,) = steps.collect_requests(run)
    assert (open_one.target, open_one.comment) == ("Production", "and further")


@pytest.mark.parametrize(
    ("target", "reason", "said"),
    [
        ("prod", "unknown_stage", r"there is no stage 'prod': set transition.request to Staging or Production"),
        ("", "unknown_stage", r"there is no stage ''"),
        ("x" * 3000, "unknown_stage", r"there is no stage 'x{79}…'"),
        ("Archived", "stage_not_asked_for", r"by refused_\w+\.roll_back_model"),
        ("none", "stage_not_asked_for", r"None cannot be asked for"),
    ],
)
def test_what_cannot_be_asked_for_is_said_on_the_version(scene: Scene, target: str, reason: str, said: str) -> None:
    run = registered(scene, f"refused_{hashlib.sha256(target.encode()).hexdigest()[:8]}")
    ask(run, "1", target)
    assert steps.collect_requests(run) == []
    found = tags_of(run, "1")
    assert REQUEST not in found
    assert re.search(said, found[ANSWER])
    (answer,) = decided(run, Kind.TRANSITION_ANSWER)
    assert (answer.outcome, answer.reasons) == ("refused", [reason])


def test_a_version_that_is_there_already_needs_no_gates(scene: Scene) -> None:
    run = registered(scene, "there_already")
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    versions.set_stage(run.spec, "2", "Staging")
    for version, target in (("1", "Production"), ("2", "Staging")):
        ask(run, version, target)
    assert steps.collect_requests(run) == []
    assert outcomes(run, Kind.TRANSITION_ANSWER) == [
        ("version 1", "no_action", ["already_in_production"]),
        ("version 2", "no_action", ["already_in_staging"]),
    ]
    ask(run, "1", "Staging")
    assert steps.collect_requests(another(run, "third")) == []
    assert "roll_back_model puts another one there" in tags_of(run, "1")[ANSWER]
    assert promotion.in_production(run.spec, run.lake).version == "1"


def test_of_a_version_that_is_gone_nothing_is_answered(scene: Scene) -> None:
    run = registered(scene, "gone")
    steps.record_request(run, "2")
    MlflowClient().delete_model_version(run.spec.name, "2")
    assert steps.answer_request(run, "2") is None
    with pytest.raises(UsageError, match="there is no version 2"):
        steps.record_request(run, "2")


def test_a_request_from_the_command_line_is_one_of_mlflow(scene: Scene) -> None:
    run = registered(scene, "by_command")
    with pytest.raises(UsageError, match="there is no stage 'prod'"):
        steps.request_transition(run, "1", "prod")
    steps.request_transition(run, "1", "staging", "why not", "Ada")
    assert tags_of(run, "1") == {REQUEST: "Staging", COMMENT: "why not", REQUESTED_BY: "Ada"}
    (found,) = steps.collect_requests(run)
    assert (found.target, found.requested_by) == ("Staging", "Ada")


def test_a_request_that_was_not_by_tag_leaves_the_tags_and_counts_for_none(scene: Scene) -> None:
    run = registered(scene, "not_by_tag")
    ask(run, "1", "Production")
    steps.record_request(run, "1", "Production", requested_by="training")
    assert decided(run, Kind.TRANSITION_REQUEST)[0].actor == "training"
    steps.answer_request(run, "1")
    (still_open,) = steps.collect_requests(run)
    assert still_open.number == 0
    assert len(decisions.history(run.lake, run.spec.name, Kind.TRANSITION_ANSWER)) == 1


def test_a_run_that_does_not_come_so_far_as_to_record_its_request_leaves_it_to_another(scene: Scene) -> None:
    """MLflow fails, or the run of that id is somebody else's: a run of the same id would never be started again."""
    run = registered(scene, "not_recorded")
    ask(run, "1", "Staging", requested_by="Ada")
    (first,) = steps.collect_requests(run)
    assert steps.answer_request(another(run, first.run_id), "1") is None
    assert REQUEST in tags_of(run, "1")
    (second,) = steps.collect_requests(run)
    assert (first.run_id[-1], second.run_id[-1]) == ("0", "1")
    assert steps.answer_request(another(run, "by hand"), "1") is None
    assert steps.collect_requests(run) == [second]


def test_what_is_asked_no_more_is_not_recorded(scene: Scene) -> None:
    run = registered(scene, "taken_back")
    ask(run, "1", "Staging")
    for target in ("Production", "Staging"):
        if target == "Staging":
            MlflowClient().delete_model_version_tag(run.spec.name, "1", REQUEST)
        with pytest.raises(UsageError, match=f"no tag that asks for {target}"):
            steps.record_request(run, "1", target, origin="tag")
    assert decided(run) == []


def test_a_request_that_is_recorded_again_once_it_is_answered_stays_as_it_was(scene: Scene) -> None:
    """Its task is cleared."""
    run = registered(scene, "cleared")
    ask(run, "1", "Staging", requested_by="Ada")
    answering = start(run, "1")
    steps.answer_request(answering, "1")
    before = decided(run, Kind.TRANSITION_REQUEST)
    assert steps.record_request(answering, "1", "Staging", origin="tag") == Requested("Staging", "Ada")
    assert decided(run, Kind.TRANSITION_REQUEST) == before
