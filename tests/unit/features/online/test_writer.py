from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from feast import FeatureView, Field
from feast.types import Float64
from pydantic import ValidationError

from include.errors import ConfigError
from include.features.online.postgres import PostgresOnlineStoreConfig
from include.features.store import apply, open_store

AT = datetime(2025, 1, 2, tzinfo=UTC)
PLACE = {"host": "/tmp", "database": "feast", "user": "postgres", "password": ""}


@pytest.mark.parametrize("option", ["vector_enabled", "enable_openai_compatible_store"])
def test_what_is_not_written_is_refused(option):
    with pytest.raises(ValidationError, match="writes no vectors"):
        PostgresOnlineStoreConfig(type="x", **PLACE, **{option: True})


@pytest.fixture
def write(feast_environment, spec):
    """Return a function that writes incomes of one key at times, and gives what is served then."""
    import pandas as pd

    store = open_store()
    apply(store, spec)

    def write(*rows: tuple[int, float]) -> tuple[float, datetime]:
        frame = pd.DataFrame(
            {
                "listing_id": 1,
                "event_timestamp": [AT + timedelta(hours=hours) for hours, _ in rows],
                "median_income": [income for _, income in rows],
                "rooms_per_household": 1.0,
                "inland": pd.array([1] * len(rows), dtype="int32"),
            }
        )
        store.write_to_online_store("listing_features", frame)
        served = store.get_online_features(
            features=["listing_features:median_income"], entity_rows=[{"listing_id": 1}]
        ).to_dict(include_event_timestamps=True)
        return served["median_income"][0], datetime.fromtimestamp(served["median_income__ts"][0], UTC)

    return write


def test_the_newest_value_is_served_whatever_the_order(write):
    assert write((2, 2.0)) == (2.0, AT + timedelta(hours=2))
    assert write((1, 1.0)) == (2.0, AT + timedelta(hours=2))
    assert write((2, 2.5)) == (2.5, AT + timedelta(hours=2))
    assert write((3, 3.0), (5, 5.0), (4, 4.0)) == (5.0, AT + timedelta(hours=5))


def test_event_times_do_not_depend_on_the_servers_time_zone(write, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    assert write((2, 2.0))[1] == AT + timedelta(hours=2)


def served(store, *features, key=1):
    names = [f"listing_features:{feature}" for feature in features]
    found = store.get_online_features(features=names, entity_rows=[{"listing_id": key}]).to_dict()
    return [found[feature][0] for feature in features]


def test_a_feature_renamed_between_versions_is_null_until_it_is_materialised(write, spec, make_spec, lake, put_clean):
    from include.features import query
    from include.features import store as feature_store

    assert write((2, 2.0))[0] == 2.0
    store = open_store()
    renamed = make_spec(
        "SELECT listing_id, event_timestamp, median_income AS income, total_rooms FROM clean_california_housing"
    )
    apply(store, renamed)
    assert served(store, "income", "total_rooms") == [None, None]
    day = AT.date().replace(day=3)
    put_clean(renamed, [1], day, median_income=[7.0], total_rooms=[3.0])
    query.write(renamed, lake, day)
    feature_store.materialize(store, renamed, day)
    assert served(store, "income", "total_rooms") == [7.0, 3.0]
    # Under its old name again: what was held under it then is no value of now.
    apply(store, spec)
    assert served(store, "median_income", "rooms_per_household") == [None, None]


def test_the_table_of_feasts_own_store_makes_way(feast_environment, postgres, spec, monkeypatch):
    import os

    from sqlalchemy import create_engine, text

    engine = create_engine(os.environ["FLIGHTLINE_FEAST_REGISTRY"])
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE flightline_listing_features (entity_key bytea, feature_name text)"))
    engine.dispose()
    store = open_store()
    apply(store, spec)
    assert served(store, "median_income") == [None]


def test_a_name_that_postgres_would_cut_off_is_refused(feast_environment, spec):
    store = open_store()
    apply(store, spec)
    view = store.get_feature_view("listing_features")
    long = FeatureView(
        name="long",
        entities=[store.get_entity("listing")],
        schema=[Field(name="x" * 64, dtype=Float64)],
        source=view.batch_source,
    )
    with pytest.raises(ConfigError, match="is no name for a column of the online store"):
        store.apply([long])


def test_a_view_that_is_deleted_leaves_nothing(feast_environment, spec, write):
    from sqlalchemy import create_engine, inspect

    store = open_store()
    service, view = store.get_feature_service("california_housing_v1"), store.get_feature_view("listing_features")
    store.apply([], objects_to_delete=[service, view], partial=False)
    import os

    engine = create_engine(os.environ["FLIGHTLINE_FEAST_REGISTRY"])
    left = [name for name in inspect(engine).get_table_names() if name.startswith("flightline_")]
    engine.dispose()
    assert left == []


def test_a_write_that_fails_leaves_what_was_there(write, spec):
    import pyarrow as pa

    from include.errors import DataError

    assert write((2, 2.0))[0] == 2.0
    store = open_store()
    view = store.get_feature_view("listing_features")
    at = pa.array([AT + timedelta(days=1)] * 2, pa.timestamp("us", tz="UTC"))
    batch = pa.record_batch(
        {
            "listing_id": pa.array([1, None], pa.int64()),
            "median_income": [9.0, 9.0],
            "rooms_per_household": [9.0, 9.0],
            "inland": pa.array([1, 1], pa.int32()),
            "event_timestamp": at,
        }
    )
    online = store._get_provider().online_store
    with pytest.raises(DataError, match="1 rows have no listing_id"):
        online.write_arrow(store.config, view, iter([batch.slice(0, 1), batch]), None)
    assert served(store, "median_income") == [2.0]
    assert online.write_arrow(store.config, view, iter([batch.slice(0, 1)]), None) == 1
    assert served(store, "median_income") == [9.0]


def test_an_unknown_entity_column_is_said_online_and_an_unknown_key_has_no_values(write):
    write((2, 2.0))
    store = open_store()
    with pytest.raises(KeyError, match="listing_id"):
        store.get_online_features(features=["listing_features:median_income"], entity_rows=[{"seller": 1}])
    assert served(store, "median_income", key=99) == [None]
