"""Who is said to ask for a version: only MLflow's tags may name somebody else than who started the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.types import DagRunType

from include.core.errors import UsageError
from include.orchestration.transitions import request_of, request_params, started_for
from include.registry.transition_request import TransitionRequest

REQUEST = TransitionRequest("3", "Staging", "why not", "Ada", 1)


def context(
    run_type: DagRunType, conf: dict[str, Any], source: str | None = "", user: str | None = None, run_id: str = "run"
) -> Any:
    """Of a task of ``m.promote_model``; with the DAG that made the event that started it, if one did."""
    run = SimpleNamespace(run_type=run_type, conf=conf, triggering_user_name=user, run_id=run_id)
    events = {"m.candidate": [SimpleNamespace(source_dag_id=source)]} if source != "" else {}
    return {"dag_run": run, "dag": SimpleNamespace(dag_id="m.promote_model"), "triggering_asset_events": events}


def test_the_run_of_a_request_is_named_by_it_and_is_told_nothing_that_anybody_wrote() -> None:
    started = started_for(REQUEST)
    assert started["trigger_run_id"] == "request__version_3_Staging_1"
    asked = request_of(context(DagRunType.OPERATOR_TRIGGERED, started["conf"]))
    assert started["conf"] == {"version": 3, "target": "Staging"}
    assert asked == {"target": "Staging", "origin": "tag"}


@pytest.mark.parametrize("run_type", [DagRunType.MANUAL, DagRunType.ASSET_MATERIALIZATION])
def test_who_starts_a_run_cannot_say_that_another_asks(run_type: DagRunType) -> None:
    conf = {"target": "Staging", "comment": "why not", "requested_by": "Ada", "origin": "tag"}
    asked = request_of(context(run_type, conf, user="Eve"))
    assert asked == {"target": "Staging", "comment": "why not", "requested_by": "Eve"}


def test_nobody_takes_the_id_of_a_request_from_it() -> None:
    with pytest.raises(UsageError, match="an id that begins as one does that collect_requests starts"):
        request_of(context(DagRunType.MANUAL, {}, user="Eve", run_id=REQUEST.run_id))


def test_a_candidate_is_asked_for_by_its_training() -> None:
    asked = request_of(context(DagRunType.ASSET_TRIGGERED, {}, "m.train_model"))
    assert asked == {"target": "Production", "comment": "", "origin": "training"}


@pytest.mark.parametrize("source", [None, "other.train_model", "m.request_training"])
def test_an_event_that_no_training_made_asks_for_nothing(source: str | None) -> None:
    with pytest.raises(UsageError, match="an asset event that no training made"):
        request_of(context(DagRunType.ASSET_TRIGGERED, {}, source))


@pytest.mark.parametrize(
    ("name", "value"), [("target", "prod"), ("target", None), ("version", 0), ("comment", "x" * 501)]
)
def test_the_form_takes_no_other_values(name: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        request_params()[name].resolve(value)
