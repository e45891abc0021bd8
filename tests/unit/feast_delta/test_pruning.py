"""What a scan leaves out: it opens few files and hands few rows to the join, and the answers stay the same."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_delta import source as module
from feast_delta.offline_store import DeltaOfflineStore
from feast_delta.source import DeltaSource, scan
from tests.unit.feast_delta.test_point_in_time import Row, rank, reference

START = datetime(2025, 1, 1, tzinfo=UTC)
STEP = timedelta(microseconds=400)
"""Finer than the milliseconds to which the log of a table is cut."""
TIMESTAMP = pa.timestamp("us", tz="UTC")
CONFIG = SimpleNamespace(offline_store=SimpleNamespace(duckdb_settings={}))
REGISTRY = SimpleNamespace(list_on_demand_feature_views=lambda *_, **__: [])
ENTITIES = [
    Entity(name="number", join_keys=["number"], value_type=ValueType.INT64),
    Entity(name="text", join_keys=["text"], value_type=ValueType.STRING),
]
FIELDS = [Field(name="number", dtype=Int64), Field(name="text", dtype=String), Field(name="value", dtype=Int64)]

moment = st.integers(0, 12)
key = st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "long" * 20]))
rows_of = st.builds(Row, key, moment, st.none(), st.integers(0, 99))
files_of = st.lists(st.lists(rows_of, min_size=1, max_size=8), min_size=1, max_size=4).filter(
    lambda files: len({row[:2] for file in files for row in file}) == sum(map(len, files))
)

entities_of = st.lists(st.tuples(key, st.integers(-1, 16)), max_size=4)


def table_of(rows: list[Row]) -> pa.Table:
    return pa.table(
        {
            "number": pa.array([row.key[0] for row in rows], pa.int64()),
            "text": pa.array([row.key[1] for row in rows], pa.string()),
            "at": pa.array([START + row.at * STEP for row in rows], TIMESTAMP),
            "value": pa.array([row.value for row in rows], pa.int64()),
        }
    )


@settings(max_examples=30, deadline=None)
@given(
    files_of, st.lists(st.tuples(key, st.integers(-1, 16)), max_size=4), st.none() | moment, st.sampled_from([0, 10])
)
def test_answers_are_those_of_the_reference_whatever_is_left_out(files, entities, ttl, few):
    with tempfile.TemporaryDirectory() as folder, patch.object(module, "FEW", few):
        for rows in files:
            write_deltalake(folder, table_of(rows), mode="append")
        view = FeatureView(
            name="view",
            entities=ENTITIES,
            schema=FIELDS,
            source=DeltaSource(path=folder, name="rows", timestamp_field="at"),
            ttl=ttl * STEP if ttl else None,
        )
        frame = pd.DataFrame(
            {
                "number": pd.Series([number for (number, _), _ in entities], dtype="int64"),
                "text": pd.Series([text for (_, text), _ in entities], dtype="object"),
                "event_timestamp": pd.to_datetime([START + at * STEP for _, at in entities], utc=True),
            }
        )
        job = DeltaOfflineStore.get_historical_features(CONFIG, [view], ["view:value"], frame, REGISTRY, "project")
        found = job.to_arrow()["value"].to_pylist()
    rows = sorted((row for file in files for row in file), key=rank)
    assert found == reference(entities, rows, ttl or None, False, False)


@pytest.fixture
def days(tmp_path: Path) -> DeltaSource:
    """Ten days, a file and two keys each: the keys 0 and 1 on the first, 2 and 3 on the second, and so on."""
    for day in range(10):
        at = pa.array([START + timedelta(days=day)] * 2, TIMESTAMP)
        table = pa.table({"number": [2 * day, 2 * day + 1], "at": at, "value": [day, day]})
        write_deltalake(str(tmp_path / "days"), table, mode="append")
    return DeltaSource(path=str(tmp_path / "days"), name="days", timestamp_field="at")


def lose_files(source: DeltaSource, *, but: int) -> None:
    """Take the files of all other days away: who opens one fails."""
    actions = pa.table(DeltaTable(source.path).get_add_actions(flatten=True)).to_pylist()
    for action in actions:
        if action["min.value"] != but:
            (Path(source.path) / action["path"]).unlink()


def values(source: DeltaSource, start: datetime | None = None, end: datetime | None = None, **keys: list[int]) -> list:
    asked = {name: pa.array(wanted) for name, wanted in keys.items()}
    found = scan(source, source.open(), ["number", "value"], "at", None, start, end, asked)
    return sorted(found.to_table()["value"].to_pylist())


def test_files_of_other_days_are_not_opened(days):
    lose_files(days, but=4)
    day = START + timedelta(days=4)
    assert values(days, day, day + timedelta(hours=23)) == [4, 4]
    with pytest.raises(FileNotFoundError):
        values(days, day, day + timedelta(days=1))


def test_files_without_the_keys_are_not_opened(days):
    lose_files(days, but=4)
    assert values(days, number=[8]) == [4]
    assert values(days, number=[8, 40]) == [4]
    with pytest.raises(FileNotFoundError):
        values(days, number=[8, 10])


def test_many_keys_are_left_to_the_join(days):
    assert values(days, number=[8, 9, 10]) == sorted([*range(10)] * 2)


def test_a_table_that_keeps_no_statistics_is_read_as_a_whole(tmp_path):
    path = str(tmp_path / "table")
    unseen = {"delta.dataSkippingNumIndexedCols": "0"}
    for day in range(3):
        table = pa.table({"number": [day], "at": pa.array([START + timedelta(days=day)], TIMESTAMP), "value": [day]})
        write_deltalake(path, table, mode="append", configuration=unseen)
    source = DeltaSource(path=path, name="table", timestamp_field="at")
    with patch.object(module, "FEW", 0):
        assert values(source, START + timedelta(days=1), None, number=[1]) == [1]
        assert values(source) == [0, 1, 2]


def test_partitions_with_any_value_are_found(tmp_path):
    path, names = str(tmp_path / "table"), ["a b", "50%", "x:y/ü", "a=b", None]
    for number, name in enumerate(names):
        table = pa.table(
            {
                "number": [number],
                "at": pa.array([START], TIMESTAMP),
                "value": [number],
                "name": pa.array([name], pa.string()),
            }
        )
        write_deltalake(path, table, mode="append", partition_by=["name"])
    everything = DeltaSource(path=path, name="table", timestamp_field="at")
    assert values(everything) == [0, 1, 2, 3, 4]
    found = scan(everything, everything.open(), ["name", "value"], "at", None, None, None).to_table()
    assert dict(zip(found["value"].to_pylist(), found["name"].to_pylist(), strict=True)) == dict(enumerate(names))
    for number, name in enumerate(names[:4]):
        assert values(DeltaSource(path=path, name="table", timestamp_field="at", rows={"name": name})) == [number]


def test_a_row_in_the_part_of_a_millisecond_that_the_log_leaves_out_is_found(tmp_path):
    at = START + timedelta(microseconds=1_999)
    path = str(tmp_path / "table")
    write_deltalake(path, pa.table({"number": [1], "at": pa.array([at], TIMESTAMP), "value": [1]}))
    source = DeltaSource(path=path, name="table", timestamp_field="at")
    assert values(source, at, at) == [1]
    assert values(source, at + timedelta(microseconds=1), None) == []


def test_a_key_that_arrow_and_duckdb_compare_differently_is_left_to_the_join(tmp_path):
    path = str(tmp_path / "table")
    at = pa.array([START], TIMESTAMP)
    write_deltalake(path, pa.table({"height": [0.0], "at": at, "value": [1]}))
    height = Entity(name="height", join_keys=["height"], value_type=ValueType.DOUBLE)
    fields = [Field(name="height", dtype=Float64), Field(name="value", dtype=Int64)]
    source = DeltaSource(path=path, name="table", timestamp_field="at")
    view = FeatureView(name="view", entities=[height], schema=fields, source=source)
    frame = pd.DataFrame({"height": [-0.0], "event_timestamp": [pd.Timestamp(START)]})
    with patch.object(module, "FEW", 0):
        job = DeltaOfflineStore.get_historical_features(CONFIG, [view], ["view:value"], frame, REGISTRY, "project")
        assert job.to_arrow()["value"].to_pylist() == [1]
