"""What a delivery can bring that nobody should meet: secrets in odd places, files that are none, files that swell."""

from __future__ import annotations

import io
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from include.core.column import Column
from include.core.errors import DeliveryError, RejectedError
from include.ingestion import files, parquet_rows, steps, validation, weight
from include.ingestion.batch import BatchCounts
from include.ingestion.delivery import Delivery
from include.ingestion.verdict import BatchVerdict
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, METRICS, PROFILES, QUARANTINE, RAW
from tests.unit.ingestion.cases import DAY, ROWS, Rows, as_csv, in_chunks, ingest, with_ingestion, with_rules

Deliver = Callable[..., Run]

SECRET = "Zyxia Quillfeather"
"""Looks like nothing that a pattern knows."""


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    """Ends a test that waits for ever, e.g. for somebody to write into a pipe."""

    def give_up(*_: object) -> None:
        raise TimeoutError("it hangs")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def put(column: int, value: str = SECRET, row: int = 7) -> Callable[[Rows], bytes]:
    return lambda rows: as_csv([*rows[:row], [*rows[row][:column], value, *rows[row][column + 1 :]], *rows[row + 1 :]])


def parquet(rows: Rows, **more: pa.Array) -> bytes:
    typed = pacsv.read_csv(io.BytesIO(as_csv(rows)))
    columns = dict(zip(typed.column_names, typed.columns, strict=True))
    file = io.BytesIO()
    pq.write_table(pa.table(columns | more), file)
    return file.getvalue()


def not_utf8(count: int) -> pa.Array:
    """Texts whose bytes are in another encoding, which Parquet writes as they are."""
    texts = [SECRET.encode() + b"\xe4"] * count
    return pa.Array.from_buffers(pa.string(), count, pa.array(texts, pa.binary()).buffers())


PLACES: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "one field too many": ("a.csv", lambda rows: as_csv([*rows[:7], [*rows[7], SECRET], *rows[8:]])),
    "one field too few": ("a.csv", lambda rows: as_csv([*rows[:7], [*rows[7][:-2], SECRET], *rows[8:]])),
    "all fields shifted": (
        "a.csv",
        lambda rows: as_csv([*rows[:7], [*rows[7][:3], SECRET, *rows[7][3:-1]], *rows[8:]]),
    ),
    "no header": ("a.csv", lambda rows: put(9, row=0)(rows[1:])),
    "no header, and the same twice": ("a.csv", lambda rows: as_csv([[*rows[1], SECRET, SECRET], *rows[2:]])),
    "name of a further column": (
        "a.csv",
        lambda rows: as_csv([[*row, SECRET if row is rows[0] else "x"] for row in rows]),
    ),
    "value of a further column": (
        "a.csv",
        lambda rows: as_csv([[*row, "x" if row is rows[0] else SECRET] for row in rows]),
    ),
    "name of two columns": ("a.csv", lambda rows: as_csv([[*row, SECRET, SECRET] for row in rows])),
    "misfit key": ("a.csv", put(0)),
    "misfit number": ("a.csv", put(4)),
    "only misfits": ("a.csv", lambda rows: as_csv([rows[0], *([*row[:4], SECRET, *row[5:]] for row in rows[1:])])),
    "quote without end": ("a.csv", lambda rows: as_csv(rows).replace(b"NEAR BAY", f'"{SECRET}'.encode(), 1)),
    "another encoding": ("a.csv", lambda rows: as_csv(rows).replace(b"NEAR BAY", SECRET.encode() + b"\xe4", 1)),
    "header in another encoding": ("a.csv", lambda rows: SECRET.encode() + b"\xe4," + as_csv(rows)),
    "another delimiter": (
        "a.csv",
        lambda rows: as_csv([[SECRET, *rows[0]], *([SECRET, *row] for row in rows[1:])], ";"),
    ),
    "name of a file": (f"{SECRET}@example.org.csv", as_csv),
    "name of a file of another kind": (f"<{SECRET}>.txt", as_csv),
    "Parquet: name of a further column": ("a.parquet", lambda rows: parquet(rows, **{SECRET: pa.array([1] * ROWS)})),
    "Parquet: name of nested values": ("a.parquet", lambda rows: parquet(rows, **{SECRET: pa.array([[1]] * ROWS)})),
    "Parquet: name of bytes": (
        "a.parquet",
        lambda rows: parquet(rows, **{SECRET: pa.array([b"1"] * ROWS, pa.large_binary())}),
    ),
    "Parquet: misfits": ("a.parquet", lambda rows: parquet(rows, latitude=pa.array([SECRET] * ROWS))),
    "Parquet: text in another encoding": ("a.parquet", lambda rows: parquet(rows, ocean_proximity=not_utf8(ROWS))),
    "Parquet: cut": ("a.parquet", lambda rows: parquet(rows, **{SECRET: pa.array([1] * ROWS)})[:-9] + SECRET.encode()),
}


@pytest.mark.parametrize(("kind", "chunked"), [("batches", False), ("batches", True), ("labels", False)])
@pytest.mark.parametrize("place", PLACES)
def test_content_that_is_no_value_of_a_declared_column_is_shown_nowhere(
    run: Run,
    deliver: Deliver,
    real: Rows,
    place: str,
    kind: str,
    chunked: bool,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if chunked:
        in_chunks(monkeypatch, block_bytes=5_000)
    name, content = PLACES[place]
    deliver(content(real), kind=kind, file=name)
    said = ""
    with caplog.at_level("DEBUG"):
        try:
            said = repr(ingest(run) if kind == "batches" else steps.load_labels(run))
        except DeliveryError as error:
            assert kind == "labels"
            said = "".join(traceback.format_exception(error))
    shown = shown_of(run) | {"result": said, "log": caplog.text + "".join(capfd.readouterr())}
    assert shown["result"]
    for where, text in shown.items():
        assert "Quillfeather" not in text, where


@pytest.mark.usefixtures("path")
def test_a_cell_that_slipped_into_the_next_column_is_not_shown(
    run: Run,
    deliver: Deliver,
    real: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A personal column stands before one whose values may be shown, and a row lacks a field before both."""
    spec = run.spec.model_copy(
        update={"columns": run.spec.columns | {"owner": Column(type="text", description="Whose", pii=True)}}
    )
    distinct = {
        "type": "expect_column_distinct_values_to_be_in_set",
        "column": "ocean_proximity",
        "value_set": ["ISLAND"],
        "severity": "warn",
    }
    run = with_rules(replace(run, spec=spec), distinct)
    rows = [[*row[:-1], "owner" if row is real[0] else SECRET, row[-1]] for row in real]
    rows[7] = [*rows[7][:3], "far", *rows[7][3:-1]]
    rows[8][-1] = "MOON"
    with caplog.at_level("DEBUG"):
        verdict, _ = ingest(deliver(rows, of=run))
    assert verdict.reasons["unknown_category:ocean_proximity"] == 2
    for where, text in (shown_of(run) | {"log": caplog.text}).items():
        assert "Quillfeather" not in text or where == "profiles", where
    assert "2 rows quarantined, e.g. MOON" in caplog.text


@pytest.mark.usefixtures("path")
def test_what_the_last_row_says_of_a_column_hides_the_values_of_the_first(
    run: Run,
    deliver: Deliver,
    real: Rows,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validation, "CHECKED_AT_ONCE", 1)
    values = [SECRET, SECRET, *(row[-1] for row in real[3:-1]), "jane@example.org"]
    rows = [real[0], *([*row[:-1], value] for row, value in zip(real[1:], values, strict=True))]
    with caplog.at_level("DEBUG"):
        verdict, _ = ingest(deliver(rows))
    assert verdict.reasons["unknown_category:ocean_proximity"] == 3
    for where, text in (shown_of(run) | {"log": caplog.text}).items():
        assert "Quillfeather" not in text, where
    assert "3 rows quarantined, e.g. (personal data: not shown)\n" in caplog.text


def shown_of(run: Run) -> dict[str, str]:
    """What the tables hold that pages are made of, for people who may not read the rows."""
    shown = {table.layer: repr(run.lake.read_if_exists(run.table(table))) for table in (PROFILES, METRICS)}
    decisions = run.lake.read_if_exists("decisions")
    return {**shown, "decisions": repr(decisions and decisions.to_pylist())}


@pytest.mark.usefixtures("path")
def test_what_a_rule_raises_is_not_repeated(
    run: Run,
    deliver: Deliver,
    real: Rows,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    rules = [
        {
            "type": "expect_column_value_z_scores_to_be_less_than",
            "column": "ocean_proximity",
            "threshold": 3,
            "double_sided": True,
        },
        {"type": "expect_column_mean_to_be_between", "column": "ocean_proximity", "min_value": 3},
        {"type": "expect_column_values_to_be_between", "column": "ocean_proximity", "min_value": 3},
        {"type": "expect_column_stdev_to_be_between", "column": "ocean_proximity", "max_value": 3},
    ]
    run = with_rules(run, *(rule | {"severity": "warn"} for rule in rules), and_own=False)
    rows = [real[0], *([*row[:-1], SECRET] for row in real[1:])]
    with caplog.at_level("DEBUG"):
        verdict, _ = ingest(deliver(rows, of=run))
    assert "not_evaluated:ocean_proximity" in verdict.warnings
    shown = shown_of(run) | {"log": caplog.text + "".join(capfd.readouterr()), "verdict": repr(verdict)}
    shown.pop("profiles")  # the column is declared, and not personal
    for where, text in shown.items():
        assert "Quillfeather" not in text, where
    assert "Error" in caplog.text, "which kind of error is said"


def outside(folder: Path) -> Path:
    """A file with good rows that is not below the landing folder."""
    target = folder.parents[3] / "outside"
    target.mkdir(exist_ok=True)
    (target / "secret.csv").write_text("listing_id\n1\n")
    return target


def bound(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # an address of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


HOSTILE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "pipe": ("not_a_file", lambda folder: os.mkfifo(folder / "z.csv")),
    "pipe as Parquet": ("not_a_file", lambda folder: os.mkfifo(folder / "z.parquet")),
    "socket": ("not_a_file", lambda folder: bound(folder / "z.csv")),
    "link to a file": ("not_a_file", lambda folder: (folder / "z.csv").symlink_to(outside(folder) / "secret.csv")),
    "link to a folder": ("not_a_file", lambda folder: (folder / "z.csv").symlink_to(outside(folder))),
    "link to a file beside it": ("not_a_file", lambda folder: (folder / "z.csv").symlink_to("california_housing.csv")),
    "dangling link": ("not_a_file", lambda folder: (folder / "z.csv").symlink_to("nowhere")),
    "link to itself": ("not_a_file", lambda folder: (folder / "z.csv").symlink_to("z.csv")),
    "link within a folder": (
        "not_a_file",
        lambda folder: (
            (folder / "z.csv").mkdir(),
            (folder / "z.csv/p.csv").symlink_to(outside(folder) / "secret.csv"),
        ),
    ),
    "empty folder": ("no_file", lambda folder: (folder / "z.csv").mkdir()),
    "folder in a folder": ("foreign_file", lambda folder: (folder / "z.csv/y.csv").mkdir(parents=True)),
    "name that is no text": (
        "foreign_file",
        lambda folder: Path(os.fsdecode(bytes(folder) + b"/\xff.csv")).write_text(""),
    ),
    "name of two lines": ("foreign_file", lambda folder: (folder / "a\nERROR all is lost.csv").write_text("")),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_plain_file_is_a_verdict(run: Run, deliver: Deliver, good_rows: Rows, what: str) -> None:
    run = deliver(good_rows)
    reason, make = HOSTILE[what]
    make(folder_of(run))
    verdict, counts = ingest(run)
    assert (verdict.batch_reasons, counts) == ((reason,), BatchCounts(0, 0, 0))
    (problem,) = verdict.problems
    assert ". " in problem
    assert problem.isprintable()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_no_folder_on_the_way_is_a_link(run: Run, deliver: Deliver, good_rows: Rows, level: int) -> None:
    run = deliver(good_rows)
    linked = [folder_of(run), *folder_of(run).parents][level - 1]
    moved = linked.rename(linked.parents[3 - level].parent / "elsewhere")
    linked.symlink_to(moved)
    assert ingest(run)[0].batch_reasons == ("not_a_file",)


def test_a_folder_that_is_swapped_for_a_link_is_not_followed(
    run: Run, deliver: Deliver, good_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the folder and the opening of its file."""
    run = deliver(good_rows)
    folder, listed = folder_of(run), Delivery._file_names

    def swap(delivery: Delivery) -> list[str]:
        names = listed(delivery)
        folder.symlink_to(folder.rename(folder.parents[3] / "elsewhere"))
        return names

    monkeypatch.setattr(Delivery, "_file_names", swap)
    assert steps.validate_batch(run).batch_reasons == ("not_a_file",)


def folder_of(run: Run) -> Path:
    return Path(Delivery.expected(run.settings, run.spec, "batches", run.partition).folder)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_parts_in_a_folder_of_that_name_are_read(run: Run, deliver: Deliver, good_rows: Rows, suffix: str) -> None:
    """What Spark writes."""
    run = deliver(good_rows[:11])
    folder = folder_of(run)
    (folder / "california_housing.csv").unlink()
    parts = folder / f"rows{suffix}"
    parts.mkdir()
    for n, rows in enumerate((good_rows[:21], [good_rows[0], *good_rows[21:]])):
        content = as_csv(rows) if suffix == ".csv" else parquet(rows)
        (parts / f"part-0000{n}-5e0c.c000{suffix}").write_bytes(content)
        (parts / f".part-0000{n}.crc").write_bytes(b"\0")
    (parts / "_SUCCESS").touch()
    assert ingest(run)[1] == BatchCounts(40, 40, 0)
    names = set(run.lake.read(run.table(RAW))["source_file"].to_pylist())
    assert {name.partition(f"/rows{suffix}/")[2] for name in names} == {
        f"part-0000{n}-5e0c.c000{suffix}" for n in (0, 1)
    }


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("rows_between", [1, 2, 30])
def test_rows_between_two_stray_quotes_wait_with_their_lines(
    run: Run, deliver: Deliver, good_rows: Rows, rows_between: int, delimiter: str, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries = run.spec.deliveries.model_copy(update={"delimiter": delimiter})
    run = with_ingestion(replace(run, spec=run.spec.model_copy(update={"deliveries": deliveries})), quarantine_budget=1)
    lines = as_csv(good_rows, delimiter).decode().splitlines()
    for n in (4, 4 + rows_between):
        lines[n] = delimiter.join([*lines[n].split(delimiter)[:-1], '"' + good_rows[n][-1]])
    with caplog.at_level("INFO"):
        verdict, counts = ingest(deliver("\n".join([*lines, ""]).encode(), of=run))
    assert verdict.reasons["swallowed_lines"] == 1
    assert counts == BatchCounts(40 - rows_between, 39 - rows_between, 1)
    assert f"lines 5 to {5 + rows_between}" in caplog.text
    steps.take_rows_back(run)
    assert run.lake.count(run.table(QUARANTINE)) == 1, "they stay, whatever the rules say"
    assert run.lake.count(run.table(CLEAN)) == 39 - rows_between


def test_a_text_of_several_lines_is_a_text(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    text = {"type": "expect_column_values_to_not_be_null", "column": "ocean_proximity", "severity": "warn"}
    rows = [good_rows[0], *([*row[:-1], "Near the bay,\n2nd row,\r\nbehind the wood"] for row in good_rows[1:])]
    assert ingest(deliver(rows, of=with_rules(run, text, and_own=False)))[1] == BatchCounts(40, 40, 0)


def test_a_file_of_far_more_columns_is_refused_by_its_header(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = [[*row, *(f"{n}" for n in range(5_000))] for row in good_rows]
    verdict = steps.validate_batch(deliver(rows))
    assert verdict.batch_reasons == ("too_many_columns",)
    assert "5010" in verdict.problems[0]
    verdict = steps.validate_batch(deliver([[*row, *(f"{n:030}" for n in range(5_000))] for row in good_rows]))
    assert verdict.batch_reasons == ("too_many_columns",)


def swelling(rows: int) -> bytes:
    """Few bytes that become many: one long text, over and over."""
    return parquet([["a"], *(["x" * 20_000] for _ in range(rows))])


def test_parquet_is_read_in_chunks_of_bounded_bytes(
    run: Run, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "CHUNK_BYTES", 1 << 20)
    content = swelling(1_000)
    assert len(content) < 50_000
    delivery = Delivery.expected(run.settings, run.spec, "batches", DAY)
    deliver(content, file="a.parquet")
    before = pa.total_allocated_bytes()
    sizes = []
    for chunk in delivery.chunks():
        sizes.append((chunk.num_rows, chunk.get_total_buffer_size(), pa.total_allocated_bytes() - before))
        del chunk
    assert sum(rows for rows, *_ in sizes) == 1_000
    assert max(size for _, size, _ in sizes) < 3 << 20
    assert max(held for *_, held in sizes) < 8 << 20


def test_parquet_whose_pages_swell_is_refused_by_its_metadata(
    run: Run, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "ROW_GROUP_BYTES", 1 << 20)
    file = io.BytesIO()
    texts = pa.array([str(n) + "x" * 5_000 for n in range(1_000)])
    pq.write_table(pa.table({"a": texts}), file, compression="zstd", use_dictionary=False)
    verdict: BatchVerdict = steps.validate_batch(deliver(file.getvalue(), file="a.parquet"))
    assert verdict.batch_reasons == ("too_large",)


def as_varint(value: int, length: int = 0) -> bytes:
    """A number as Thrift writes it, zigzag; as long as another one where it has to be."""
    value, found = value << 1, bytearray()
    while value > 127 or len(found) + 1 < length:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def test_parquet_whose_metadata_hides_how_its_pages_swell_is_refused_by_the_pages(run: Run, deliver: Deliver) -> None:
    """Of a reader that takes the metadata's word 290 KB became 3.6 GB."""
    names, file = [f"x{n}" for n in range(10)], io.BytesIO()
    texts = pa.array(["x" * 60_000] * 2_500)
    whole = {"compression": "zstd", "use_dictionary": False, "data_page_size": 1 << 30, "write_statistics": False}
    pq.write_table(pa.table(dict.fromkeys(names, texts)), file, **whole)
    content = file.getvalue()
    group = pq.ParquetFile(file).metadata.row_group(0)
    for true in {group.total_byte_size, group.column(0).total_uncompressed_size}:
        content = content.replace(as_varint(true), as_varint(1_000, len(as_varint(true))))
    assert len(content) < 400_000
    lying = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    assert {lying.total_byte_size, lying.column(0).total_uncompressed_size} == {1_000}
    deliver(content, file="a.parquet")
    (verdict, _), peak = peak_of(lambda: ingest(replace(run, asked_for=DAY)))
    assert verdict.batch_reasons == ("too_large",)
    assert "the pages of a row group have 1500" in verdict.problems[0]
    assert peak < 20 << 20


def test_many_small_row_groups_are_read_at_once(run: Run, deliver: Deliver) -> None:
    """They took minutes: what had come was added up for each."""
    pieces = [pa.table({"a": [n]}) for n in range(2_000)]
    assert [part.num_rows for part in parquet_rows.gathered(iter(pieces), 1_000)] == [1_000, 1_000]
    delivery = Delivery.expected(run.settings, run.spec, "batches", DAY)
    file = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array(range(2_000))}), file, row_group_size=1)
    deliver(file.getvalue(), file="a.parquet")
    assert sum(part.num_rows for part in delivery.chunks()) == 2_000


def test_parquet_without_a_column_is_a_verdict(run: Run, deliver: Deliver) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({}), file)
    verdict: BatchVerdict = steps.validate_batch(deliver(file.getvalue(), file="a.parquet"))
    assert verdict.batch_reasons
    assert verdict.rows == 0


def long_cells(rows: int, length: int) -> bytes:
    """A delivery of few bytes: one text of that length in every row, once in the file's dictionary."""
    columns = {name: pa.array(["1"] * rows) for name in ("longitude", "latitude", "total_rooms")}
    keys = {"listing_id": pa.array(range(rows))}
    text = {"ocean_proximity": pa.DictionaryArray.from_arrays(pa.array([0] * rows), ["x" * length])}
    file = io.BytesIO()
    pq.write_table(pa.table(keys | columns | text), file, compression="zstd", store_schema=False)
    return file.getvalue()


def peak_of(action: Callable[[], Any]) -> tuple[Any, int]:
    """What an action returns, and how many bytes Arrow held at once for it."""
    pool, former = pa.system_memory_pool(), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        before = pool.bytes_allocated()
        return action(), pool.max_memory() - before
    finally:
        pa.set_memory_pool(former)


def test_parquet_of_few_bytes_and_long_values_is_refused_before_they_are_made(run: Run, deliver: Deliver) -> None:
    content = long_cells(200, 1 << 20)
    assert len(content) < 10_000
    deliver(content, file="a.parquet")
    (verdict, _), peak = peak_of(lambda: ingest(replace(run, asked_for=DAY)))
    assert verdict.batch_reasons == ("too_large",)
    assert "column ocean_proximity, after row 0" in verdict.problems[0]
    assert peak < 20 << 20


def test_many_values_just_short_enough_are_refused_before_all_of_them_are_made(run: Run, deliver: Deliver) -> None:
    content = long_cells(30_000, files.CELL_BYTES)
    assert len(content) < 200_000, "and 2 GB, unpacked"
    deliver(content, file="a.parquet")
    verdict, peak = peak_of(lambda: steps.validate_batch(replace(run, asked_for=DAY)))
    assert verdict.batch_reasons == ("too_large",)
    assert peak < 500 << 20


def test_long_rows_are_counted_over_all_files_of_a_delivery(
    run: Run, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight, "LONG_ROWS_BYTES", 1 << 20)
    content = long_cells(12, files.CELL_BYTES)
    deliver(content, file="a.parquet")
    folder = Path(Delivery.expected(run.settings, run.spec, "batches", DAY).folder)
    (folder / "b.parquet").write_bytes(content)
    assert steps.validate_batch(replace(run, asked_for=DAY)).batch_reasons == ("too_large",)


def test_many_columns_of_numbers_are_no_long_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "LONG_ROWS_BYTES", 1 << 20)
    rows = pa.table({f"column_{number}": ["1234567890.5"] * 1_000 for number in range(500)})
    assert rows.nbytes > 1_000 * weight.ROW_BYTES + weight.LONG_ROWS_BYTES
    weight.Weight().add(rows, "wide.csv")


def test_rows_of_nothing_are_refused_by_the_metadata(run: Run, deliver: Deliver) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({name: pa.nulls(3_000_000, pa.string()) for name in run.spec.columns}), file)
    assert len(file.getvalue()) < 100_000
    verdict = steps.validate_batch(deliver(file.getvalue(), file="a.parquet"))
    assert verdict.batch_reasons == ("too_large",)


def test_labels_that_swell_are_refused(run: Run, deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.ingestion.delivery.WHOLE_BYTES", 1 << 20)
    labels = [["listing_id", "median_house_value"], *([f"{n}", "1"] for n in range(20_000))]
    with pytest.raises(RejectedError, match=r"has more than 1 MB, unpacked"):
        steps.load_labels(deliver(parquet(labels), kind="labels", file="a.parquet"))


@pytest.mark.parametrize(
    "kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.binary())], ids=str
)
def test_a_long_value_is_seen_in_each_type_that_has_texts(run: Run, deliver: Deliver, kind: pa.DataType) -> None:
    texts = pa.array(["a", "x" * (files.CELL_BYTES + 1)])
    column = texts.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else texts.cast(kind)
    file = io.BytesIO()
    pq.write_table(pa.table({"ocean_proximity": column}), file)
    verdict, _ = ingest(deliver(file.getvalue(), file="a.parquet"))
    assert verdict.batch_reasons == ("too_large",)


@pytest.mark.parametrize(("more", "reasons"), [("", ()), ("x", ("too_large",)), ("\n", ("malformed_csv",))])
def test_the_longest_value_of_a_csv_file(
    run: Run, deliver: Deliver, good_rows: Rows, more: str, reasons: tuple[str, ...]
) -> None:
    rows = [list(row) for row in good_rows]
    rows[7][-1] = "x" * files.CELL_BYTES + more
    verdict, _ = ingest(deliver(rows, of=with_ingestion(run, quarantine_budget=1.0)))
    assert verdict.batch_reasons == reasons
    assert "xxx" not in repr(verdict)


@pytest.mark.parametrize("chunked", [False, True], ids=["at once", "in chunks"])
def test_an_example_is_one_short_line_that_no_terminal_acts_upon(
    run: Run,
    deliver: Deliver,
    good_rows: Rows,
    chunked: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if chunked:
        in_chunks(monkeypatch, block_bytes=100_000)
    rows = [list(row) for row in good_rows]
    rows[4][-1], rows[5][-1] = "\x1b[2J\nverdict  accept_batch\u202e", "\x1b" + "y" * 60_000
    with caplog.at_level("INFO"):
        ingest(deliver(rows, of=with_ingestion(run, quarantine_budget=1.0)))
    examples = "\\x1b[2J\\nverdict  accept_batch\\u202e; \\x1b" + "y" * 75 + "…"
    assert f"2 rows quarantined, e.g. {examples}\n" in caplog.text
    for where, text in (shown_of(run) | {"log": caplog.text}).items():
        assert where == "profiles" or "y" * 80 not in text, where
        assert where == "profiles" or "\x1b" not in text, where
