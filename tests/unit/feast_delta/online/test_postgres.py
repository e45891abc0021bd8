from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from feast import FeatureView, Field
from feast.types import Float64
from pydantic import ValidationError
from sqlalchemy import create_engine, inspect, text

from feast_delta.errors import ConfigError
from feast_delta.online.postgres import PostgresOnlineStoreConfig, copy_rows
from feast_delta.online.rows import Rows
from tests.unit.feast_delta.online.conftest import AT, FEATURES, PROJECT, REGISTRY, SERVICE, define, open_store

PLACE = {"host": "/tmp", "database": "feast", "user": "postgres", "password": ""}
on_postgres = pytest.mark.parametrize("online_kind", ["postgres"], indirect=True)


@pytest.mark.parametrize("option", ["vector_enabled", "enable_openai_compatible_store"])
def test_what_is_not_written_is_refused(option):
    with pytest.raises(ValidationError, match="writes no vectors"):
        PostgresOnlineStoreConfig(type="x", **PLACE, **{option: True})


def test_rows_are_fields_counted_and_put_together():
    at = pa.array([datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(1999, 12, 31, tzinfo=UTC)])
    times = at.cast(pa.timestamp("us", tz="UTC"))
    created = pa.array([None, at[0].as_py()], times.type)
    rows = copy_rows(Rows(pa.array([b"k", b"key"]), times, created, (pa.array([b"", b"v"]),)))
    null, empty = struct.pack(">i", -1), struct.pack(">i", 0)
    first = b"\0\1k" + struct.pack(">iq", 8, 1_000_000) + null + empty
    second = b"\0\3key" + struct.pack(">iq", 8, -86_400_000_000) + struct.pack(">iq", 8, 1_000_000) + b"\0\0\0\1v"
    assert bytes(rows) == b"\0\4\0\0" + first + b"\0\4\0\0" + second


@on_postgres
def test_event_times_do_not_depend_on_the_servers_time_zone(write, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    assert write((2, 2.0))[1] == AT + timedelta(hours=2)


@on_postgres
def test_the_table_of_feasts_own_store_makes_way(feast_environment, online_kind):
    engine = create_engine(os.environ[REGISTRY])
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {PROJECT}_listing_features (entity_key bytea, feature_name text)"))
    engine.dispose()
    store = open_store()
    define(store, *FEATURES)
    features = ["listing_features:median_income"]
    assert store.get_online_features(features, [{"listing_id": 1}]).to_dict()["median_income"] == [None]


@on_postgres
def test_a_name_that_postgres_would_cut_off_is_refused(online):
    long = FeatureView(
        name="long",
        entities=[online.store.get_entity("listing")],
        schema=[Field(name="x" * 64, dtype=Float64)],
        source=online.view().batch_source,
    )
    with pytest.raises(ConfigError, match="is no name for a column of the online store"):
        online.store.apply([long])


@on_postgres
def test_a_view_that_is_deleted_leaves_nothing(online):
    service = online.store.get_feature_service(SERVICE)
    online.store.apply([], objects_to_delete=[service, online.view()], partial=False)
    engine = create_engine(os.environ[REGISTRY])
    left = [name for name in inspect(engine).get_table_names() if name.startswith(f"{PROJECT}_")]
    engine.dispose()
    assert left == []
