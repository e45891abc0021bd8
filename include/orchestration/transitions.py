"""How a request for a transition comes to the run that answers it, from each of those who make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.core.errors import UsageError
from include.orchestration.runs import version_param

if TYPE_CHECKING:
    from include.registry.transition_request import TransitionRequest

LONGEST_COMMENT = 500
"""Characters."""
COLLECTED = "operator_triggered"
"""The type of a run that a task has started: no person and no REST call can start one of it."""


def request_params() -> dict[str, Param]:
    """The fields of the form in which a person asks for a version in a stage."""
    return {
        "version": version_param("Number of the registered version; or the run's partition key is."),
        "target": Param(
            "Production",
            type="string",
            enum=["Production", "Staging"],
            description="The stage it is wanted in; on the way to Production it passes through Staging.",
        ),
        "comment": Param(
            None,
            type=["null", "string"],
            maxLength=LONGEST_COMMENT,
            description="Why; kept in the decisions and on the version.",
        ),
    }


def started_for(request: TransitionRequest) -> dict[str, Any]:
    """The run of ``promote_model`` that answers a request from MLflow: its id, and what it is given."""
    return {"trigger_run_id": request.run_id, "conf": {"version": int(request.version), "target": request.target}}


def request_of(context: Any) -> dict[str, Any]:
    """What the run was asked: arguments of the step ``registry.record_request``.

    Of a run that ``collect_requests`` has started MLflow's tags say by whom, and why; of any other whoever started it
    asks.

    Raises:
        UsageError: nobody knows who that was: the run has the id of another request's, or an event by hand started it.
    """
    from include.registry.transition_request import RUN_ID

    run, dag_id = context["dag_run"], context["dag"].dag_id
    conf = run.conf or {}
    target = conf.get("target", "Production")
    if run.run_type == COLLECTED:
        return {"target": target, "origin": "tag"}
    if run.run_id.startswith(RUN_ID):
        raise UsageError(
            "the run has an id that begins as one does that collect_requests starts",
            where=dag_id,
            fix="Trigger it with another id, or with none",
        )
    asked = {"target": target, "comment": conf.get("comment") or ""}
    if told := [event for events in context["triggering_asset_events"].values() for event in events]:
        if any(event.source_dag_id != dag_id.replace("promote_model", "train_model") for event in told):
            raise UsageError(
                "the run was started by an asset event that no training made, so nobody knows who asks",
                where=dag_id,
                fix="Trigger the DAG itself: whoever does is who asks",
            )
        return {**asked, "origin": "training"}
    return {**asked, "requested_by": run.triggering_user_name or ""}
