from __future__ import annotations

import gzip
import os
from pathlib import Path

import fsspec
import pytest

from include.core.errors import DeliveryError
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.ingestion.delivery import Delivery
from tests.unit.ingestion.cases import DAY


@pytest.fixture
def delivery(places: Settings, spec: ModelSpec) -> Delivery:
    return Delivery.expected(places, spec, "batches", DAY)


def test_folder_follows_the_layout_of_the_landing_area(delivery: Delivery, places: Settings) -> None:
    assert delivery.folder == f"{places.landing_uri}/california_housing/batches/batch_date=2025-01-02"
    assert delivery.marker == f"{delivery.folder}/_SUCCESS"


def test_every_column_is_read_as_text_with_its_row_number(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", b'a,b,c\n1,"x, y",1e3\n007,,"two\nlines"\n')
    assert delivery.read().to_pylist() == [
        {"source_file": SOURCE_FILE, "row_number": 1, "a": "1", "b": "x, y", "c": "1e3"},
        {"source_file": SOURCE_FILE, "row_number": 2, "a": "007", "b": None, "c": "two\nlines"},
    ]


SOURCE_FILE = "california_housing/batches/batch_date=2025-01-02/california_housing.csv"


def test_byte_order_mark_is_no_part_of_the_first_column(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", "a,b\n1,2\n".encode("utf-8-sig"))
    assert delivery.read().column_names == ["source_file", "row_number", "a", "b"]


@pytest.mark.parametrize(("content", "columns"), [(b"", []), (b"\n", []), (b"a,b\n", ["a", "b"])])
def test_file_without_rows_is_read_as_such(delivery: Delivery, content: bytes, columns: list[str]) -> None:
    delivery.write("california_housing.csv", content)
    read = delivery.read()
    assert read.num_rows == 0
    assert read.column_names == ["source_file", "row_number", *columns]


def test_several_files_are_read_in_the_order_of_their_names(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", b"a\n1\n2\n")
    (Path(delivery.folder) / "a_first.csv").write_bytes(b"a\n3\n")
    read = delivery.read()
    assert read["a"].to_pylist() == ["3", "1", "2"]
    assert read["row_number"].to_pylist() == [1, 1, 2]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n".encode("utf-16"),
        gzip.compress(b"a,b\n1,2\n" * 50),
        b"a,b\n1,2\n3",
        b"a,b\n1,2,3\n",
        b"a,b\n1,\xff\n",
        b"a,a\n1,2\n",
        b"a,row_number\n1,2\n",
    ],
    ids=["utf-16", "gzip", "truncated", "long row", "latin-1", "column twice", "reserved column"],
)
def test_garbled_file_is_one_error_that_names_it(delivery: Delivery, content: bytes) -> None:
    delivery.write("california_housing.csv", content)
    with pytest.raises(DeliveryError, match=r"batch_date=2025-01-02/california_housing\.csv: ") as error:
        delivery.read()
    assert "\n" not in str(error.value)


def test_without_marker_the_error_says_what_is_expected_where(delivery: Delivery) -> None:
    with pytest.raises(DeliveryError, match=r"batch_date=2025-01-02: .*_SUCCESS is missing"):
        delivery.read()
    assert not delivery.is_complete()


def test_marker_without_a_file_is_an_error(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", b"a\n1\n")
    (Path(delivery.folder) / "california_housing.csv").unlink()
    assert delivery.is_complete()
    with pytest.raises(DeliveryError, match="no file"):
        delivery.read()


def test_file_of_another_kind_is_an_error(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", b"a\n1\n")
    (Path(delivery.folder) / "notes.txt").write_text("hello")
    with pytest.raises(DeliveryError, match=r"notes\.txt: is no CSV file"):
        delivery.read()


def test_delivering_the_same_again_touches_nothing(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", b"a\n1\n")
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(delivery.folder)}
    delivery.write("california_housing.csv", b"a\n1\n")
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(delivery.folder)} == before
    assert sorted(before) == ["_SUCCESS", "california_housing.csv"]


def test_other_content_replaces_the_delivery(delivery: Delivery) -> None:
    delivery.write("california_housing.csv", b"a\n1\n")
    delivery.write("california_housing.csv", b"a\n2\n")
    assert delivery.is_complete()
    assert delivery.read()["a"].to_pylist() == ["2"]


def test_half_written_delivery_is_not_complete(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery.write("california_housing.csv", b"a\n1\n")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "pipe_file", fail)
    with pytest.raises(OSError, match="disk full"):
        delivery.write("california_housing.csv", b"a\n2\n")
    assert not delivery.is_complete()


def test_fsspec_url_works_like_a_folder(spec: ModelSpec) -> None:
    places = Settings(landing_uri="memory://landing")
    delivery = Delivery.expected(places, spec, "batches", DAY)
    assert not delivery.is_complete()
    delivery.write("california_housing.csv", b"a\n1\n")
    assert delivery.is_complete()
    assert delivery.read()["a"].to_pylist() == ["1"]


@pytest.mark.parametrize("change", ["grows", "vanishes"])
def test_what_changes_while_it_is_read_is_not_taken_in_part(delivery: Delivery, change: str) -> None:
    delivery.write("california_housing.csv", b"a\n1\n2\n")
    first, second = (Path(delivery.folder) / name for name in ("a_first.csv", "california_housing.csv"))
    first.write_bytes(b"a\n3\n")
    chunks = delivery.chunks()
    next(chunks)
    if change == "grows":
        first.write_bytes(b"a\n3\n4\n")
    else:
        second.unlink()
    with pytest.raises(DeliveryError, match="was changed while it was read"):
        list(chunks)
