"""What the tasks of ``promote_model`` do: a step of the registry, and what came of it in the run's note.

Imported in the functions is what parsing a DAG file does not need.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.core.sections import Gate
from include.core.spec import ModelSpec
from include.orchestration.assets import assets_of
from include.orchestration.runs import emit_each, model_run_of, note, version_of
from include.orchestration.transitions import request_of


def question(spec: ModelSpec) -> dict[str, Any]:
    """What a person is asked, and where each answer leads: arguments of the operators that wait for one."""
    return {
        "subject": f"Put version {{{{ dag_run.partition_key or params.version }}}} of {spec.name} into production?",
        "approval": spec.approval,
        "approved": "promote_version",
        "rejected": "reject_candidate",
    }


def record_request(**context: Any) -> str:
    """Record that the version is wanted in a stage; which one."""
    from include.orchestration import notes
    from include.registry import steps

    requested = steps.record_request(model_run_of(context), version_of(context), **request_of(context))
    note(context, notes.of_request(requested.target, requested.requested_by))
    return requested.target


def run_check(gate: Gate, check: str, **context: Any) -> bool:
    from include.registry import steps

    return steps.run_check(model_run_of(context), version_of(context), gate, check)


def check_staging_gate(**context: Any) -> str:
    """Conclude the gate from what its checks have answered; where the version goes now."""
    return "move_to_staging" if _conclude("staging", context) else "reject_candidate"


def check_production_gate(**context: Any) -> str:
    """Conclude the gate from what its checks have answered; where the version goes now, also by the environment."""
    from include.registry import gates

    if not _conclude("production", context):
        return "reject_candidate"
    run = model_run_of(context)
    return "wait_for_approval" if gates.asks_person(run.spec, run.settings) else "approve_automatically"


def _conclude(gate: Gate, context: Any) -> bool:
    from include.orchestration import notes
    from include.registry import steps

    verdict = steps.conclude_gate(model_run_of(context), version_of(context), gate)
    note(context, notes.of_gate(verdict))
    return verdict.passed


def move_to_staging(**context: Any) -> str:
    from include.registry import steps

    return steps.move_to_staging(model_run_of(context), version_of(context))


def choose_target(target: str) -> str:
    return "keep_in_staging" if target == "Staging" else "run_production_checks"


def keep_in_staging(**context: Any) -> None:
    note(context, "in Staging, as was asked")


def approve_automatically(**context: Any) -> str:
    from include.registry import steps

    return steps.approve(model_run_of(context), version_of(context))


def promote_version(**context: Any) -> dict[str, Any]:
    from include.orchestration import notes
    from include.registry import steps

    moved = steps.promote(model_run_of(context), version_of(context))
    note(context, notes.of_move(moved))
    return asdict(moved)


def announce_production(moved: dict[str, Any]) -> None:
    """Let the task's asset event stand for a version that is new in production, and for nothing else.

    Raises:
        AirflowSkipException: nothing changed.
    """
    if not moved["changed"]:
        raise AirflowSkipException(f"Nothing changed: version {moved['version']} is in production.")


def reject_candidate(**context: Any) -> list[str]:
    from include.orchestration import notes
    from include.registry import steps

    reasons = steps.reject(model_run_of(context), version_of(context))
    note(context, notes.of_rejection(reasons))
    return reasons


def check_drift(**context: Any) -> list[str] | None:
    from include.orchestration import notes
    from include.registry import steps

    drifted = steps.check_drift(model_run_of(context), version_of(context))
    note(context, notes.of_drift_check(drifted))
    return drifted


def request_drift_check(**context: Any) -> list[str]:
    """Have the newest labelled window measured again, where a version was rejected on its way to production."""
    from include.registry import steps

    run = model_run_of(context)
    found = steps.find_window_to_check(run, version_of(context))
    asset = assets_of(run.spec.name).drift_check_requested
    emit_each(context, context["outlet_events"][asset], found, "measured again")
    return found


def answer_request(**context: Any) -> None:
    from include.orchestration import notes
    from include.registry import steps

    note(context, notes.of_answer(steps.answer_request(model_run_of(context), version_of(context))))
