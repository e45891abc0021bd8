"""How a request for a transition comes to the run that answers it, from each of those who make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.orchestration.runs import started_by, version_param

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
    asked = {
        "version": int(request.version),
        "target": request.target,
        "comment": request.comment or None,
        "requested_by": request.requested_by,
    }
    return {"trigger_run_id": request.run_id, "conf": asked}


def request_of(context: Any) -> dict[str, Any]:
    """What the run was asked: arguments of the step ``registry.record_request``.

    Only a run that ``collect_requests`` has started may say by whom it is asked for, as MLflow's tags have it; of any
    other it is whoever started it.
    """
    run = context["dag_run"]
    conf = run.conf or {}
    asked = {"target": conf.get("target", "Production"), "comment": conf.get("comment") or ""}
    if run.run_type == COLLECTED:
        return {**asked, "requested_by": conf.get("requested_by") or "", "by_tag": True}
    if any(name.endswith(".candidate") for name in started_by(context)):
        return {**asked, "requested_by": "training"}
    return {**asked, "requested_by": run.triggering_user_name or ""}
