"""What somebody writes beside a search in MLflow neither decides it, nor stops it, nor is deleted by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from include.training.trial import Trial
from include.training.trial_runs import MOST_ROUNDS, TrialRuns

ASKED = {"learning_rate": 0.1, "objective": "huber"}
KEPT = {"number": 1, "params": {**ASKED, "n_estimators": 40}, "asked": ASKED, "pruned": False, "folds": []}
FIGURES = {"validation": 0.5, "seconds": 1.0}
TRIAL = Trial(1, 0.5, {**ASKED, "n_estimators": 40}, ASKED, 1.0)


@pytest.fixture
def parent(scene: object) -> Run:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("trials")
    number = experiment.experiment_id if experiment else client.create_experiment("trials")
    return client.create_run(number, tags={"kind": "tuned", "algorithm": "lightgbm"})


def written(parent: Run, tag: str | None, figures: dict[str, float], *, kind: str = "trial", ends: bool = True) -> str:
    """A run below the parent, by anybody."""
    client = MlflowClient()
    tags = {"kind": kind, MLFLOW_PARENT_RUN_ID: parent.info.run_id}
    run_id = client.create_run(parent.info.experiment_id, tags=tags).info.run_id
    if tag is not None:
        client.set_tag(run_id, "trial", tag)
    for name, value in figures.items():
        client.log_metric(run_id, name, value)
    if ends:
        client.set_terminated(run_id)
    return str(run_id)


def is_there(run_id: str) -> bool:
    return bool(MlflowClient().get_run(run_id).info.lifecycle_stage == "active")


def changed(**parts: Any) -> str:
    return json.dumps({**KEPT, **parts})


def test_a_run_as_a_trial_writes_it_is_one(parent: Run) -> None:
    written(parent, json.dumps(KEPT), FIGURES)
    assert TrialRuns(parent).known() == {1: TRIAL}


@pytest.mark.parametrize(
    "tag",
    [
        *(None, "", "{", "null", "[]", "[" * 4000, '{"a":' * 900),
        *(changed(number=number) for number in ("1", -1, 1.5, True, None, [])),
        *(changed(params=params) for params in ({}, ASKED | {"n_estimators": "40"}, ["n_estimators"])),
        *(changed(params=ASKED | {"n_estimators": rounds}) for rounds in (0, -1, 1.5, True, MOST_ROUNDS + 1, 10**400)),
        changed(params={**KEPT["params"], "learning_rate": 9.0}),  # type: ignore[dict-item]
        changed(params={**KEPT["params"], "num_leaves": 2}),  # type: ignore[dict-item]
        changed(params=ASKED | {"num_leaves": 2}),
        changed(params=ASKED | {"learning_rate": [0.1]}),
        *(changed(pruned=pruned) for pruned in (1, "no", None)),
        *(changed(folds=folds) for folds in (1, ["1"], [None], [float("nan")], [float("inf")])),
        changed(validation=-1e9),
        json.dumps({name: value for name, value in KEPT.items() if name != "asked"}),
    ],
)
def test_what_is_no_trial_is_passed_over_and_left_where_it_is(parent: Run, tag: str | None) -> None:
    forged = written(parent, tag, FIGURES)
    journal = TrialRuns(parent)
    assert journal.known() == {}
    journal.record(TRIAL)
    assert journal.known() == {1: TRIAL}, "it is fitted again, and the next attempt knows it"
    assert is_there(forged)


@pytest.mark.parametrize(
    "figures",
    [
        {"seconds": 1.0},
        {"validation": 0.5},
        *({**FIGURES, "validation": value} for value in (float("nan"), float("inf"), float("-inf"))),
        *({**FIGURES, "seconds": value} for value in (-1.0, float("nan"), float("inf"))),
        {**FIGURES, "validation_loss": float("nan")},
    ],
)
def test_figures_that_no_trial_has_are_passed_over(parent: Run, figures: dict[str, float]) -> None:
    forged = written(parent, json.dumps(KEPT), figures)
    assert TrialRuns(parent).known() == {}
    assert is_there(forged)


def test_of_two_that_say_they_are_the_same_trial_none_is_believed(parent: Run) -> None:
    TrialRuns(parent).record(TRIAL)
    written(parent, json.dumps(KEPT), {**FIGURES, "validation": -1e9})
    assert TrialRuns(parent).known() == {}


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_of_somebody_else_below_it_is_none_of_its_trials_and_is_kept(parent: Run, ends: bool) -> None:
    other = written(parent, json.dumps(KEPT), FIGURES, kind="notebook", ends=ends)
    assert TrialRuns(parent).known() == {}
    assert is_there(other)


def test_a_trial_that_was_killed_is_deleted(parent: Run) -> None:
    killed = written(parent, json.dumps(KEPT), FIGURES, ends=False)
    assert TrialRuns(parent).known() == {}
    assert not is_there(killed)
