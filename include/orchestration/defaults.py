"""What all DAGs share: default arguments, tags, schedules."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.core.errors import ConfigError, RejectedError, TamperedError, UsageError
from include.core.spec import ModelSpec
from include.orchestration.runs import note_failure
from include.orchestration.timetables import EachPartition

NOT_RETRIED = (ConfigError, RejectedError, TamperedError, UsageError)
"""Errors that the same run would meet again: they fail a task at once."""

TASK_TIMEOUT = timedelta(hours=6)
"""A task that takes longer hangs: none of ours takes an hour, on any data that was measured."""


class Tag(StrEnum):
    """The closed set of DAG tags, beside the model's name: the stage of the model's life."""

    INGESTION = "ingestion"
    FEATURES = "features"
    TRAINING = "training"
    REGISTRY = "registry"
    SCORING = "scoring"
    MONITORING = "monitoring"
    MAINTENANCE = "maintenance"
    DEMO = "demo"


def dag_defaults(spec: ModelSpec, verb_noun: str, *tags: Tag) -> dict[str, Any]:
    """Arguments of ``@dag`` that every DAG of a model takes."""
    return {
        "dag_id": f"{spec.name}.{verb_noun}",
        "start_date": spec.first_partition.start,
        "catchup": False,
        "max_active_runs": 16,
        "tags": [spec.name, *tags],
        "default_args": {
            "owner": spec.owner,
            **({"pool": spec.pool} if spec.pool else {}),
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "retry_policy": ExceptionRetryPolicy([RetryRule([*NOT_RETRIED], RetryAction.FAIL)]),
            "on_failure_callback": note_failure,
            "execution_timeout": TASK_TIMEOUT,
            "show_return_value_in_logs": False,  # for who reads the log the step has said it in words
        },
    }


def each_partition(spec: ModelSpec, *, later: int = 0) -> EachPartition:
    """A run for each partition; ``later`` is how many partitions after its own."""
    return EachPartition(spec.cron, spec.grain, later=later)


def weekly(spec: ModelSpec) -> EachPartition:
    """A run each Monday, for the newest partition whose batch has to be there by then."""
    lag = spec.due_after + timedelta(minutes=spec.deliveries.deadline_minutes)
    return EachPartition("0 6 * * 1", spec.grain, lag=lag)


def source_dates(spec: ModelSpec, schedule: EachPartition) -> dict[str, Any]:
    """Start and end of a DAG that follows the source: those of its runs for the first partition and the last.

    An end have those DAGs alone: a run by hand of a DAG without partitions is of now, and beyond the end of its DAG it
    would succeed with no task at all.
    """
    last = spec.last_partition
    return {
        "start_date": schedule.runs_for(spec.first_partition)[0],
        "end_date": schedule.runs_for(last)[1] if last else None,
    }


def delivery_deadline(spec: ModelSpec) -> DeadlineAlert:
    """Warns of a run that still waits for its delivery, before the sensor's own deadline fails it."""
    minutes = spec.deliveries.warn_minutes or spec.deliveries.deadline_minutes / 2
    return DeadlineAlert(
        name=f"{spec.name}: delivery late",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=minutes),
        callback=AsyncCallback("flightline.alerts.warn_of_late_delivery", kwargs={"model": spec.name}),
    )
