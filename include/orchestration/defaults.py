"""What all DAGs share: default arguments, tags, schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow.sdk import CronPartitionTimetable, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.core.errors import ConfigError, RejectedError, TamperedError, UsageError
from include.core.partition import KEY_FORMATS
from include.core.spec import ModelSpec
from include.orchestration.runs import note_failure

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
        "start_date": _midnight(spec.deliveries.first_day),
        "catchup": False,
        "max_active_runs": 16,
        "tags": [spec.name, *tags],
        "default_args": {
            "owner": spec.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "retry_policy": ExceptionRetryPolicy([RetryRule([*NOT_RETRIED], RetryAction.FAIL)]),
            "on_failure_callback": note_failure,
            "execution_timeout": TASK_TIMEOUT,
        },
    }


def source_end(spec: ModelSpec) -> datetime | None:
    """When the clock starts no more runs of a DAG that follows the source: that has ended then.

    For those DAGs alone: a run by hand of a DAG without partitions is of now, and beyond the end of its DAG it would
    succeed with no task at all.
    """
    last = spec.deliveries.last_day
    return _midnight(last) if last else None


def each_partition(spec: ModelSpec, *, later: int = 0) -> CronPartitionTimetable:
    """A run for each partition; ``later`` is how many partitions after its own."""
    return CronPartitionTimetable(spec.cron, timezone="UTC", run_offset=-later, key_format=KEY_FORMATS[spec.grain])


def delivery_deadline(spec: ModelSpec) -> DeadlineAlert:
    """Warns of a run that still waits for its delivery, before the sensor's own deadline fails it."""
    minutes = spec.deliveries.warn_minutes or spec.deliveries.deadline_minutes / 2
    return DeadlineAlert(
        name=f"{spec.name}: delivery late",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=minutes),
        callback=AsyncCallback("flightline.alerts.warn_of_late_delivery", kwargs={"model": spec.name}),
    )


def weekly(spec: ModelSpec) -> CronPartitionTimetable:
    """A run each Monday, for the partition that begins then or before."""
    return CronPartitionTimetable("0 6 * * 1", timezone="UTC", key_format=KEY_FORMATS[spec.grain])


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
