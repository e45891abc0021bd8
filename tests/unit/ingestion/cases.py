"""The bad inputs: the real file with one thing broken, and what becomes of each. Whole or in chunks, it is the same."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.ingestion import expectations, files, raw_loader, steps
from include.ingestion.batch import BatchCounts
from include.ingestion.verdict import BatchVerdict
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from tests.tables import day

DAY = day("2025-01-02")
ROWS = 400
Rows = list[list[str]]


def as_csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def in_chunks(monkeypatch: pytest.MonkeyPatch, block_bytes: int = 500) -> None:
    """Have even a small delivery take the path of the large ones: several chunks, none of which is the whole."""
    monkeypatch.setattr(raw_loader, "WHOLE_ROWS", 5)
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)


def ingest(run: Run) -> tuple[BatchVerdict, BatchCounts]:
    """What the DAG does with a delivery."""
    verdict = steps.validate_batch(run)
    if verdict.outcome == Outcome.REJECT_BATCH:
        return verdict, steps.reject_batch(run, verdict.batch_reasons)
    return verdict, steps.load_batch(run)


def with_ingestion(run: Run, **changed: object) -> Run:
    """The run of a model whose section ``ingestion`` is another."""
    spec = run.spec.model_copy(update={"ingestion": run.spec.ingestion.model_copy(update=changed)})
    return replace(run, spec=spec)


def with_rules(run: Run, *rules: Mapping[str, Any], and_own: bool = True) -> Run:
    """The run of a model with more, or other, expectations; they are in a folder beside its landing folder."""
    own = yaml.safe_load((run.spec.folder / expectations.FILE).read_text())["expectations"] if and_own else []
    folder = Path(run.settings.landing_uri).parent / "edited"
    folder.mkdir(exist_ok=True)
    (folder / expectations.FILE).write_text(yaml.safe_dump({"expectations": [*own, *rules]}))
    spec = run.spec.model_copy()
    spec._folder = folder
    return replace(run, spec=spec)


@dataclass(frozen=True)
class Broken:
    """What is done to the good rows (400, with their header), and the verdict on what comes of it."""

    content: Callable[[Rows], bytes]
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    """Of the batch, the first among others, where it is rejected; else of its quarantined rows."""
    rows: int = ROWS
    quarantined: int = 0
    days_before: int = 0
    """Good batches of earlier days, with which the number of rows is compared."""


def rejected(content: Callable[[Rows], bytes], reason: str, rows: int = ROWS, days_before: int = 0) -> Broken:
    return Broken(content, Outcome.REJECT_BATCH, (reason,), rows, rows, days_before)


def quarantined(content: Callable[[Rows], bytes], *reasons: str, rows: int = ROWS, quarantined: int = 1) -> Broken:
    return Broken(content, Outcome.ACCEPT_AND_QUARANTINE, reasons, rows, quarantined)


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


def times(count: int) -> Callable[[Rows], bytes]:
    """So many rows, each with a key of its own."""
    return lambda rows: as_csv([rows[0], *([str(n), *rows[1 + n % ROWS][1:]] for n in range(count))])


CASES = {
    "missing column": rejected(lambda rows: as_csv(without(rows, 4)), "missing_column:total_rooms"),
    "extra column": rejected(lambda rows: as_csv([[*row, "x"] for row in rows]), "extra_column:#11"),
    "renamed column": rejected(lambda rows: as_csv([["id", *rows[0][1:]], *rows[1:]]), "missing_column:listing_id"),
    "retyped column": rejected(retyped, "retyped_column:total_rooms"),
    "empty file": rejected(lambda rows: b"", "empty_file", 0),
    "header only": rejected(lambda rows: as_csv(rows[:1]), "no_rows", 0),
    "last line cut between cells": rejected(lambda rows: as_csv(rows)[:-40], "malformed_csv", 0),
    "wrong delimiter": rejected(lambda rows: as_csv(rows, ";"), "wrong_delimiter", 0),
    "UTF-16": rejected(lambda rows: as_csv(rows).decode().encode("utf-16"), "not_utf8", 0),
    "UTF-16 without mark": rejected(lambda rows: as_csv(rows).decode().encode("utf-16-le"), "not_utf8", 0),
    "latin-1": rejected(lambda rows: as_csv(rows).replace(b"NEAR BAY", b"NEAR B\xe4Y"), "not_utf8", 0),
    "gzip by another name": rejected(lambda rows: gzip.compress(as_csv(rows)), "compressed_file", 0),
    "quote without end": rejected(lambda rows: as_csv(rows).replace(b"NEAR BAY", b'"NEAR BAY', 1), "malformed_csv", 0),
    "column twice": rejected(
        lambda rows: as_csv([["latitude", *rows[0][1:]], *rows[1:]]), "repeated_column:latitude", 0
    ),
    "1 row": rejected(times(1), "row_count_off_band", 1, days_before=3),
    "100 times the usual rows": rejected(times(100 * ROWS), "row_count_off_band", 100 * ROWS, days_before=3),
    "text in a number": quarantined(cell("total_rooms", "many"), "not_a_number:total_rooms"),
    "NaN": quarantined(cell("total_rooms", "NaN"), "not_a_number:total_rooms"),
    "inf": quarantined(cell("median_income", "inf"), "not_a_number:median_income"),
    "1e308": quarantined(cell("total_rooms", "1e308"), "out_of_range:total_rooms"),
    "negative rooms": quarantined(cell("total_rooms", "-5"), "out_of_range:total_rooms"),
    "latitude out of California": quarantined(cell("latitude", "51.5"), "out_of_range:latitude"),
    "unseen category": quarantined(cell("ocean_proximity", "MOON"), "unknown_category:ocean_proximity"),
    "text that starts with =": quarantined(cell("ocean_proximity", "=1+1"), "unknown_category:ocean_proximity"),
    "number that starts with =": quarantined(cell("total_rooms", "=1+1"), "not_a_number:total_rooms"),
    "e-mail in a text": quarantined(
        cell("ocean_proximity", "jane@example.com"), "unknown_category:ocean_proximity", "suspected_pii:ocean_proximity"
    ),
    "last line without its end": quarantined(lambda rows: as_csv(rows)[:-1], "truncated_line"),
    "last line cut in its last cell": quarantined(
        lambda rows: as_csv(rows)[:-3], "truncated_line", "unknown_category:ocean_proximity"
    ),
    "duplicate row": quarantined(lambda rows: as_csv([*rows, rows[3]]), "duplicate_row", rows=ROWS + 1),
    "duplicate key": quarantined(cell("listing_id", "3"), "duplicate_key:listing_id", quarantined=2),
    "byte order mark": Broken(lambda rows: b"\xef\xbb\xbf" + as_csv(rows), Outcome.ACCEPT_BATCH),
}
