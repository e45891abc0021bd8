"""What makes a day fresh, and the sensor that waits for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred
from flightline.sensors import FeatureFreshnessSensor

from include.core.errors import DeliveryError
from include.core.settings import Settings
from include.features import freshness, query
from include.features import store as feature_store
from include.lakehouse.run import Run, open_run
from tests.tables import day

DAY, NEXT_DAY = day("2025-01-02"), day("2025-01-03")


def test_a_day_is_fresh_when_it_is_in_the_table_and_online(feast_environment, spec, lake, put_clean):
    def missing(partition):
        return freshness.missing(Run(spec, Settings.load(), lake, "run", partition))

    assert missing(DAY) == "there is no table features_california_housing"
    put_clean(spec, [1])
    query.write(spec, lake, DAY)
    assert missing(NEXT_DAY) == "features_california_housing has no rows of 2025-01-03"
    unmaterialized = "the registry has no materialisation of california_housing_features for 2025-01-02"
    assert missing(DAY) == unmaterialized
    store = feature_store.open_store()
    feature_store.apply(store, spec)
    assert missing(DAY) == unmaterialized
    feature_store.materialize(store, spec, DAY)
    assert missing(DAY) is None


@pytest.fixture
def sensor():
    return FeatureFreshnessSensor(
        task_id="wait_for_features", model="california_housing", deadline=timedelta(minutes=5), poll_seconds=0.05
    )


CONTEXT = {
    "dag_run": SimpleNamespace(
        partition_key="2025-01-02T00:00:00", conf=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)
    ),
    "dag": SimpleNamespace(dag_id="california_housing.y"),
}


def fire(trigger):
    async def first():
        return await anext(trigger.run())

    return asyncio.run(first())


def test_the_sensor_defers_until_the_features_are_there(feast_environment, lake, put_clean, sensor):
    run = open_run("california_housing", partition=DAY)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(CONTEXT)
    put_clean(run.spec, [1, 2])
    query.write(run.spec, lake, DAY)
    store = feature_store.open_store()
    feature_store.apply(store, run.spec)
    feature_store.materialize(store, run.spec, DAY)
    event = fire(deferred.value.trigger)
    assert event.payload == {"met": True}
    sensor.finish(CONTEXT, event.payload)
    sensor.execute(CONTEXT)  # there already: no deferral


def test_features_that_never_come_are_an_error_that_says_what_is_missing(feast_environment, sensor):
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(CONTEXT)
    deferred.value.trigger.deadline = datetime(2025, 1, 1, tzinfo=UTC).isoformat()
    event = fire(deferred.value.trigger)
    with pytest.raises(DeliveryError) as caught:
        sensor.finish(CONTEXT, event.payload)
    said = (
        "features of 2025-01-02, which california_housing.build_features makes (there is no table features_california_"
    )
    assert said in str(caught.value)
    assert "Run build_features for that partition" in str(caught.value)
    assert freshness.is_fresh("california_housing", "2025-01-02") is False
