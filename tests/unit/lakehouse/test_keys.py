"""Keys that repeat are counted exactly, in whatever batches and order the rows come, in memory and beyond it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import DataError
from include.lakehouse import keys
from include.lakehouse.keys import Keys
from include.lakehouse.schemas import TABLES, Table
from include.lakehouse.tables import Lakehouse

SCHEMA = pa.schema({"file": pa.string(), "row": pa.int64()})
PAIRS = st.lists(st.tuples(st.sampled_from(["", "a", "b", None]), st.integers(-2, 3)), max_size=12)


@pytest.mark.parametrize("in_memory", [keys.IN_MEMORY_ROWS, 0, 3], ids=["in memory", "on disk", "both"])
@settings(max_examples=60, deadline=None)
@given(batches=st.lists(PAIRS, max_size=4), ordered=st.booleans())
def test_every_row_whose_key_came_before_is_counted(in_memory: int, batches: list, ordered: bool) -> None:
    if ordered:
        batches = [sorted(batch, key=lambda pair: (pair[0] or "", pair[1])) for batch in batches]
    with pytest.MonkeyPatch.context() as patched, Keys(SCHEMA.names) as found:
        patched.setattr(keys, "IN_MEMORY_ROWS", in_memory)
        for batch in batches:
            found.add(pa.Table.from_pylist([dict(zip(SCHEMA.names, pair, strict=True)) for pair in batch], SCHEMA))
        counts = Counter(pair for batch in batches for pair in batch)
        assert found.repeated() == sum(count - 1 for count in counts.values())


def test_ascending_keys_are_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.duckdb, "connect", None)
    monkeypatch.setattr(keys, "IN_MEMORY_ROWS", 10)
    with Keys(SCHEMA.names) as found:
        for file in ("a", "b"):
            found.add(pa.table({"file": [file] * 20, "row": pa.array(range(20))}, SCHEMA))
        assert found.repeated() == 0


def test_what_waits_on_the_disk_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keys, "IN_MEMORY_ROWS", 1)
    monkeypatch.setattr(keys.tempfile, "tempdir", str(tmp_path))
    with Keys(["n"]) as found:
        found.add(pa.table({"n": np.arange(9)[::-1]}))
        assert list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.layer)
def test_no_table_takes_a_key_twice(tmp_path: Path, table: Table, streamed: bool) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    target = table.of(spec)
    fills = {"string": "text", "int64": 7, "double": 0.5, "bool": True}
    row = {field.name: fills.get(str(field.type)) for field in target.schema}
    row |= {field.name: 0 for field in target.schema if pa.types.is_timestamp(field.type)}
    partition = {name: str(row[name]) for name in table.partition}
    rows = pa.Table.from_pylist([row, row], target.schema)
    given = (lambda: iter(rows.to_batches(max_chunksize=1))) if streamed else rows
    with pytest.raises(DataError) as refused:
        (lake.replace_stream if streamed else lake.replace)(target, given, partition)
    assert f"1 rows repeat the key {', '.join(target.key)}" in str(refused.value)
    assert target.name in str(refused.value)
    assert lake.count(target) == 0
