"""A decision of the policy is taken again from what it recorded, and from nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from include.core import catalogue
from include.evaluation import metrics
from include.jobs import replay_decisions
from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind, canonical_json
from include.monitoring import policy
from include.monitoring.replay import recorded, replay
from tests.unit.monitoring.scene import DAY, Scene
from tests.unit.monitoring.test_policy import NOW, Case, cases, monitoring, window
from tests.unit.monitoring.test_steps import play


@given(cases)
def test_what_was_recorded_is_all_that_the_policy_took(case: Case) -> None:
    spec = catalogue.load("california_housing").model_copy(
        update={"monitoring": monitoring(case.rules), "metric": "r2"}
    )
    current, history = window(1, case.score, *case.drifted), [item for item in case.history if item.labelled]
    given = {"production": "1", "requests": list(case.requests)}
    verdict = policy.decide(spec.monitoring, metrics.of(spec), current, history=history, at=NOW, **given)
    looked_back = {item.partition.key: item.metric for item in history}
    inputs = recorded(spec, window=current, looked_back=looked_back, verdict=verdict, **given)
    stored = Decision(
        "", NOW, NOW, spec.name, Kind.RETRAINING_POLICY, current.partition.key, verdict.outcome, verdict.reasons,
        json.loads(canonical_json(inputs)), "policy", "", "",
    )  # fmt: skip
    found = replay(catalogue.load("california_housing").model_copy(update={"monitoring": spec.monitoring}), stored)
    assert found is not None
    assert found.is_same
    assert (found.again.outcome, found.again.reasons) == (verdict.outcome, verdict.reasons)
    assert not found.differs_today


@pytest.fixture
def played(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Five days: degraded and drifted from the second on, so that a training is asked for on the third."""
    for place in range(5):
        play(scene, DAY.shift(place), noise=200 if place else 20, drifted=place > 0, seed=place + 1)
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", scene.lake._root)
    monkeypatch.setattr(catalogue, "registered", lambda: (scene.spec.name,))
    monkeypatch.setattr(catalogue, "load", lambda name: scene.spec)
    return scene


def test_every_decision_is_the_same_again(played: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay_decisions.main(["--model", played.spec.name]) == 0
    assert capsys.readouterr().out == f"{played.spec.name}: 5 of 5 decisions taken again, 5 as before\n"


def test_a_changed_policy_says_which_decisions_would_differ(
    played: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = played.spec.monitoring.model_dump()
    changed["retraining"] |= {"below_windows": 1, "of_windows": 1}
    monkeypatch.setattr(catalogue, "load", lambda name: played.changed(monitoring=changed).spec)
    assert replay_decisions.main(["--model", played.spec.name]) == 0
    said = capsys.readouterr().out
    assert "5 of 5 decisions taken again, 5 as before" in said
    (line,) = [line for line in said.splitlines() if line.startswith(DAY.shift(1).key)]
    assert "record_drift (waiting_for_n_of_m)  request_retraining (harmful_drift)" in line


def test_what_says_something_else_or_lacks_what_it_took_is_told(
    played: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    known = decisions.history(played.lake, played.spec.name, Kind.RETRAINING_POLICY)
    run = played.run(DAY.shift(2))
    asked = next(item for item in known if item.subject == run.partition.key)
    assert asked.outcome == "request_retraining"
    forged = {**asked.inputs, "looked_back": {DAY.key: 0.9}}
    for run_id, inputs in (("forged", forged), ("of before", {"verdict": asked.inputs["verdict"]})):
        played.run(run.partition, run_id).decide(
            Kind.RETRAINING_POLICY, asked.outcome, asked.reasons, at=asked.decided_at, inputs=inputs
        )
    assert replay_decisions.main(["--model", played.spec.name]) == 1
    said = capsys.readouterr().out
    assert "6 of 7 decisions taken again, 5 as before" in said
    assert "1 were recorded without all that they took" in said
    assert "request_retraining (harmful_drift)  record_drift (waiting_for_n_of_m)" in said


def test_nothing_decided_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", scene.lake._root)
    assert replay_decisions.main([]) == 1
    assert capsys.readouterr().err == "error: the policy of california_housing has decided nothing yet\n"
