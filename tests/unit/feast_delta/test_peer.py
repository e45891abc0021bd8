"""Our offline store held against Feast's own DuckDB store, through Feast, on the same rows."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_delta import source
from feast_delta.source import DeltaSource

START = datetime(2025, 1, 1, tzinfo=UTC)


def open_store(folder: Path, name: str, offline: dict[str, str]) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project="peer",
            provider="local",
            registry=str(folder / f"{name}.db"),
            offline_store=offline,
            online_store=None,
            entity_key_serialization_version=3,
        )
    )


def features(store: FeatureStore, rows: object, ttl: timedelta, entities: pd.DataFrame) -> list[float | None]:
    keys = [Entity(name=name, join_keys=[name], value_type=ValueType.INT64) for name in ("a", "b")]
    schema = [Field(name="a", dtype=Int64), Field(name="b", dtype=Int64), Field(name="value", dtype=Float64)]
    view = FeatureView(name="view", entities=keys, schema=schema, source=rows, ttl=ttl, online=False)
    store.apply([*keys, view])
    found = store.get_historical_features(entity_df=entities, features=["view:value"]).to_df()
    # Feast does not promise the order of rows.
    values = found.sort_values("row")["value"]
    assert found["row"].sort_values().tolist() == entities["row"].tolist()
    return [None if pd.isna(value) else value for value in values]


hours = st.integers(0, 12)
key = st.tuples(st.integers(1, 2), st.integers(1, 2))
# One row for each key, event time and created time: of several, neither store promises one.
rows_of = st.lists(st.tuples(key, hours, hours), min_size=1, max_size=20, unique=True)
entities_of = st.lists(st.tuples(key, st.integers(0, 18)), min_size=1, max_size=10)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows_of, entities_of, st.integers(1, 8), st.sampled_from([0, 10]))
def test_values_are_those_of_feasts_duckdb_store(rows, entities, ttl, few):
    at = [START + timedelta(hours=hour) for _, hour, _ in rows]
    created = [START + timedelta(hours=hour) for _, _, hour in rows]
    zone = pa.timestamp("us", tz="UTC")
    table = pa.table(
        {
            "a": [k[0] for k, _, _ in rows],
            "b": [k[1] for k, _, _ in rows],
            "at": pa.array(at, zone),
            "created": pa.array(created, zone),
            "value": [float(number) for number in range(len(rows))],
        }
    )
    frame = pd.DataFrame(
        {
            "a": [k[0] for k, _ in entities],
            "b": [k[1] for k, _ in entities],
            "event_timestamp": pd.to_datetime([START + timedelta(hours=hour) for _, hour in entities]).as_unit("us"),
            "row": range(len(entities)),
        }
    )
    names = {"timestamp_field": "at", "created_timestamp_column": "created", "name": "rows"}
    with tempfile.TemporaryDirectory() as name, patch.object(source, "FEW", few):
        folder = Path(name)
        for start in range(0, len(rows), 5):
            write_deltalake(str(folder / "delta"), table.slice(start, 5), mode="append")
        pq.write_table(table, folder / "rows.parquet")
        ours = open_store(
            folder,
            "ours",
            {
                "type": "feast_delta.offline_store.DeltaOfflineStore",
                "lakehouse_uri": name,
            },
        )
        theirs = open_store(folder, "theirs", {"type": "duckdb"})
        expected = features(theirs, FileSource(path=str(folder / "rows.parquet"), **names), timedelta(hours=ttl), frame)
        found = features(ours, DeltaSource(path=str(folder / "delta"), **names), timedelta(hours=ttl), frame)
    assert found == expected
