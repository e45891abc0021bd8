"""Who is said to ask for a version: only MLflow's tags may name somebody else than who started the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.types import DagRunType

from include.orchestration.transitions import request_of, request_params, started_for
from include.registry.transition_request import TransitionRequest

REQUEST = TransitionRequest("3", "Staging", "why not", "Ada", 1)


def context(run_type: DagRunType, conf: dict[str, Any], started: tuple[str, ...] = (), user: str | None = None) -> Any:
    run = SimpleNamespace(run_type=run_type, conf=conf, triggering_user_name=user)
    return {"dag_run": run, "triggering_asset_events": [SimpleNamespace(name=name) for name in started]}


def test_the_run_of_a_request_is_named_by_it_and_knows_all_of_it() -> None:
    started = started_for(REQUEST)
    assert started["trigger_run_id"] == "request__version_3_Staging_1"
    asked = request_of(context(DagRunType.OPERATOR_TRIGGERED, started["conf"]))
    assert asked == {"target": "Staging", "comment": "why not", "requested_by": "Ada", "by_tag": True}


@pytest.mark.parametrize("run_type", [DagRunType.MANUAL, DagRunType.ASSET_MATERIALIZATION])
def test_who_starts_a_run_cannot_say_that_another_asks(run_type: DagRunType) -> None:
    asked = request_of(context(run_type, started_for(REQUEST)["conf"], user="Eve"))
    assert asked == {"target": "Staging", "comment": "why not", "requested_by": "Eve"}


def test_a_candidate_is_asked_for_by_its_training() -> None:
    asked = request_of(context(DagRunType.ASSET_TRIGGERED, {}, ("m.candidate",)))
    assert asked == {"target": "Production", "comment": "", "requested_by": "training"}


@pytest.mark.parametrize(
    ("name", "value"), [("target", "prod"), ("target", None), ("version", 0), ("comment", "x" * 501)]
)
def test_the_form_takes_no_other_values(name: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        request_params()[name].resolve(value)
