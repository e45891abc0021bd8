"""Delta tables: a partition is replaced in one commit, whatever else is written meanwhile, and only as declared."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import DataError
from include.lakehouse.schemas import PARTITION, TIMESTAMP, ModelTable, Table
from include.lakehouse.selection import between, within
from include.lakehouse.tables import CHECKPOINT_COMMITS, Lakehouse, Reader
from tests.tables import Overtaken, day

KEY = "2025-01-01"
AT = datetime(2025, 1, 1, tzinfo=UTC)
SPEC = catalogue.load("california_housing")


def declared(*partition: str, layout: tuple[str, ...] = (), **columns: pa.DataType) -> ModelTable:
    """A table of a key ``n``, a partition key and further columns."""
    return Table(
        "t",
        lambda spec: {"n": pa.int64(), PARTITION: pa.string(), **columns},
        lambda spec: ("n",),
        partition or (PARTITION,),
        writer="test",
        promise="",
        layout=layout,
    ).of(SPEC)


TABLE = declared()


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path))


def rows(key: str, values: list[int], **columns: object) -> pa.Table:
    own = {name: pa.array([value] * len(values)) for name, value in columns.items()}
    return pa.table({"n": pa.array(values, pa.int64()), PARTITION: pa.array([key] * len(values), pa.string()), **own})


def write(lake: Lakehouse, key: str, values: list[int], table: ModelTable = TABLE) -> int:
    return lake.replace(table, rows(key, values), {PARTITION: key})


def values(lake: Lakehouse, key: str) -> list[int]:
    return sorted(lake.read(TABLE, where=[(PARTITION, "=", key)])["n"].to_pylist())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.integers(0, 9), max_size=4, unique=True)), min_size=1, max_size=8
    )
)
def test_any_sequence_of_writes_leaves_the_last_one_of_each_partition(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, list[int]]]
) -> None:
    lake = Lakehouse(str(tmp_path_factory.mktemp("lake")))
    expected: dict[str, list[int]] = {}
    for number, content in writes:
        key = f"2025-01-0{number}"
        assert write(lake, key, content) == lake.version(TABLE)
        expected[key] = sorted(content)
    for key, content in expected.items():
        assert values(lake, key) == content
        assert lake.count(TABLE, where=[(PARTITION, "=", key)]) == len(content)
    assert lake.read(TABLE).num_rows == lake.count(TABLE) == sum(map(len, expected.values()))
    assert lake.rows_by_partition(TABLE) == {key: len(found) for key, found in sorted(expected.items()) if found}


def test_writers_of_different_partitions_do_not_lose_each_other(lake: Lakehouse) -> None:
    def write_often(number: int) -> None:
        for value in range(4):
            write(lake, f"2025-01-0{number}", [value])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write_often, range(1, 7)))
    assert [values(lake, f"2025-01-0{number}") for number in range(1, 7)] == [[3]] * 6


def _add(root: str, number: int) -> None:
    table = declared()

    def with_number(found: pa.Table) -> pa.Table:
        return pa.concat_tables([found, rows(KEY, [number])])

    Lakehouse(root).update(table, {PARTITION: KEY}, with_number)


def test_eight_processes_that_change_one_new_partition_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once
    with ProcessPoolExecutor(8, mp_context=context) as pool:
        list(pool.map(_add, [str(tmp_path)] * 16, range(16)))
    assert values(Lakehouse(str(tmp_path)), KEY) == list(range(16))


def test_a_stream_is_made_again_from_what_another_writer_left(lake: Lakehouse, tmp_path: Path) -> None:
    """Made from one table version and committed against it: what another writer adds meanwhile is not lost."""
    first = write(lake, KEY, [1])

    def tenfold(before: Reader) -> Iterator[pa.RecordBatch]:
        found = [value for part in before(["n"]) for value in part["n"].to_pylist()]
        yield from rows(KEY, [10 * value for value in found]).to_batches()

    overtaken = Overtaken(str(tmp_path), lambda: write(lake, KEY, [1, 2]))
    assert overtaken.update_stream(TABLE, {PARTITION: KEY}, tenfold) == first + 2
    assert values(lake, KEY) == [10, 20]


def test_a_change_that_fails_leaves_what_was_there(lake: Lakehouse) -> None:
    write(lake, KEY, [1])

    def fail(found: pa.Table) -> pa.Table:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        lake.update(TABLE, {PARTITION: KEY}, fail)
    assert values(lake, KEY) == [1]


def test_a_table_is_opened_once_and_what_others_commit_is_seen(lake: Lakehouse, tmp_path: Path) -> None:
    opened = []
    find = lake._find
    write(Lakehouse(str(tmp_path)), KEY, [1])
    lake._find = lambda *args: opened.append(args) or find(*args)  # type: ignore[method-assign]
    for number in range(2 * CHECKPOINT_COMMITS):
        write(Lakehouse(str(tmp_path)), KEY, [number])
        assert values(lake, KEY) == [number]
        assert lake.rows_by_partition(TABLE)[KEY] == 1
        assert lake.exists(TABLE)
        write(lake, "2025-01-02", [number, number + 1])
        assert lake.count(TABLE) == 3
    assert len(opened) == 1


def test_threads_that_share_a_lakehouse_read_what_was_committed(lake: Lakehouse) -> None:
    def read_and_write(number: int) -> None:
        key = f"2025-01-0{number}"
        for value in range(4):
            write(lake, key, [value])
            assert values(lake, key) == [value]
            assert lake.count(TABLE, where=[(PARTITION, "=", key)]) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_and_write, range(1, 5)))


def test_an_earlier_version_can_be_read(lake: Lakehouse) -> None:
    first = write(lake, KEY, [1])
    write(lake, KEY, [2])
    assert lake.read(TABLE, version=first)["n"].to_pylist() == [1]
    assert values(lake, KEY) == [2]


def test_ranges_of_partitions_are_read_from_their_own_files(lake: Lakehouse) -> None:
    for number in range(1, 10):
        write(lake, f"2025-01-0{number}", [number])
    found = lake.read(TABLE, where=between(day("2025-01-03"), day("2025-01-05")))
    assert sorted(found["n"].to_pylist()) == [3, 4, 5]
    assert lake.read(TABLE, where=[*within(day("2025-01-04")), ("n", ">", 4)]).num_rows == 0
    assert lake.read(TABLE, where=[("n", "in", [2, 9, 11])]).num_rows == 2
    # A file that is not of the partition is not opened: it may even be gone.
    for file in Path(lake.uri(TABLE)).glob(f"{PARTITION}=2025-01-01/*.parquet"):
        file.unlink()
    assert values(lake, "2025-01-02") == [2]
    assert lake.count(TABLE, where=within(day("2025-01-02"))) == 1


def test_the_log_keeps_bounds_of_the_key_and_of_what_is_sought(lake: Lakehouse) -> None:
    """A reader of every file's bounds of every column takes five times as long to open a table of a thousand files."""
    lake.replace(declared(colour=pa.string(), at=TIMESTAMP), rows(KEY, [1], colour="a", at=AT), {PARTITION: KEY})
    (file,) = pa.table(lake.open(TABLE).get_add_actions(flatten=True)).to_pylist()
    assert {name for name in file if name.startswith(("min.", "max."))} == {"min.n", "max.n"}
    # Other readers find the rows all the same.
    for chosen in (pc.field("colour") == "a", pc.field("n") == 1, pc.field("at") == AT):
        assert lake.open(TABLE).to_pyarrow_dataset().to_table(filter=chosen).num_rows == 1


def test_only_files_that_may_hold_a_key_are_named(lake: Lakehouse) -> None:
    for number in range(1, 5):
        write(lake, f"2025-01-0{number}", [10 * number, 10 * number + 5])
    others = [(PARTITION, "!=", "2025-01-04")]

    def found(keys: list[int | None]) -> list[list[int]]:
        paths = lake.paths_with_keys(TABLE, pa.table({"n": pa.array(keys, pa.int64())}), others)
        return [pq.read_table(path, partitioning=None)["n"].to_pylist() for path in sorted(paths)]

    assert found([12, None, 35, 45]) == [[10, 15], [30, 35]]
    assert found([16, 2**62]) == found([]) == found([None]) == []


def test_times_are_stored_as_microseconds_in_utc(lake: Lakehouse) -> None:
    moment = datetime(2025, 1, 1, 12, tzinfo=UTC)
    table = declared(at=TIMESTAMP)
    at = pa.array([moment], pa.timestamp("ns", tz="Europe/Berlin"))
    lake.replace(table, rows(KEY, [1]).append_column("at", at), {PARTITION: KEY})
    assert lake.read(table)["at"].type == TIMESTAMP
    assert lake.read(table)["at"].to_pylist() == [moment]


def test_a_quote_in_a_partitions_value_is_only_a_quote(lake: Lakehouse) -> None:
    for key in ("it's", "x' OR '1'='1"):
        write(lake, key, [1])
    assert sorted(lake.read(TABLE)[PARTITION].to_pylist()) == ["it's", "x' OR '1'='1"]


def test_a_table_that_was_never_written_says_so(lake: Lakehouse) -> None:
    assert not lake.exists("t")
    assert lake.read_if_exists("t") is None
    assert lake.count("t") == 0
    assert lake.rows_by_partition("t") == {}
    with pytest.raises(DataError, match="table t does not exist"):
        lake.read("t")


def test_only_texts_that_repeat_come_as_dictionaries(lake: Lakehouse) -> None:
    count = 20_000
    table = declared(unique=pa.string(), repeated=pa.string())
    content = rows(KEY, list(range(count)))
    content = content.append_column("unique", pa.array([f"row {n}" for n in range(count)]))
    content = content.append_column("repeated", pa.array([f"text {n % 50}" for n in range(count)]))
    lake.replace(table, content, {PARTITION: KEY})
    where = [(PARTITION, "=", KEY)]
    encoded = lake.reader(table, where=where, encoded=True).read_all()
    dictionaries = {field.name for field in encoded.schema if pa.types.is_dictionary(field.type)}
    assert dictionaries == {"repeated"}
    assert encoded.to_pylist() == lake.reader(table, where=where).read_all().to_pylist()


REFUSED = {
    "a column that is not declared": (rows(KEY, [1], colour="red"), "not declared: colour"),
    "a missing column": (rows(KEY, [1]).drop_columns(["n"]), "lack the column n"),
    "another type": (pa.table({"n": ["one"], PARTITION: [KEY]}), "column n is string and declared as int64"),
    "a number that would be cut": (pa.table({"n": [1.5], PARTITION: [KEY]}), "column n is double"),
    "a number in a text": (pa.table({"n": ["1"], PARTITION: [KEY]}), "column n is string and declared as int64"),
    "a truth for a number": (pa.table({"n": [True], PARTITION: [KEY]}), "column n is bool and declared as int64"),
    "a column twice": (pa.table([[1], [2], [KEY]], names=["n", "n", PARTITION]), "have twice the column n"),
    "a null in the key": (pa.table({"n": pa.array([None], pa.int64()), PARTITION: [KEY]}), "1 rows have no n"),
    "a key twice": (rows(KEY, [3, 1, 2, 1, 1]), "partition_key 2025-01-01: 2 rows repeat the key n. "),
    "a row of another partition": (rows("2025-01-09", [1]), "rows of another partition_key"),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_are_not_as_declared_are_refused_and_nothing_changes(
    lake: Lakehouse, case: str, streamed: bool
) -> None:
    given, message = REFUSED[case]
    write(lake, KEY, [7])
    rows_given = (lambda: iter(given.to_batches())) if streamed else given
    with pytest.raises(DataError, match=message):
        (lake.replace_stream if streamed else lake.replace)(TABLE, rows_given, {PARTITION: KEY})
    assert values(lake, KEY) == [7]


def test_one_write_replaces_what_the_declaration_says(lake: Lakehouse) -> None:
    table = declared(PARTITION, "source", layout=(PARTITION,), source=pa.string())
    with pytest.raises(DataError, match="one write replaces the rows of a partition_key, source"):
        lake.replace(table, rows(KEY, [1], source="a"), {PARTITION: KEY})
    for source in ("a", "b", "a"):
        lake.replace(table, rows(KEY, [1], source=source), {PARTITION: KEY, "source": source})
    assert sorted(lake.read(table)["source"].to_pylist()) == ["a", "b"]


@pytest.mark.parametrize("value", ["", None])
def test_a_partition_without_a_name_is_refused(lake: Lakehouse, value: str | None) -> None:
    with pytest.raises(DataError, match="the partition_key is empty"):
        lake.replace(TABLE, rows(KEY, [1]).slice(0, 0), {PARTITION: value})


def test_a_time_without_a_zone_is_refused(lake: Lakehouse) -> None:
    table = declared(at=TIMESTAMP)
    with pytest.raises(DataError, match="column at is timestamp"):
        lake.replace(table, rows(KEY, [1], at=datetime(2025, 1, 1)), {PARTITION: KEY})


def test_among_no_values_is_no_row(lake: Lakehouse) -> None:
    write(lake, KEY, [1])
    for column in ("n", PARTITION):
        assert lake.read(TABLE, where=[(column, "in", [])]).num_rows == 0
        assert lake.count(TABLE, where=[(column, "in", [])]) == 0
    assert lake.read(TABLE, where=[("n", "in", [1, 2])]).num_rows == 1


def test_a_column_that_is_added_is_null_in_older_rows(lake: Lakehouse) -> None:
    write(lake, KEY, [1])
    wider = declared(colour=pa.string())
    lake.replace(wider, rows("2025-01-02", [2], colour="red"), {PARTITION: "2025-01-02"})
    found = {row["n"]: row["colour"] for row in lake.read(wider).to_pylist()}
    assert found == {1: None, 2: "red"}
    lake.update(wider, {PARTITION: KEY}, lambda table: table)
    assert lake.read(wider).num_rows == 2


def test_a_column_that_was_declared_since_is_read_as_null(lake: Lakehouse) -> None:
    first = write(lake, KEY, [1, 2])
    wider = declared(colour=pa.string(), at=TIMESTAMP)
    where = [(PARTITION, "=", KEY), ("n", "=", 1)]
    for found in (
        lake.read(wider, where=where),
        lake.read(wider, where=where, version=first),
        lake.read(wider, where=where, columns=["n", "colour", "at"]),
        lake.read_if_exists(wider, where=where, columns=["n", "colour", "at"]),
        lake.reader(wider, where=where, columns=["n", "colour", "at"], encoded=True).read_all(),
    ):
        assert [(row["n"], row["colour"], row["at"]) for row in found.to_pylist()] == [(1, None, None)]
        assert found.schema.field("at").type == TIMESTAMP
    for operator, value in (("=", "red"), ("!=", "red"), ("in", ["red"])):
        assert lake.count(wider, where=[("colour", operator, value)]) == 0
    lake.replace(wider, rows("2025-01-02", [3], colour="red", at=AT), {PARTITION: "2025-01-02"})
    assert lake.read(wider, where=[("colour", "=", "red")])["n"].to_pylist() == [3]
    assert sorted(lake.read(wider, columns=["n", "colour"])["n"].to_pylist()) == [1, 2, 3]
    assert "colour" not in lake.read(TABLE.name, version=first).column_names


def test_a_changed_type_is_a_migration(lake: Lakehouse) -> None:
    write(lake, KEY, [1])
    other = declared(n=pa.string())
    with pytest.raises(DataError, match=r"column n is int64 in the table and declared as string.*migration"):
        lake.replace(other, pa.table({"n": ["a"], PARTITION: [KEY]}), {PARTITION: KEY})
