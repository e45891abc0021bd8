"""The real file with one thing broken: each has one verdict that says what, where, and what to do, and loses no row."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from include.errors import DeliveryError
from include.ingestion import batch, conditions
from include.ingestion.batch import BatchVerdict
from include.ingestion.delivery import Delivery
from include.lakehouse.tables import Lakehouse
from include.models.spec import ModelSpec
from include.places import Places

DAY = date(2025, 1, 2)
ROWS = 400
Rows = list[list[str]]
Deliver = Callable[..., Delivery]


@pytest.fixture(scope="session")
def real(housing_path: Path) -> Rows:
    """Header and 400 complete rows of the housing file, as a batch has them."""
    with housing_path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    target = header.index("median_house_value")
    complete = [row for row in rows if all(row)][:ROWS]
    keyed = [["listing_id", *header], *([str(n), *row] for n, row in enumerate(complete, start=1))]
    return [row[: target + 1] + row[target + 2 :] for row in keyed]


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def cell(column: str, value: str) -> Callable[[Rows], bytes]:
    """Row 7 with one cell changed."""

    def change(rows: Rows) -> bytes:
        copy = [list(row) for row in rows]
        copy[7][copy[0].index(column)] = value
        return as_csv(copy)

    return change


def without(rows: Rows, column: int) -> Rows:
    return [row[:column] + row[column + 1 :] for row in rows]


def retyped(rows: Rows) -> bytes:
    return as_csv([rows[0], *([*row[:4], f"about {row[4]}", *row[5:]] for row in rows[1:])])


def run(spec: ModelSpec, lake: Lakehouse, delivery: Delivery) -> tuple[BatchVerdict, batch.BatchCounts]:
    """What the DAG does with a delivery; the books are balanced after it, whatever it was."""
    verdict = batch.validate(spec, lake, delivery)
    day = delivery.day
    if verdict.outcome == "reject_batch":
        counts = batch.reject(spec, lake, day, verdict.batch_reasons)
    else:
        counts = batch.load(spec, lake, day)
    where = {"batch_date": day}
    assert counts.rows == counts.accepted + counts.quarantined
    layers = {layer: lake.count(spec.table(layer), where=where) for layer in ("raw", "clean", "quarantine")}
    assert layers == {"raw": counts.rows, "clean": counts.accepted, "quarantine": counts.quarantined}
    return verdict, counts


REJECTED = {
    "missing column": (lambda rows: as_csv(without(rows, 4)), "missing_column:total_rooms", ROWS),
    "extra column": (lambda rows: as_csv([[*row, "x"] for row in rows]), "extra_column:x", ROWS),
    "renamed column": (lambda rows: as_csv([["id", *rows[0][1:]], *rows[1:]]), "missing_column:listing_id", ROWS),
    "retyped column": (retyped, "retyped_column:total_rooms", ROWS),
    "empty file": (lambda rows: b"", "empty_file", 0),
    "header only": (lambda rows: as_csv(rows[:1]), "no_rows", 0),
    "last line cut between cells": (lambda rows: as_csv(rows)[:-40], "malformed_csv", 0),
    "wrong delimiter": (lambda rows: as_csv(rows, ";"), "wrong_delimiter", 0),
    "UTF-16": (lambda rows: as_csv(rows).decode().encode("utf-16"), "not_utf8", 0),
    "UTF-16 without mark": (lambda rows: as_csv(rows).decode().encode("utf-16-le"), "not_utf8", 0),
    "latin-1": (lambda rows: as_csv(rows).replace(b"NEAR BAY", b"NEAR B\xe4Y"), "not_utf8", 0),
    "gzip by another name": (lambda rows: gzip.compress(as_csv(rows)), "compressed_file", 0),
    "quote without end": (lambda rows: as_csv(rows).replace(b"NEAR BAY", b'"NEAR BAY', 1), "malformed_csv", 0),
    "column twice": (lambda rows: as_csv([["latitude", *rows[0][1:]], *rows[1:]]), "repeated_column:latitude", 0),
}


@pytest.mark.parametrize("case", REJECTED)
def test_batch_is_rejected_for_one_reason(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows, case: str
) -> None:
    run(spec, lake, deliver(real))
    broken, reason, rows = REJECTED[case]
    content = broken(real)
    delivery = deliver(content)
    verdict, counts = run(spec, lake, delivery)
    assert verdict.outcome == "reject_batch"
    assert reason in verdict.batch_reasons
    assert counts == batch.BatchCounts(rows, 0, rows)
    problem = verdict.problems[verdict.batch_reasons.index(reason)]
    assert problem.startswith(delivery.folder)
    assert "\n" not in problem
    assert ". " in problem
    assert (Path(delivery.folder) / "california_housing.csv").read_bytes() == content
    assert delivery.is_complete()


QUARANTINED = {
    "text in a number": (cell("total_rooms", "many"), ["not_a_number:total_rooms"]),
    "NaN": (cell("total_rooms", "NaN"), ["not_a_number:total_rooms"]),
    "inf": (cell("median_income", "inf"), ["not_a_number:median_income"]),
    "1e308": (cell("total_rooms", "1e308"), ["out_of_range:total_rooms"]),
    "negative rooms": (cell("total_rooms", "-5"), ["out_of_range:total_rooms"]),
    "latitude out of California": (cell("latitude", "51.5"), ["out_of_range:latitude"]),
    "unseen category": (cell("ocean_proximity", "MOON"), ["unknown_category:ocean_proximity"]),
    "cell that starts with =": (cell("ocean_proximity", "=1+1"), ["unknown_category:ocean_proximity"]),
    "e-mail in a text": (
        cell("ocean_proximity", "jane@example.com"),
        ["unknown_category:ocean_proximity", "suspected_pii:ocean_proximity"],
    ),
    "last line without its end": (lambda rows: as_csv(rows)[:-1], ["truncated_line"]),
    "duplicate row": (lambda rows: as_csv([*rows, rows[3]]), ["duplicate_row"]),
}


@pytest.mark.parametrize("case", QUARANTINED)
def test_one_row_is_quarantined(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows, case: str) -> None:
    broken, reasons = QUARANTINED[case]
    content = broken(real)
    verdict, counts = run(spec, lake, deliver(content))
    assert verdict.outcome == "accept_and_quarantine"
    assert counts.quarantined == 1
    (row,) = lake.read(spec.table("quarantine")).to_pylist()
    assert row["reasons"] == reasons


def test_duplicate_keys_are_all_quarantined(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows) -> None:
    verdict, counts = run(spec, lake, deliver(cell("listing_id", "3")(real)))
    assert verdict.reasons == {"duplicate_key:listing_id": 2}
    assert counts == batch.BatchCounts(ROWS, ROWS - 2, 2)


def test_byte_order_mark_changes_nothing(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows) -> None:
    _, counts = run(spec, lake, deliver(b"\xef\xbb\xbf" + as_csv(real)))
    assert counts == batch.BatchCounts(ROWS, ROWS, 0)


def test_other_delimiter_is_read_where_model_yaml_names_it(
    spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows
) -> None:
    other = spec.model_copy(update={"deliveries": spec.deliveries.model_copy(update={"delimiter": ";"})})
    delivery = Delivery.expected(places, other, "batches", DAY)
    delivery.write("california_housing.csv", as_csv(real, ";"))
    assert run(other, lake, delivery)[1] == batch.BatchCounts(ROWS, ROWS, 0)


@pytest.mark.parametrize(("rows", "word"), [(1, "1 rows, usual are 40"), (ROWS * 100, "40000 rows")])
def test_unusual_number_of_rows_rejects(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    real: Rows,
    rows: int,
    word: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for n in range(1, 4):
        run(spec, lake, deliver(real, DAY - timedelta(days=n)))
    many = [real[0], *([str(n), *real[1 + n % ROWS][1:]] for n in range(rows))]
    with caplog.at_level("INFO"):
        verdict, counts = run(spec, lake, deliver(many))
    assert verdict.batch_reasons == ("row_count_off_band",)
    assert counts == batch.BatchCounts(rows, 0, rows)
    assert word in caplog.text


def test_same_batch_twice_changes_nothing(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows) -> None:
    delivery = deliver(cell("latitude", "51.5")(real))
    seen = []
    for _ in range(2):
        counts = run(spec, lake, delivery)[1]
        tables = [lake.read(spec.table(layer)) for layer in ("raw", "quarantine", "clean", "profiles")]
        seen.append((counts, [sorted(map(repr, table.to_pylist())) for table in tables]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("first", ["the earlier day", "the later day"])
@pytest.mark.parametrize(("rule", "second"), [("latest_wins", (ROWS, 0)), ("quarantine", (ROWS - 100, 100))])
def test_key_that_another_batch_has(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    real: Rows,
    first: str,
    rule: str,
    second: tuple[int, int],
) -> None:
    lenient = {"repeated_key": rule, "quarantine_budget": 0.5, "row_count_band": None}
    spec = spec.model_copy(update={"ingestion": spec.ingestion.model_copy(update=lenient)})
    days = [DAY, DAY + timedelta(days=1)]
    if first == "the later day":
        days.reverse()
    run(spec, lake, deliver(real[:101], days[0]))
    for _ in range(2):
        _, counts = run(spec, lake, deliver(real, days[1]))
        assert (counts.accepted, counts.quarantined) == second
    # The day that came first keeps its rows when it is run again.
    assert run(spec, lake, deliver(real[:101], days[0]))[1] == batch.BatchCounts(100, 100, 0)


def test_marker_without_file_is_a_verdict(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows) -> None:
    delivery = deliver(real)
    (Path(delivery.folder) / "california_housing.csv").unlink()
    verdict, counts = run(spec, lake, delivery)
    assert (verdict.batch_reasons, counts.rows) == (("no_file",), 0)
    assert "Deliver the file again" in verdict.problems[0]


def test_file_without_marker_is_waited_for(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver(real)
    Path(delivery.marker).unlink()
    monkeypatch.setenv("FLIGHTLINE_LANDING_URI", places.landing_uri)
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", places.lakehouse_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", places.mlflow_uri)
    assert not conditions.batch_delivered(spec.name, DAY.isoformat())
    assert delivery.marker in conditions.batch_marker(spec.name, DAY.isoformat())
    with pytest.raises(DeliveryError, match="_SUCCESS is missing"):
        batch.validate(spec, lake, delivery)
    assert not lake.exists(spec.table("clean"))


@pytest.fixture
def world_folder() -> Iterator[Path]:
    """A folder that another user can enter: pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="landing-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_unreadable_permissions_are_a_verdict(spec: ModelSpec, lake: Lakehouse, real: Rows, world_folder: Path) -> None:
    places = Places("dev", str(world_folder), "unused", "unused")
    delivery = Delivery.expected(places, spec, "batches", DAY)
    delivery.write("california_housing.csv", as_csv(real))
    file = Path(delivery.folder) / "california_housing.csv"
    file.chmod(0)
    with as_nobody(), pytest.raises(DeliveryError, match=r"california_housing\.csv: may not be read\. Let the account"):
        delivery.read()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


PARQUET = {
    "as is": (lambda table: table, set(), 0),
    "a null": (lambda table: table.set_column(4, "total_rooms", _with_null(table["total_rooms"])), set(), 1),
    "a column as text": (
        lambda table: table.set_column(4, "total_rooms", table["total_rooms"].cast(pa.string())),
        {"retyped_column:total_rooms"},
        ROWS,
    ),
}


def _with_null(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None, *column.to_pylist()[1:]], column.type)


@pytest.mark.parametrize("case", PARQUET)
def test_parquet(spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows, case: str) -> None:
    change, batch_reasons, quarantined = PARQUET[case]
    sink = io.BytesIO()
    pq.write_table(change(pacsv.read_csv(io.BytesIO(as_csv(real)))), sink)
    delivery = Delivery.expected(places, spec, "batches", DAY)
    delivery.write("california_housing.parquet", sink.getvalue())
    verdict, counts = run(spec, lake, delivery)
    assert set(verdict.batch_reasons) == batch_reasons
    assert counts == batch.BatchCounts(ROWS, ROWS - quarantined, quarantined)


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_parquet_that_breaks_off(spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows, keep: float) -> None:
    sink = io.BytesIO()
    pq.write_table(pacsv.read_csv(io.BytesIO(as_csv(real))), sink)
    delivery = Delivery.expected(places, spec, "batches", DAY)
    delivery.write("california_housing.parquet", sink.getvalue()[: int(len(sink.getvalue()) * keep)])
    verdict, counts = run(spec, lake, delivery)
    assert (verdict.batch_reasons, counts.rows) == (("malformed_parquet",), 0)


def test_stale_rows_reject(spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows) -> None:
    columns = spec.columns | {"listed_at": spec.columns["ocean_proximity"]}
    fresh = {"column": "listed_at", "max_age_hours": 48}
    content = spec.model_dump() | {"columns": {name: column.model_dump() for name, column in columns.items()}}
    content["ingestion"]["freshness"] = fresh
    dated = ModelSpec.model_validate(content)
    dated._folder = spec.folder
    for newest, reasons in (("2025-01-01T03:00:00Z", ()), ("2024-12-31T23:00:00Z", ("stale_rows:listed_at",))):
        times = ["listed_at", *(["2024-06-01"] * (ROWS - 1)), newest]
        delivery = Delivery.expected(places, dated, "batches", DAY)
        delivery.write("california_housing.csv", as_csv([[*row, t] for row, t in zip(real, times, strict=True)]))
        assert run(dated, lake, delivery)[0].batch_reasons == reasons


def test_personal_values_are_in_no_log_and_no_docs(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    real: Rows,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [list(row) for row in real]
    secrets = {"ocean_proximity": "jane.doe@example.com", "total_rooms": "415-555-2671"}
    for n, (column, value) in enumerate(secrets.items(), start=5):
        rows[n][rows[0].index(column)] = value
    with caplog.at_level("INFO"):
        verdict = batch.validate(spec, lake, deliver(rows), tmp_path / "docs")
    assert verdict.quarantined == 2
    page = (tmp_path / "docs" / "index.html").read_text()
    profile = repr(lake.read(spec.table("profiles")).to_pylist())
    for secret in secrets.values():
        assert secret not in caplog.text
        assert secret not in page
        assert secret not in repr(verdict)
        assert secret not in profile
