"""Rows that nothing names: their key is their place in the delivery, and labels come in the same order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from include.core.errors import DataError, RejectedError
from include.ingestion import steps
from include.ingestion.batch import BatchCounts
from include.ingestion.delivery import Delivery
from include.ingestion.labels import LabelCounts
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, LABELS, QUARANTINE_LABELS
from tests.unit.ingestion.cases import DAY, Rows, as_csv, ingest, without
from tests.unit.ingestion.test_as_it_comes import cells, changed, quarantine

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]
TARGET = "median_house_value"


@pytest.fixture
def numbered(run: Run, tmp_path: Path) -> Run:
    """The run of a model whose rows have no key."""
    told = changed(run, row={"type": "text", "generated": "row_number"})
    columns = {name: column for name, column in told.spec.columns.items() if name != "listing_id"}
    entity = told.spec.entity.model_copy(update={"keys": ("row",)})
    spec = told.spec.model_copy(update={"columns": columns, "entity": entity})
    spec._folder = tmp_path
    rule = "{type: expect_column_values_to_not_be_null, column: total_rooms, severity: quarantine_row}"
    (tmp_path / "expectations.yaml").write_text(f"expectations: [{rule}]")
    return replace(told, spec=spec, asked_for=DAY)


def labels(*values: str) -> Rows:
    return [[TARGET], *([value] for value in values)]


@pytest.mark.usefixtures("path")
def test_a_row_is_named_by_its_place_over_all_files(numbered: Run, good_rows: Rows) -> None:
    rows = cells(without(good_rows, 0), "total_rooms", {3: ""})
    delivery = Delivery.expected(numbered.settings, numbered.spec, "batches", DAY)
    delivery.write("b.csv", as_csv([rows[0], *rows[31:]]))
    Path(delivery.folder, "a.csv").write_bytes(as_csv(rows[:31]))
    assert ingest(numbered)[1] == BatchCounts(40, 39, 1)
    assert quarantine(numbered) == {3: ["null:total_rooms"]}
    found = {row["row"]: row["longitude"] for row in numbered.lake.read(numbered.table(CLEAN)).to_pylist()}
    expected = {f"2025-01-02/{n}": float(row[0]) for n, row in enumerate(rows[1:], start=1) if n != 3}
    assert found == expected


def test_rows_that_are_alike_are_rows(numbered: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = without(good_rows, 0)
    assert ingest(deliver([*rows, rows[1]], of=numbered))[1] == BatchCounts(41, 41, 0)


def test_the_nth_label_is_of_the_nth_row(numbered: Run, deliver: Deliver, good_rows: Rows) -> None:
    ingest(deliver(without(good_rows[:6], 0), of=numbered))
    found = steps.load_labels(deliver(labels("1", "2", "", "4", "5"), kind="labels", of=within_budget(numbered)))
    assert found == LabelCounts(rows=5, accepted=4, quarantined=1, reasons={f"null:{TARGET}": 1})
    kept = {row["row"]: row[TARGET] for row in numbered.lake.read(numbered.table(LABELS)).to_pylist()}
    assert kept == {"2025-01-02/1": 1, "2025-01-02/2": 2, "2025-01-02/4": 4, "2025-01-02/5": 5}


def within_budget(run: Run) -> Run:
    ingestion = run.spec.ingestion.model_copy(update={"quarantine_budget": 0.5, "row_count_band": None})
    return replace(run, spec=run.spec.model_copy(update={"ingestion": ingestion}))


@pytest.mark.parametrize("count", [39, 41])
def test_more_or_fewer_labels_than_rows_are_of_other_rows(
    numbered: Run, deliver: Deliver, good_rows: Rows, count: int
) -> None:
    ingest(deliver(without(good_rows, 0), of=numbered))
    with pytest.raises(RejectedError, match="not as many labels as rows"):
        steps.load_labels(deliver(labels(*["7"] * count), kind="labels", of=numbered))
    assert numbered.lake.count(numbered.table(QUARANTINE_LABELS)) == count


def test_labels_wait_for_their_rows(numbered: Run, deliver: Deliver) -> None:
    with pytest.raises(DataError, match="no rows that these labels could be told by"):
        steps.load_labels(deliver(labels("1"), kind="labels", of=numbered))


def test_labels_are_taken_out_once_their_rows_are_others(numbered: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = without(good_rows, 0)
    delivered = deliver(rows, of=numbered)
    ingest(delivered)
    steps.load_labels(deliver(labels(*["7"] * 40), kind="labels", of=numbered))
    ingest(delivered)
    assert numbered.lake.count(numbered.table(LABELS)) == 40, "the same rows, again"
    ingest(deliver([rows[0], *rows[:0:-1]], of=numbered))
    assert numbered.lake.count(numbered.table(LABELS)) == 0
    (last,) = decisions.history(numbered.lake, numbered.spec.name, Kind.LABELS_WITHDRAWAL)
    assert (last.reasons, last.inputs) == (["labels_unlike_rows"], {"labels": 40})
    steps.load_labels(deliver(labels(*["7"] * 40), kind="labels", of=numbered))
    assert numbered.lake.count(numbered.table(LABELS)) == 40


def test_where_there_are_as_many_files_each_has_as_many_labels_as_rows(
    numbered: Run, deliver: Deliver, good_rows: Rows
) -> None:
    rows, of = without(good_rows, 0), {}
    for kind, head, some in (("batches", rows[0], rows[1:]), ("labels", [TARGET], [["7"]] * 40)):
        of[kind] = Delivery.expected(numbered.settings, numbered.spec, kind, DAY)  # type: ignore[arg-type]
        of[kind].write("b.csv", as_csv([head, *some[20:]]))
        Path(of[kind].folder, "a.csv").write_bytes(as_csv([head, *some[:20]]))
    ingest(numbered)
    assert steps.load_labels(numbered).accepted == 40
    for file, count in (("a.csv", 19), ("b.csv", 21)):
        Path(of["labels"].folder, file).write_bytes(as_csv([[TARGET], *[["7"]] * count]))
    with pytest.raises(RejectedError, match="not as many labels as rows"):
        steps.load_labels(numbered)


def test_no_labels_of_rows_that_are_there_are_not_nothing_new(numbered: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(numbered, {"no_rows": "accept"})
    told.spec._folder = numbered.spec.folder
    ingest(deliver(without(good_rows, 0), of=told))
    with pytest.raises(RejectedError):
        steps.load_labels(deliver(labels(), kind="labels", of=told))


def test_a_delivered_column_of_that_name_is_another_one(numbered: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = [["row", *good_rows[0][1:]], *good_rows[1:]]
    verdict, _ = ingest(deliver(rows, of=numbered))
    assert verdict.batch_reasons == ("extra_column:#1",)
