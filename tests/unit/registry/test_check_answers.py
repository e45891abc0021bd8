"""A gate concludes from one answer to each of its checks, and from nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from include.core import catalogue
from include.core.errors import UsageError
from include.core.sections import AS_REGISTERED, Gate
from include.lakehouse import comparisons
from include.lakehouse.comparisons import Comparison, Finding
from include.lakehouse.decisions import Kind
from include.registry import check_answers, promotion, steps
from include.registry.check_answers import CheckAnswer
from include.registry.checks import CheckResult
from include.registry.release import Release
from tests.unit.registry.cases import another, decided, registered, with_gate
from tests.unit.training.stage import Scene

SPEC = catalogue.load("california_housing")
POLICY = check_answers._policy(SPEC)
COMPARED = Comparison("2", "1", 3, "adjusted_r2", 400, 0.01, -0.002, 0.03, 0.025, 0.003, 0.02, Finding.BETTER)


def passing(gate: Gate = "production", version: str = "2", beside: str | None = "1") -> list[CheckAnswer]:
    """An answer to each check of the gate."""
    return [
        CheckAnswer(gate, version, asked, POLICY, beside, "r", CheckResult(asked, True, "It is."))
        for asked in SPEC.gates.asked(gate)
    ]


def test_it_is_passed_if_every_check_is() -> None:
    verdict = check_answers.conclude(SPEC, "production", "2", reversed(passing()))
    assert (verdict.passed, verdict.compared_with) == (True, "1")
    assert [check.name for check in verdict.checks] == list(SPEC.gates.asked("production")), "in their order"


@pytest.mark.parametrize("place", range(len(SPEC.gates.asked("production"))))
def test_one_that_fails_fails_it(place: int) -> None:
    found = passing()
    found[place] = replace(found[place], result=replace(found[place].result, passed=False))
    verdict = check_answers.conclude(SPEC, "production", "2", found)
    assert not verdict.passed
    assert [check.name for check in verdict.failed] == [SPEC.gates.asked("production")[place]]


@pytest.mark.parametrize("place", range(len(SPEC.gates.asked("production"))))
def test_one_without_an_answer_lets_nothing_pass(place: int) -> None:
    """Its task was killed, timed out, or a person has marked it as a success."""
    found = passing()
    gone = found.pop(place)
    with pytest.raises(UsageError, match=rf"{gone.asked} has no answer.*Clear that task"):
        check_answers.conclude(SPEC, "production", "2", found)


def test_one_with_two_answers_that_differ_lets_nothing_pass() -> None:
    found = passing()
    other = replace(found[1], result=replace(found[1].result, passed=False))
    with pytest.raises(UsageError, match=f"{other.asked} has two answers that differ"):
        check_answers.conclude(SPEC, "production", "2", [other, *found])
    assert check_answers.conclude(SPEC, "production", "2", [found[1], *found]).passed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "3"}, "has no answer"),
        ({"gate": "staging"}, "has no answer"),
        ({"policy": "another"}, r"was asked by a model\.yaml whose gates were others"),
        ({"compared_with": "9"}, "production changed while its checks were asked: 1 and 9"),
        ({"compared_with": None}, "production changed while its checks were asked: 1 and none"),
    ],
)
def test_an_answer_about_something_else_is_none(changes: dict[str, Any], said: str) -> None:
    found = passing()
    found[3] = replace(found[3], **changes)
    with pytest.raises(UsageError, match=said):
        check_answers.conclude(SPEC, "production", "2", found)


def test_a_check_that_is_asked_again_once_the_version_serves_agrees_with_the_others() -> None:
    found = passing()
    found[3] = replace(found[3], compared_with="2")
    assert check_answers.conclude(SPEC, "production", "2", found).compared_with == "1"
    served = check_answers.conclude(SPEC, "production", "2", passing(beside="2"))
    assert (served.passed, served.compared_with) == (True, "2")


def test_of_what_is_not_the_version_nothing_else_is_told() -> None:
    found = passing()
    found[0] = replace(found[0], result=CheckResult(AS_REGISTERED, False, "A file is changed."))
    assert [check.name for check in check_answers.conclude(SPEC, "production", "2", found).checks] == [AS_REGISTERED]


def test_an_answer_about_another_release_is_none() -> None:
    """The features, the suite or the code has changed while the checks were asked."""
    judged = Release({})
    found = [replace(item, release=judged.digest) for item in passing()]
    check_answers.require_release(SPEC, "production", found, judged)
    found[3] = replace(found[3], release="before")
    with pytest.raises(UsageError, match=rf"since {found[3].asked} was asked, a part of the release has changed"):
        check_answers.require_release(SPEC, "production", found, judged)
    with pytest.raises(UsageError, match="a part of the release has changed"):
        check_answers.require_release(SPEC, "production", found, None)


def test_an_answer_is_the_same_after_it_was_handed_on() -> None:
    result = CheckResult("better", True, "It is.", 0.1, 0.0, COMPARED, (replace(COMPARED, slice="a = 1"),), "Is it?")
    found = CheckAnswer("production", "2", "better", POLICY, "1", "r", result)
    assert CheckAnswer.read(json.loads(json.dumps(found.told))) == found
    undefined = replace(found, result=CheckResult("better", False, "It is not.", float("nan")))
    assert CheckAnswer.read(undefined.told).result.value is None


def test_checks_of_one_name_are_told_apart() -> None:
    size = {"check": "size_within", "megabytes": 1}
    spec = with_gate(SPEC, "staging", size, "predicts", size, size)
    assert spec.gates.asked("staging") == (AS_REGISTERED, "size_within", "predicts", "size_within 2", "size_within 3")


def ask_apart(run: Any, version: str, gate: Gate) -> None:
    """Each check by a task of its own, in another order than they are listed."""
    for asked in reversed(run.spec.gates.asked(gate)):
        steps.run_check(run, version, gate, asked)


def test_checks_that_are_asked_apart_say_what_the_whole_gate_says(scene: Scene) -> None:
    run = registered(scene, "asked_apart")
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    for gate, whole in (("staging", steps.check_staging), ("production", steps.check_production)):
        ask_apart(run, "2", gate)
        apart = steps.conclude_gate(run, "2", gate)
        assert apart == whole(another(run, "a job"), "2")
        assert apart.passed
    (first, second) = decided(run, Kind.PRODUCTION_GATE)
    assert first.inputs == second.inputs
    assert first.inputs["compared_with"] == "1"
    with pytest.raises(UsageError, match="no answer"):
        steps.conclude_gate(another(run, "of another run"), "2", "production")
    assert len(decided(run, Kind.PRODUCTION_GATE)) == 2, "nothing is decided without"


def test_a_check_that_is_asked_again_has_spent_its_alpha_once(scene: Scene) -> None:
    """Its task was cleared, or killed after it had recorded what it compared."""
    run = registered(scene, "asked_again")
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    first, again = (steps.run_check(run, "2", "production", "better_than_production") for _ in range(2))
    assert first == again
    steps.run_check(run, "2", "production", "no_slice_worse_than_production")
    rows = comparisons.read(run.spec, run.lake, "1")
    assert {item.number for item in rows} == {1}
    assert [item.slice for item in rows].count(comparisons.ALL) == 1
    assert all(item.lower_bound < item.gain < item.upper_bound for item in rows)
    assert len(rows) > 3


def test_a_check_that_the_gate_does_not_ask(scene: Scene) -> None:
    run = registered(scene, "not_asked")
    with pytest.raises(UsageError, match=r"asks no check 'predicts'\. It asks as_registered, prediction_schema"):
        steps.run_check(run, "1", "production", "predicts")
