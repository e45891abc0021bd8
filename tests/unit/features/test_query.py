from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.features import query
from tests.tables import day

DAY = day("2025-01-02")
FROM = "FROM clean_california_housing"


def test_schema_needs_no_table_and_leaves_out_key_and_time(spec):
    assert query.feature_schema(spec) == {
        "median_income": pa.float64(),
        "rooms_per_household": pa.float64(),
        "inland": pa.int32(),
    }


@pytest.mark.parametrize("name", catalogue.registered())
def test_the_sql_of_every_model_gives_features(name):
    assert query.feature_schema(catalogue.load(name))


def test_write_computes_the_day_alone_and_replaces_its_partition(spec, lake, put_clean):
    put_clean(spec, [1, 2], total_rooms=[6, 9], households=[2, 3], ocean_proximity=["ISLAND", "INLAND"])
    put_clean(spec, [3], day("2025-01-03"))
    first = query.write(spec, lake, DAY)
    again = query.write(spec, lake, DAY)
    assert (first.rows, first.features) == (again.rows, again.features) == (2, 3)
    assert again.table_version > first.table_version
    rows = lake.read("features_california_housing").sort_by("listing_id").to_pydict()
    assert rows == {
        "listing_id": [1, 2],
        "event_timestamp": [datetime(2025, 1, 2, tzinfo=UTC)] * 2,
        "median_income": [2.0, 2.0],
        "rooms_per_household": [3.0, 3.0],
        "inland": [0, 1],
        "partition_key": ["2025-01-02"] * 2,
    }


def test_null_stays_null(make_spec, lake, put_clean):
    spec = make_spec(f"SELECT listing_id, event_timestamp, median_income {FROM}")
    put_clean(spec, [1], median_income=[None])
    assert query.compute(spec, lake, DAY)["median_income"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (f"SELECT listing_id, event_timestamp, rooms {FROM}", 'Referenced column "rooms" not found'),
        ("SELEC listing_id", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM labels_california_housing", "labels_california_housing does not exist"),
        ("SELECT * FROM read_csv('/etc/hosts')", "Permission Error"),
        (f"SELECT event_timestamp, population {FROM}", "does not select listing_id"),
        (f"SELECT listing_id, population {FROM}", "does not select event_timestamp"),
        (f"SELECT listing_id, event_timestamp, 1e0 AS median_house_value {FROM}", "selects median_house"),
        (f"SELECT * {FROM}", "selects partition_key"),
        (f"SELECT listing_id, event_timestamp, population, population {FROM}", "population more than once"),
        (f"SELECT listing_id, event_timestamp, 1 AS rooms, 2 AS Rooms {FROM}", "selects Rooms, rooms more than once"),
        (f'SELECT listing_id, event_timestamp, 1 AS "a b", 2 AS a_b {FROM}', "selects a b, a_b more than once"),
        (f'SELECT listing_id, event_timestamp, 1 AS "a:b" {FROM}', "selects 'a:b'"),
        (f"SELECT listing_id, event_timestamp, 1 AS rooms__ts {FROM}", "selects rooms__ts, named as an event time"),
        (f"SELECT listing_id, event_timestamp {FROM}", "selects no feature"),
        (f"SELECT listing_id, event_timestamp, 1.5 AS half {FROM}", "half is of type decimal128(2, 1)"),
        (
            f"SELECT listing_id, event_timestamp::DATE AS event_timestamp, 1 AS one {FROM}",
            "is of type date32",
        ),
        (f"SELECT listing_id, event_timestamp, 1 AS one {FROM}; SELECT 2", "other than one SELECT"),
        ("DROP VIEW clean_california_housing", "other than one SELECT"),
    ],
)
def test_wrong_sql_is_one_line_that_names_the_file(make_spec, sql, said):
    spec = make_spec(sql)
    with pytest.raises(ConfigError) as caught:
        query.feature_schema(spec)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{spec.folder}/features.sql: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "keys", "said"),
    [
        (
            f"SELECT listing_id // 2 AS listing_id, event_timestamp, 1 AS one {FROM}",
            [1, 2, 3],
            "1 rows repeat an entity",
        ),
        (
            f"SELECT NULLIF(listing_id, 2) AS listing_id, event_timestamp, 1 AS x {FROM}",
            [1, 2],
            "listing_id is null",
        ),
        (f"SELECT listing_id, event_timestamp, 1 / (households - 2) AS x {FROM}", [1, 2], "x is infinite"),
        (
            f"SELECT listing_id, event_timestamp, ln(-households) AS x {FROM}",
            [1],
            "x is infinite or not a number in 1 rows",
        ),
        (
            f"SELECT listing_id, event_timestamp + INTERVAL 1 DAY AS event_timestamp, 1 AS one {FROM}",
            [1, 2],
            "2 rows have an event time outside the partition",
        ),
    ],
)
def test_wrong_rows_are_refused_and_nothing_is_written(make_spec, lake, put_clean, sql, keys, said):
    spec = make_spec(sql)
    put_clean(spec, keys)
    with pytest.raises(DataError, match=said):
        query.write(spec, lake, DAY)
    assert not lake.exists("features_california_housing")


def test_an_empty_day_gives_no_rows(spec, lake, put_clean):
    put_clean(spec, [])
    assert query.write(spec, lake, DAY).rows == 0


def test_feast_is_not_imported():
    loaded = "import sys, include.features.query; sys.exit('feast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_personal_data_is_no_feature() -> None:
    spec = catalogue.load("california_housing")
    tagged = spec.columns["median_income"].model_copy(update={"pii": True})
    personal = spec.model_copy(update={"columns": spec.columns | {"median_income": tagged}})
    with pytest.raises(ConfigError, match=r"features\.sql: reads median_income, which has pii: true"):
        query.feature_schema(personal)
