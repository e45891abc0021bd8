"""Persons decide: who may, how many have to, and what is kept of answers that do not count."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from include.core.errors import UsageError
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.registry import steps, versions
from tests.unit.registry.cases import another, answered, decided, outcomes, registered, with_approval, with_gate
from tests.unit.training.stage import Scene

pytestmark = pytest.mark.slow


def asked(scene: Scene, name: str, **rules: object) -> Run:
    """A run that rita has started, and whose gates version 1 has passed."""
    run = replace(with_approval(registered(scene, name, "prod"), **rules), person="rita")
    assert steps.check_staging(run, "1").passed
    steps.move_to_staging(run, "1")
    assert steps.check_production(run, "1").passed
    return run


def refused(run: Run, *, did: str = "none") -> None:
    """The version is not promoted, and the refusal is recorded."""
    with pytest.raises(UsageError, match=rf"to approve version 1 in prod, and {did} did"):
        steps.promote(run, "1")
    assert versions.production(run.spec) is None
    assert outcomes(run, Kind.PROMOTION) == [("version 1", "refused", ["not_approved"])]


def test_who_is_no_approver_neither_approves_nor_rejects(scene: Scene) -> None:
    run = asked(scene, "no_approver", approvers=("ada", "grace"))
    for approves in (True, False):
        told = steps.answer(run, "1", answered("mallory", approves))
        assert (told.outcome, told.missing) == (Outcome.REFUSED, 1)
        assert told.why == "mallory is not among the approvers of model.yaml: ada, grace"
    kept = [(item.actor, item.outcome, item.reasons) for item in decided(run, Kind.ANSWER)]
    assert kept == [("mallory", "refused", ["no_approver"])] * 2
    refused(run)
    assert steps.reject(run, "1") == ["no_answer"], "what does not count is no rejection"
    assert steps.answer(run, "1", answered("ada")).outcome is Outcome.APPROVED
    assert steps.promote(run, "1").changed


def test_who_asked_does_not_approve_but_may_take_it_back(scene: Scene) -> None:
    run = asked(scene, "requester")
    told = steps.answer(run, "1", answered("rita"))
    assert (told.outcome, told.why) == (
        Outcome.REFUSED,
        "rita asked for this promotion, so somebody else has to approve it",
    )
    refused(run)
    assert steps.answer(run, "1", answered("rita", False)).outcome is Outcome.REJECTED
    (rejected,) = [steps.reject(run, "1")]
    assert rejected == ["not_approved"]
    assert decided(run, Kind.REJECTION)[-1].actor == "rita"


def test_a_model_may_let_who_asked_approve(scene: Scene) -> None:
    run = asked(scene, "lenient_requester", requester_approves=True)
    assert steps.answer(run, "1", answered("rita")).outcome is Outcome.APPROVED
    assert steps.promote(run, "1").changed


def test_two_persons_are_two(scene: Scene) -> None:
    run = asked(scene, "two", persons=2)
    assert steps.answer(run, "1", answered("ada", comment="good")).missing == 1
    refused(run, did="only ada")
    again = steps.answer(run, "1", answered("ada"))
    assert (again.outcome, again.why) == (Outcome.REFUSED, "ada has approved already, and 2 persons have to")
    assert steps.answer(run, "1", answered("grace", comment="fine")).missing == 0
    assert steps.promote(run, "1").changed
    (approval,) = decided(run, Kind.APPROVAL)
    assert (approval.outcome, approval.actor) == ("approved", "ada, grace")
    assert approval.inputs["comment"] == "ada: good; grace: fine"
    assert decided(run, Kind.PROMOTION)[-1].actor == "ada, grace"


def test_the_second_no_ends_it_and_the_first_yes_counts_no_more(scene: Scene) -> None:
    run = asked(scene, "second_no", persons=2)
    steps.answer(run, "1", answered("ada"))
    assert steps.answer(run, "1", answered("grace", False)).outcome is Outcome.REJECTED
    assert steps.reject(run, "1") == ["not_approved"]
    steps.answer(run, "1", answered("ada"))
    refused(run, did="only ada")


def test_an_answer_that_is_recorded_twice_is_one(scene: Scene) -> None:
    """The task is killed after it has recorded, and does so again."""
    run, once = asked(scene, "twice", persons=2), answered("ada")
    assert [steps.answer(run, "1", once).outcome for _ in range(2)] == [Outcome.APPROVED] * 2
    assert len(decided(run, Kind.ANSWER)) == 1


def test_an_answer_counts_for_its_run_and_for_what_its_gate_has_found(scene: Scene) -> None:
    run = asked(scene, "other_evidence")
    steps.answer(run, "1", answered("ada"))
    refused(another(run, "later"))
    assert steps.check_production(run, "1").passed
    with pytest.raises(UsageError, match="and none did"):
        steps.promote(run, "1")


def test_an_answer_of_a_run_whose_gate_did_not_conclude_counts_for_nothing(scene: Scene) -> None:
    """Its gate was marked as a success, or skipped: another run's has judged something else."""
    run = asked(scene, "no_gate_of_its_own")
    other = another(run, "other")
    steps.answer(other, "1", answered("ada"))
    refused(other)


def test_a_question_is_asked_on_one_evidence_alone(scene: Scene) -> None:
    """Airflow shows a question that is asked again as it was at first."""
    run = asked(scene, "one_evidence")
    assert steps.describe_question(run, "1") == steps.describe_question(run, "1")
    changed = with_gate(run.spec, "production", {"check": "above_threshold", "threshold": 0.1})
    run = replace(run, spec=changed)
    steps.check_production(run, "1")
    with pytest.raises(UsageError, match=r"another one than when this run asked first.*Run it anew with 1"):
        steps.describe_question(run, "1")
    steps.check_staging(another(run, "anew"), "1")
    steps.check_production(another(run, "anew"), "1")
    assert "0.1" in steps.describe_question(another(run, "anew"), "1")


def test_what_was_promoted_by_a_person_stays_theirs_whatever_is_cleared_later(scene: Scene) -> None:
    run = asked(scene, "stays_theirs")
    steps.answer(run, "1", answered("ada", comment="good"))
    steps.promote(run, "1")
    before = decided(run, Kind.PROMOTION)
    steps.check_production(run, "1")
    steps.promote(run, "1")
    assert decided(run, Kind.PROMOTION) == before
    assert (before[0].actor, before[0].inputs["comment"]) == ("ada", "good")


@pytest.mark.parametrize("name", ["policy", "person", "RITA"])
def test_who_asks_does_not_approve_whatever_the_name(scene: Scene, name: str) -> None:
    run = replace(asked(scene, f"own_{name}".lower()), person=name.lower())
    steps.record_request(run, "1", requested_by=name.lower())
    assert steps.answer(run, "1", answered(name)).outcome is Outcome.REFUSED


def test_an_approver_who_is_none_any_more_has_not_approved(scene: Scene) -> None:
    run = asked(scene, "no_more")
    steps.answer(run, "1", answered("ada"))
    changed = with_approval(run, approvers=("grace",))
    with pytest.raises(UsageError, match=r"gates or approval were others"):
        steps.promote(changed, "1")
    with pytest.raises(UsageError, match="and none did"):
        steps.approve(changed, "1")


def test_the_question_has_the_evidence_and_nothing_acts_in_it(scene: Scene) -> None:
    run = asked(scene, "evidence", approvers=("ada", "grace"), persons=2)
    steps.answer(run, "1", answered("ada", comment="![x](https://elsewhere.test/p.png) <b>"))
    shown = steps.describe_question(run, "1")
    assert "Asked for by rita, who may not approve it. ada, grace may answer; 2 persons have to approve." in shown
    assert "No answer within 3 days is a no." in shown
    assert "**Against production:** no version is there yet." in shown
    assert re.search(r"\| above_threshold \| Is its metric .*\? \| 0\.\d+ \| 0\.\d+ \| passed \| Adjusted R2", shown)
    assert re.search(r"\| has_signature \| Does it say .* \|  \|  \| passed \|", shown)
    assert "**Drift**, window 2025-01-04 in which nothing was scored: adjusted R2 unknown; drifted: nothing." in shown
    assert "Approved by ada: !\\[x](https:" in shown
    assert "https://" not in shown
    assert "\\<b>" in shown


def test_the_question_says_how_much_better_than_production_it_is(scene: Scene) -> None:
    run = asked(scene, "better")
    steps.answer(run, "1", answered("ada"))
    steps.promote(run, "1")
    second = another(run, "second")
    steps.check_production(second, "2")
    shown = steps.describe_question(second, "2")
    assert "| against version | gain in adjusted R2 | surely more than |" in shown
    assert "\n| 1 | 0." in shown
