"""The way of a batch through raw_, quarantine_ and clean_, on real Delta tables."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.settings import PROJECT_ROOT, Places
from include.core.spec import ModelSpec
from include.demo import replay
from include.ingestion import batch
from include.ingestion.delivery import Delivery
from include.lakehouse.tables import Lakehouse

DAY = date(2025, 1, 2)
Rows = list[list[str]]
Deliver = Callable[..., Delivery]


def table(lake: Lakehouse, spec: ModelSpec, layer: str, day: date = DAY) -> list[dict[str, object]]:
    rows = lake.read(spec.table(layer), where=[("batch_date", "=", day)])
    return rows.sort_by("row_number" if "row_number" in rows.column_names else spec.entity.key).to_pylist()


def changed(rows: Rows, row: int, column: str, value: str) -> Rows:
    """A copy with one cell changed; rows count from 1, as in a file."""
    copy = [list(cells) for cells in rows]
    copy[row][copy[0].index(column)] = value
    return copy


def reasons_by_row(lake: Lakehouse, spec: ModelSpec) -> dict[object, object]:
    return {row["row_number"]: row["reasons"] for row in table(lake, spec, "quarantine")}


def test_real_file_has_exactly_its_null_bedrooms_in_quarantine(
    spec: ModelSpec, places: Places, lake: Lakehouse, housing: replay.SourceFile
) -> None:
    played = replay.Replay(spec, housing, days=1)
    verdicts, counts = [], []
    for n in range(2):
        delivery = played.deliver_batch(places, n)
        verdicts.append(batch.validate(spec, lake, delivery))
        counts.append(batch.load(spec, lake, delivery.day))
    assert {verdict.outcome for verdict in verdicts} == {"accept_and_quarantine"}
    assert sum(verdict.reasons["null:total_bedrooms"] for verdict in verdicts) == 207
    assert all(set(verdict.reasons) == {"null:total_bedrooms"} for verdict in verdicts)
    assert all(verdict.warnings == verdict.batch_reasons == () for verdict in verdicts)
    assert [sum(getattr(count, name) for count in counts) for name in ("rows", "accepted", "quarantined")] == [
        20640,
        20433,
        207,
    ]


def test_clean_rows_are_typed_and_timed(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    verdict = batch.validate(spec, lake, deliver(good_rows))
    assert verdict == batch.BatchVerdict("accept_batch", 40, 0, {}, (), ())
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(40, 40, 0)
    clean = lake.read(spec.table("clean"))
    assert {field.name: field.type for field in clean.schema} == {
        "listing_id": pa.int64(),
        **{name: pa.float64() for name, column in spec.columns.items() if column.type == "number"},
        "ocean_proximity": pa.string(),
        "event_timestamp": pa.timestamp("us", tz="UTC"),
        "batch_date": pa.date32(),
    }
    first = table(lake, spec, "clean")[0]
    assert first["event_timestamp"] == datetime(2025, 1, 2, tzinfo=UTC)
    assert [first[name] for name in good_rows[0][1:-1]] == [float(text) for text in good_rows[1][1:-1]]


def test_raw_rows_are_kept_as_delivered(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows, 3, "total_rooms", " 1e3 ")))
    raw = table(lake, spec, "raw")
    assert raw[2]["total_rooms"] == " 1e3 "
    assert [row["row_number"] for row in raw] == list(range(1, 41))
    assert {row["source_file"] for row in raw} == {
        "california_housing/batches/batch_date=2025-01-02/california_housing.csv"
    }


BAD_CELLS = [
    ("total_rooms", "many", "not_a_number:total_rooms"),
    ("total_rooms", "NaN", "not_a_number:total_rooms"),
    ("median_income", "inf", "not_a_number:median_income"),
    ("total_rooms", "1e308", "out_of_range:total_rooms"),
    ("total_rooms", "-5", "out_of_range:total_rooms"),
    ("latitude", "51.5", "out_of_range:latitude"),
    ("ocean_proximity", "MOON", "unknown_category:ocean_proximity"),
    ("ocean_proximity", "=1+1", "unknown_category:ocean_proximity"),
    ("ocean_proximity", "", "null:ocean_proximity"),
    ("population", "", "null:population"),
    ("listing_id", "", "null:listing_id"),
    ("listing_id", "7.5", "not_an_integer:listing_id"),
]


def test_bad_cell_quarantines_its_row_for_one_reason(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    spec = spec.model_copy(update={"ingestion": spec.ingestion.model_copy(update={"quarantine_budget": 0.5})})
    rows = good_rows
    for row, (column, value, _) in enumerate(BAD_CELLS, start=1):
        rows = changed(rows, row, column, value)
    verdict = batch.validate(spec, lake, deliver(rows))
    assert verdict.outcome == "accept_and_quarantine"
    assert reasons_by_row(lake, spec) == {row: [reason] for row, (_, _, reason) in enumerate(BAD_CELLS, start=1)}
    kept = table(lake, spec, "quarantine")
    assert [row[column] for row, (column, _, _) in zip(kept, BAD_CELLS, strict=True)] == [
        value or None for _, value, _ in BAD_CELLS
    ]
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(40, 28, 12)


def test_row_keeps_all_its_reasons(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    rows = changed(changed(good_rows, 3, "total_rooms", "many"), 3, "latitude", "0")
    verdict = batch.validate(spec, lake, deliver(rows))
    assert verdict.quarantined == 1
    assert reasons_by_row(lake, spec) == {3: ["not_a_number:total_rooms", "out_of_range:latitude"]}


def test_of_equal_rows_the_first_is_kept(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    batch.validate(spec, lake, deliver([*good_rows, good_rows[3], good_rows[3]]))
    assert reasons_by_row(lake, spec) == {41: ["duplicate_row"], 42: ["duplicate_row"]}
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(42, 40, 2)


def test_rows_that_differ_under_one_key_are_all_quarantined(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows, 7, "listing_id", "3")))
    reason = ["duplicate_key:listing_id"]
    assert reasons_by_row(lake, spec) == {3: reason, 7: reason}


def with_nulls(rows: Rows, count: int) -> Rows:
    for row in range(1, count + 1):
        rows = changed(rows, row, "total_rooms", "")
    return rows


def without(column: int) -> Callable[[Rows], Rows]:
    return lambda rows: [row[:column] + row[column + 1 :] for row in rows]


@pytest.mark.parametrize(
    ("broken", "batch_reasons"),
    [
        (without(4), ("missing_column:total_rooms",)),
        (lambda rows: [[*row, "x"] for row in rows], ("extra_column:x",)),
        (lambda rows: [["id", *rows[0][1:]], *rows[1:]], ("missing_column:listing_id", "extra_column:id")),
        (lambda rows: rows[:1], ("no_rows",)),
        (lambda rows: b"", ("empty_file",)),
        (lambda rows: with_nulls(rows, 5), ("quarantine_budget_exceeded",)),
    ],
    ids=["missing column", "extra column", "renamed column", "header only", "empty file", "over budget"],
)
def test_rejected_batch_leaves_nothing_in_clean(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    good_rows: Rows,
    broken: Callable[[Rows], Rows],
    batch_reasons: Sequence[str],
) -> None:
    batch.validate(spec, lake, deliver(good_rows))
    batch.load(spec, lake, DAY)
    content = broken(good_rows)
    verdict = batch.validate(spec, lake, deliver(content))
    rows = max(len(content) - 1, 0)
    assert (verdict.outcome, verdict.batch_reasons) == ("reject_batch", batch_reasons)
    assert (verdict.rows, verdict.quarantined) == (rows, rows)
    for _ in range(2):
        assert batch.reject(spec, lake, DAY, verdict.batch_reasons) == batch.BatchCounts(rows, 0, rows)
        assert table(lake, spec, "clean") == []
        quarantine = table(lake, spec, "quarantine")
        assert len(quarantine) == rows
        assert all(row["reasons"][: len(batch_reasons)] == list(batch_reasons) for row in quarantine)


def test_budget_itself_is_still_accepted(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    rows = with_nulls(good_rows, 4)  # of 40: the budget is 10 %
    assert batch.validate(spec, lake, deliver(rows)).outcome == "accept_and_quarantine"


def test_extra_column_is_kept_in_raw(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    batch.validate(spec, lake, deliver([[*row, f"x; {n}"] for n, row in enumerate(good_rows)]))
    assert table(lake, spec, "raw")[1]["extra_columns"] == '{"x; 0": "x; 2"}'


def test_rejecting_by_hand_keeps_the_own_reasons(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows[:15], 3, "total_rooms", "")))
    batch.reject(spec, lake, DAY, ["withdrawn_by_sender"])
    reasons = reasons_by_row(lake, spec)
    assert reasons[2] == ["withdrawn_by_sender"]
    assert reasons[3] == ["withdrawn_by_sender", "null:total_rooms"]


def test_everything_again_leaves_the_same_tables(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    other_day = date(2025, 1, 3)
    delivery = deliver(changed(good_rows, 3, "total_rooms", ""))
    batch.validate(spec, lake, deliver(good_rows, other_day))
    batch.load(spec, lake, other_day)
    seen = []
    for _ in range(2):
        verdict = batch.validate(spec, lake, delivery)
        counts = batch.load(spec, lake, DAY)
        seen.append((verdict, counts, *(table(lake, spec, layer) for layer in ("raw", "quarantine", "clean"))))
    assert seen[0] == seen[1]
    assert len(table(lake, spec, "clean", other_day)) == 40


def test_corrected_delivery_replaces_the_day(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows, 3, "total_rooms", "")))
    batch.load(spec, lake, DAY)
    batch.validate(spec, lake, deliver(good_rows))
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(40, 40, 0)
    assert table(lake, spec, "quarantine") == []


def test_load_refuses_rows_that_do_not_add_up(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows, 3, "total_rooms", "")))
    quarantine = lake.read(spec.table("quarantine"))
    lake.replace_partition(spec.table("quarantine"), pa.concat_tables([quarantine, quarantine]), {"batch_date": DAY})
    with pytest.raises(DataError, match=r"batch of 2025-01-02: 40 rows in = 39 accepted \+ 2 quarantined: not so"):
        batch.load(spec, lake, DAY)


def test_load_refuses_a_bad_row_that_left_quarantine(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows, 3, "total_rooms", "many")))
    nothing = lake.read(spec.table("quarantine")).slice(0, 0)
    lake.replace_partition(spec.table("quarantine"), nothing, {"batch_date": DAY})
    with pytest.raises(DataError, match="do not fit total_rooms"):
        batch.load(spec, lake, DAY)


def test_loading_does_without_great_expectations() -> None:
    code = "import sys, include.ingestion.batch; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT).returncode == 0


def test_load_without_validation_is_an_error(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows
) -> None:
    with pytest.raises(DataError, match="raw_california_housing does not exist"):
        batch.load(spec, lake, DAY)
    batch.validate(spec, lake, deliver(good_rows))
    with pytest.raises(DataError, match="batch of 2025-01-03: 0 rows in"):
        batch.load(spec, lake, date(2025, 1, 3))


def test_log_names_columns_counts_and_examples(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    good_rows: Rows,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = changed(changed(good_rows, 3, "total_rooms", "many"), 4, "latitude", "51.5")
    # Airflow, where another test has imported it, prints what is logged: only what is printed beside that counts.
    monkeypatch.setattr(logging.getLogger(), "handlers", [caplog.handler])
    with caplog.at_level(logging.INFO):
        batch.validate(spec, lake, deliver(rows))
    assert "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("include")) == (
        "california_housing, batch of 2025-01-02: accept_and_quarantine. "
        "40 rows = 38 accepted + 2 quarantined\n"
        "  not_a_number:total_rooms  1 row quarantined, e.g. 'many'\n"
        "  out_of_range:latitude     1 row quarantined, e.g. 51.5"
    )
    assert [record.name for record in caplog.records if record.name.startswith("great_expectations")] == []
    assert capfd.readouterr() == ("", "")


def test_docs_are_written_where_asked(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, tmp_path: Path
) -> None:
    batch.validate(spec, lake, deliver(changed(good_rows, 4, "latitude", "51.5")), tmp_path / "docs" / "today")
    page = (tmp_path / "docs" / "today" / "index.html").read_text()
    assert "latitude" in page
    assert "51.5" in page


CELLS = st.sampled_from(["", "1", "2", "3.5", "-7", "1e308", "many", "inf", "INLAND", "-120", "36"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELLS, min_size=10, max_size=10), max_size=12))
def test_rows_in_are_accepted_plus_quarantined(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, rows: Rows
) -> None:
    delivered = [*good_rows, *rows]
    verdict = batch.validate(spec, lake, deliver(delivered))
    if verdict.outcome == "reject_batch":
        counts = batch.reject(spec, lake, DAY, verdict.batch_reasons)
    else:
        counts = batch.load(spec, lake, DAY)
    quarantined = {row["row_number"] for row in table(lake, spec, "quarantine") if row["reasons"]}
    assert counts.rows == len(delivered) - 1 == counts.accepted + counts.quarantined
    assert len(quarantined) == counts.quarantined == verdict.quarantined
    accepted = [row for n, row in enumerate(delivered[1:], start=1) if n not in quarantined]
    clean = table(lake, spec, "clean")
    assert len(clean) == len(accepted)
    assert sorted(row["listing_id"] for row in clean) == sorted(int(row[0]) for row in accepted)
    assert all(value is not None for row in clean for value in row.values())
