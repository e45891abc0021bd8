"""What a task makes of its run's partition key, and what it says when it fails."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import ParamValidationError

from include.core import catalogue
from include.core.errors import DataError, DeliveryError, RejectedError, UsageError
from include.core.partition import EXAMPLES, Grain
from include.core.spec import ModelSpec
from include.orchestration import runs
from include.orchestration.defaults import Tag, dag_defaults

MODEL = "california_housing"


def context(dag: str, key: str | None, asked: str | None = None, **more: Any) -> dict[str, Any]:
    run = SimpleNamespace(
        partition_key=key, run_id="manual", conf={"partition": asked}, start_date=datetime(2025, 12, 1, tzinfo=UTC)
    )
    params = {"partition": None} if dag == "reprocess_quarantine" else {}
    return {"dag": SimpleNamespace(dag_id=f"{MODEL}.{dag}", params=params), "dag_run": run, **more}


def called(key: str | None) -> str:
    return "empty" if key is None else repr(key)


@pytest.mark.parametrize("key", ["tomorrow", "2025-13-01", "2025-W02", "2025-01", "3", None])
def test_a_key_that_is_no_day_says_what_one_looks_like(key: str | None) -> None:
    for wanted in (runs.partition_of, runs.run_of):
        with pytest.raises(
            UsageError, match=f"build_features: the run's partition key is {called(key)}, not a day"
        ) as it:
            wanted(context("build_features", key))
        assert "2025-01-31" in str(it.value)


def test_a_day_that_has_not_begun_is_refused_by_the_time_of_the_run() -> None:
    with pytest.raises(UsageError, match="'2025-12-02': that day has not begun on 2025-12-01 00:00 UTC"):
        runs.partition_of(context("ingest_batch", "2025-12-02"))
    assert runs.partition_of(context("ingest_batch", "2025-12-01")).key == "2025-12-01"


@pytest.mark.parametrize("day", ["2024-12-31", "2026-01-01"])
def test_a_day_that_no_delivery_is_for_is_refused_and_not_waited_for(day: str) -> None:
    late = context("ingest_batch", day)
    late["dag_run"].start_date = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match=f"is '{day}', and deliveries are from 2025-01-01 to 2025-12-31. Take one"):
        runs.partition_of(late)


@pytest.mark.parametrize("key", ["2025-01-02", "three", None, "02", "²", "٣", "0", "-1", "3\n", " 3", "1" * 11])
def test_a_key_that_is_no_version_is_refused(key: str | None) -> None:
    with pytest.raises(UsageError, match=re.escape(f"is {called(key)}, not a version's number")):
        runs.version_of(context("promote_model", key))


def test_a_key_is_a_partition_or_a_version() -> None:
    assert runs.partition_of(context("build_features", "2025-01-02T00:00:00+00:00")).key == "2025-01-02"
    assert runs.version_of(context("promote_model", "3")) == "3"


def test_a_version_is_the_key_or_that_of_the_form_and_not_two() -> None:
    asked = context("promote_model", None)
    asked["dag_run"].conf = {"version": 3}
    assert runs.version_of(asked) == "3"
    asked["dag_run"].partition_key = "3"
    assert runs.version_of(asked) == "3"
    asked["dag_run"].partition_key = "4"
    with pytest.raises(UsageError, match="partition key is '4', its parameter version 3"):
        runs.version_of(asked)


def test_a_partition_can_be_asked_for_in_the_form() -> None:
    assert runs.partition_of(context("reprocess_quarantine", None, "2025-01-02")).key == "2025-01-02"
    assert runs.key_of(context("reprocess_quarantine", "2025-01-02", "2025-01-02")) == "2025-01-02"
    assert runs.key_of(context("reprocess_quarantine", None)) is None
    scheduled = context("build_features", "2025-01-02")
    scheduled["dag_run"].conf = None
    assert runs.key_of(scheduled) == "2025-01-02"
    with pytest.raises(UsageError, match="key is '2025-01-02', its parameter partition '2025-01-03'"):
        runs.key_of(context("reprocess_quarantine", "2025-01-02", "2025-01-03"))


@pytest.mark.parametrize("key", [None, "2025-01-02"])
def test_a_parameter_that_the_dag_has_not_is_refused_and_the_message_says_where_the_key_goes(key: str | None) -> None:
    with pytest.raises(UsageError, match=r"ingest_batch: the DAG has no parameter .* Partition Key \(in the form: Adv"):
        runs.partition_of(context("ingest_batch", key, "2025-01-02"))


@pytest.mark.parametrize(("grain", "example"), EXAMPLES.items())
def test_the_form_takes_the_keys_of_the_grain_alone(grain: Grain, example: str) -> None:
    content = catalogue.load(MODEL).model_dump() | {"grain": grain}
    param = runs.partition_param(ModelSpec.model_validate(content), "its rows.")
    assert example in str(param.description)
    assert param.resolve() is None
    assert param.resolve(example) == example
    with pytest.raises(ParamValidationError):
        param.resolve("tomorrow")


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (UsageError("no such version"), RetryAction.FAIL),
        (RejectedError("the labels are rejected"), RetryAction.FAIL),
        (DeliveryError("the marker is missing"), RetryAction.DEFAULT),
        (DataError("absent"), RetryAction.DEFAULT),
        (OSError("no network"), RetryAction.DEFAULT),
    ],
)
def test_what_would_fail_the_same_again_is_not_retried(error: Exception, action: RetryAction) -> None:
    policy = dag_defaults(catalogue.load(MODEL), "ingest_batch", Tag.INGESTION)["default_args"]["retry_policy"]
    assert policy.evaluate(error, 1, 2).action is action


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DeliveryError("is gone", where="landing", fix="Deliver it"), "load failed: landing: is gone. Deliver it"),
        (KeyError("Jane Doe, 7 High Street"), "load failed: KeyError; its log says more"),
    ],
)
def test_a_failure_is_said_without_what_a_foreign_error_may_quote(error: Exception, said: str) -> None:
    pushed: dict[str, str] = {}
    instance = SimpleNamespace(task_id="load", xcom_push=pushed.__setitem__)
    runs.note_failure(context("ingest_batch", None, ti=instance, exception=error))
    assert pushed == {runs.NOTE: said}
