"""Delta tables: a partition is replaced in one commit, whatever else is written meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.settings import Places
from include.lakehouse.tables import Lakehouse

DAY = date(2025, 1, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return lakehouse(tmp_path)


def lakehouse(folder: Path) -> Lakehouse:
    return Lakehouse(Places("dev", str(folder / "landing"), str(folder / "lake"), ""))


def rows(day: date, values: list[int]) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64()), "day": pa.array([day] * len(values), pa.date32())})


def values(lake: Lakehouse, day: date) -> list[int]:
    return sorted(lake.read("t", where=[("day", "=", day)])["value"].to_pylist())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(st.integers(1, 3), st.lists(st.integers(0, 9), max_size=4)), min_size=1, max_size=8))
def test_any_sequence_of_writes_leaves_the_last_one_of_each_partition(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, list[int]]]
) -> None:
    lake = lakehouse(tmp_path_factory.mktemp("lake"))
    expected: dict[int, list[int]] = {}
    for day, content in writes:
        version = lake.replace_partition("t", rows(date(2025, 1, day), content), {"day": date(2025, 1, day)})
        assert version == lake.version("t")
        expected[day] = sorted(content)
    for day, content in expected.items():
        assert values(lake, date(2025, 1, day)) == content
    assert lake.read("t").num_rows == sum(len(content) for content in expected.values())


def test_writers_of_different_partitions_do_not_lose_each_other(lake: Lakehouse) -> None:
    def write(day: int) -> None:
        for value in range(4):
            lake.replace_partition("t", rows(date(2025, 1, day), [value]), {"day": date(2025, 1, day)})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(1, 7)))
    assert [values(lake, date(2025, 1, day)) for day in range(1, 7)] == [[3]] * 6


def test_an_earlier_version_can_be_read(lake: Lakehouse) -> None:
    first = lake.replace_partition("t", rows(DAY, [1]), {"day": DAY})
    lake.replace_partition("t", rows(DAY, [2]), {"day": DAY})
    assert lake.read("t", version=first)["value"].to_pylist() == [1]
    assert values(lake, DAY) == [2]


def test_event_times_are_stored_as_microseconds_in_utc(lake: Lakehouse) -> None:
    moment = datetime(2025, 1, 1, 12, tzinfo=UTC)
    table = rows(DAY, [1]).append_column("at", pa.array([moment], pa.timestamp("ns", tz="Europe/Berlin")))
    lake.replace_partition("t", table, {"day": DAY})
    stored = lake.read("t")["at"]
    assert stored.type == pa.timestamp("us", tz="UTC")
    assert stored.to_pylist() == [moment]


def test_a_quote_in_a_partitions_value_is_only_a_quote(lake: Lakehouse) -> None:
    for name in ("it's", "x' OR '1'='1"):
        lake.replace_partition("t", pa.table({"name": [name], "n": [1]}), {"name": name})
    assert sorted(lake.read("t")["name"].to_pylist()) == ["it's", "x' OR '1'='1"]


def test_a_table_that_was_never_written_says_so(lake: Lakehouse) -> None:
    assert not lake.exists("t")
    assert lake.read_if_exists("t") is None
    with pytest.raises(DataError, match="table t does not exist"):
        lake.read("t")


def test_only_texts_that_repeat_come_as_dictionaries(lake: Lakehouse) -> None:
    count = 20_000
    content = pa.table(
        {
            "unique": [f"row {n}" for n in range(count)],
            "repeated": [f"text {n % 50}" for n in range(count)],
            "number": pa.array(range(count), pa.int64()),
            "day": pa.array([DAY] * count, pa.date32()),
        }
    )
    lake.replace_partition("t", content, {"day": DAY})
    encoded = lake.reader("t", where={"day": DAY}, encoded=True).read_all()
    dictionaries = {field.name for field in encoded.schema if pa.types.is_dictionary(field.type)}
    assert dictionaries == {"repeated"}
    assert encoded.to_pylist() == lake.reader("t", where={"day": DAY}).read_all().to_pylist()
