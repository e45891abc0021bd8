"""The sensors and their trigger, on real deliveries in a folder."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from flightline.sensors import DeliverySensor, FeatureFreshnessSensor
from flightline.triggers import ConditionTrigger

from include.core import catalogue
from include.core.errors import DeliveryError, UsageError
from include.core.settings import Settings
from include.ingestion.delivery import Delivery
from tests.tables import day
from tests.unit.conftest import as_nobody

MODEL = "california_housing"
DAY = day("2025-01-05")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLINE_LANDING_URI", str(tmp_path / "landing"))
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", str(tmp_path / "lake"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")


def context(partition: str | None = DAY.key) -> Any:
    return {
        "dag": SimpleNamespace(dag_id=f"{MODEL}.ingest_batch", params={}),
        "dag_run": SimpleNamespace(
            partition_key=partition,
            conf=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            run_id="a run",
            triggering_user_name=None,
        ),
    }


def sensor(kind: str = "batch") -> DeliverySensor:
    return DeliverySensor(task_id="wait", model=MODEL, kind=kind, deadline=timedelta(hours=1), poll_seconds=0.05)


def deliver(kind: str = "batches") -> None:
    spec = catalogue.load(MODEL)
    Delivery.expected(Settings.load(), spec, kind, DAY).write("rows.csv", b"a\n1\n")


@pytest.mark.parametrize("key", ["2025-01-05", "2025-01-05T00:00:00"])
@pytest.mark.parametrize(("kind", "folder"), [("batch", "batches"), ("labels", "labels")])
def test_a_delivery_that_is_there_is_not_waited_for(kind: str, folder: str, key: str) -> None:
    deliver(folder)
    assert sensor(kind).execute(context(key)) is None


def test_a_missing_delivery_is_waited_for_without_a_slot() -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor().execute(context())
    assert isinstance(deferred.value.trigger, ConditionTrigger)
    assert deferred.value.method_name == "finish"


def test_a_run_without_a_partition_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="Trigger it with one such as 2025-01-31"):
        sensor().execute(context(None))


def test_features_of_a_day_that_was_never_delivered_are_not_waited_for_by_a_training() -> None:
    """It would keep every other one from running for as long."""
    wait = FeatureFreshnessSensor(task_id="wait", model=MODEL, deadline=timedelta(hours=1), delivered=True)
    with pytest.raises(UsageError, match="there is nothing to do: no rows of 2025-01-05 are in clean_california_hous"):
        wait.execute(context())


def trigger(deadline: datetime) -> ConditionTrigger:
    arguments = {"model": MODEL, "partition": DAY.key}
    return ConditionTrigger("include.ingestion.delivery:batch_delivered", arguments, deadline.isoformat(), 0.05)


def first_event(of: ConditionTrigger) -> Any:
    async def run() -> Any:
        async for event in of.run():
            return event.payload

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_the_trigger_survives_being_stored() -> None:
    path, arguments = trigger(datetime(2025, 1, 1, tzinfo=UTC)).serialize()
    assert path == f"{ConditionTrigger.__module__}.{ConditionTrigger.__name__}"
    assert ConditionTrigger(**arguments).serialize() == (path, arguments)


def test_the_trigger_fires_when_the_delivery_comes() -> None:
    async def run() -> Any:
        events = trigger(datetime.now(UTC) + timedelta(minutes=5)).run()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        deliver()
        return (await asyncio.wait_for(waiting, 20)).payload

    assert asyncio.run(run()) == {"met": True}


def test_the_deadline_names_what_was_expected_and_where() -> None:
    event = first_event(trigger(datetime.now(UTC) - timedelta(seconds=1)))
    assert event == {"met": False}
    with pytest.raises(DeliveryError) as error:
        sensor().finish(context(), event)
    assert isinstance(error.value, AirflowFailException), "a retry would wait as long again"
    assert "the batch of 2025-01-05, marker" in str(error.value)
    assert "batch_date=2025-01-05/_SUCCESS" in str(error.value)


@pytest.mark.parametrize("seen_by", ["the task", "the trigger"])
def test_a_folder_that_may_not_be_looked_into_fails_at_once_and_says_so(
    world_folder: Path, monkeypatch: pytest.MonkeyPatch, seen_by: str
) -> None:
    monkeypatch.setenv("FLIGHTLINE_LANDING_URI", str(world_folder))
    deliver()
    folder = world_folder / MODEL / "batches" / "batch_date=2025-01-05"
    folder.chmod(0)

    def look() -> None:
        if seen_by == "the task":
            sensor().execute(context())
        else:
            sensor().finish(context(), first_event(trigger(datetime.now(UTC) + timedelta(minutes=5))))

    with as_nobody(), pytest.raises(DeliveryError) as error:
        look()
    assert str(error.value) == (
        f"{folder}: may not be looked into. Let the account that Airflow's workers run as read it"
    )
