"""The way of a batch through raw_, quarantine_ and clean_, on real Delta tables."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.settings import PROJECT_ROOT
from include.demo import replay
from include.ingestion import batch, steps
from include.ingestion.batch import BatchCounts
from include.ingestion.verdict import BatchVerdict
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, PROFILES, QUARANTINE, RAW, SOURCE_FILE, Table
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from tests.tables import put
from tests.unit.ingestion.cases import DAY, Rows, ingest, with_ingestion, with_rules

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]


def table(run: Run, table: Table) -> list[dict[str, object]]:
    rows = run.lake.read(run.table(table), where=within(run.partition))
    return rows.sort_by([(name, "ascending") for name in run.table(table).key]).to_pylist()


def changed(rows: Rows, row: int, column: str, value: str) -> Rows:
    """A copy with one cell changed; rows count from 1, as in a file."""
    copy = [list(cells) for cells in rows]
    copy[row][copy[0].index(column)] = value
    return copy


def reasons_by_row(run: Run) -> dict[object, object]:
    return {row["row_number"]: row["reasons"] for row in table(run, QUARANTINE)}


def test_real_file_has_exactly_its_null_bedrooms_in_quarantine(run: Run, housing: replay.SourceFile) -> None:
    played = replay.Replay(run.spec, housing, days=1)
    verdicts, counts = [], []
    for n in range(2):
        delivery = played.deliver_batch(run.settings, n)
        verdict, count = ingest(replace(run, asked_for=delivery.partition))
        verdicts.append(verdict)
        counts.append(count)
    assert {verdict.outcome for verdict in verdicts} == {"accept_and_quarantine"}
    assert sum(verdict.reasons["null:total_bedrooms"] for verdict in verdicts) == 207
    assert all(set(verdict.reasons) == {"null:total_bedrooms"} for verdict in verdicts)
    assert all(verdict.warnings == verdict.batch_reasons == () for verdict in verdicts)
    assert [sum(getattr(count, name) for count in counts) for name in ("rows", "accepted", "quarantined")] == [
        20640,
        20433,
        207,
    ]


def test_clean_rows_are_typed_and_timed(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    verdict = steps.validate_batch(deliver(good_rows))
    assert verdict == BatchVerdict(Outcome.ACCEPT_BATCH, 40, 0, {}, (), ())
    assert steps.load_batch(run) == BatchCounts(40, 40, 0)
    clean = run.lake.read(run.table(CLEAN))
    assert {field.name: field.type for field in clean.schema} == {
        "listing_id": pa.int64(),
        **{name: pa.float64() for name, column in run.spec.columns.items() if column.type == "number"},
        "ocean_proximity": pa.string(),
        "event_timestamp": pa.timestamp("us", tz="UTC"),
        "partition_key": pa.string(),
    }
    first = table(run, CLEAN)[0]
    assert first["event_timestamp"] == datetime(2025, 1, 2, tzinfo=UTC)
    assert [first[name] for name in good_rows[0][1:-1]] == [float(text) for text in good_rows[1][1:-1]]


def test_raw_rows_are_kept_as_delivered(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(changed(good_rows, 3, "total_rooms", " 1e3 ")))
    raw = table(run, RAW)
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


def test_bad_cell_quarantines_its_row_for_one_reason(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    run = with_ingestion(run, quarantine_budget=0.5)
    rows = good_rows
    for row, (column, value, _) in enumerate(BAD_CELLS, start=1):
        rows = changed(rows, row, column, value)
    verdict = steps.validate_batch(deliver(rows, of=run))
    assert verdict.outcome == "accept_and_quarantine"
    assert reasons_by_row(run) == {row: [reason] for row, (_, _, reason) in enumerate(BAD_CELLS, start=1)}
    kept = table(run, QUARANTINE)
    assert [row[column] for row, (column, _, _) in zip(kept, BAD_CELLS, strict=True)] == [
        value or None for _, value, _ in BAD_CELLS
    ]
    assert steps.load_batch(run) == BatchCounts(40, 28, 12)


def test_row_keeps_all_its_reasons(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = changed(changed(good_rows, 3, "total_rooms", "many"), 3, "latitude", "0")
    verdict = steps.validate_batch(deliver(rows))
    assert verdict.quarantined == 1
    assert reasons_by_row(run) == {3: ["not_a_number:total_rooms", "out_of_range:latitude"]}


def test_of_equal_rows_the_first_is_kept(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver([*good_rows, good_rows[3], good_rows[3]]))
    assert reasons_by_row(run) == {41: ["duplicate_row"], 42: ["duplicate_row"]}
    assert steps.load_batch(run) == BatchCounts(42, 40, 2)


def test_rows_that_differ_under_one_key_are_all_quarantined(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(changed(good_rows, 7, "listing_id", "3")))
    reason = ["duplicate_key:listing_id"]
    assert reasons_by_row(run) == {3: reason, 7: reason}


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
        (lambda rows: [[*row, "x"] for row in rows], ("extra_column:#11",)),
        (lambda rows: [["id", *rows[0][1:]], *rows[1:]], ("missing_column:listing_id", "extra_column:#1")),
        (lambda rows: rows[:1], ("no_rows",)),
        (lambda rows: b"", ("empty_file",)),
        (lambda rows: with_nulls(rows, 5), ("quarantine_budget_exceeded",)),
    ],
    ids=["missing column", "extra column", "renamed column", "header only", "empty file", "over budget"],
)
def test_rejected_batch_leaves_nothing_in_clean(
    run: Run,
    deliver: Deliver,
    good_rows: Rows,
    broken: Callable[[Rows], Rows],
    batch_reasons: Sequence[str],
) -> None:
    steps.validate_batch(deliver(good_rows))
    steps.load_batch(run)
    content = broken(good_rows)
    verdict = steps.validate_batch(deliver(content))
    rows = max(len(content) - 1, 0)
    assert (verdict.outcome, verdict.batch_reasons) == ("reject_batch", batch_reasons)
    assert (verdict.rows, verdict.quarantined) == (rows, rows)
    for _ in range(2):
        assert steps.reject_batch(run, verdict.batch_reasons) == BatchCounts(rows, 0, rows)
        assert table(run, CLEAN) == []
        quarantine = table(run, QUARANTINE)
        assert len(quarantine) == rows
        assert all(row["reasons"][: len(batch_reasons)] == list(batch_reasons) for row in quarantine)


def test_budget_itself_is_still_accepted(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = with_nulls(good_rows, 4)  # of 40: the budget is 10 %
    assert steps.validate_batch(deliver(rows)).outcome == "accept_and_quarantine"


def test_extra_column_is_kept_in_raw(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver([[*row, f"x; {n}"] for n, row in enumerate(good_rows)]))
    assert table(run, RAW)[1]["extra_columns"] == '{"x; 0": "x; 2"}'


def test_rejecting_by_hand_keeps_the_own_reasons(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(changed(good_rows[:15], 3, "total_rooms", "")))
    steps.reject_batch(run, ["stale_rows:listed_at"])
    reasons = reasons_by_row(run)
    assert reasons[2] == ["stale_rows:listed_at"]
    assert reasons[3] == ["stale_rows:listed_at", "null:total_rooms"]


def test_everything_again_leaves_the_same_tables(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    other = deliver(good_rows, DAY.shift(1))
    ingest(other)
    deliver(changed(good_rows, 3, "total_rooms", ""))
    seen = [(*ingest(run), *(table(run, layer) for layer in (RAW, QUARANTINE, CLEAN, PROFILES))) for _ in range(2)]
    assert seen[0] == seen[1]
    assert len(table(other, CLEAN)) == 40


def test_corrected_delivery_replaces_the_day(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(changed(good_rows, 3, "total_rooms", "")))
    steps.load_batch(run)
    steps.validate_batch(deliver(good_rows))
    assert steps.load_batch(run) == BatchCounts(40, 40, 0)
    assert table(run, QUARANTINE) == []


def test_load_refuses_rows_that_do_not_add_up(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(changed(good_rows, 3, "total_rooms", "")))
    quarantine = run.lake.read(run.table(QUARANTINE))
    other = quarantine.drop_columns(["row_number"]).append_column("row_number", pa.array([99]))
    put(run.lake, run.table(QUARANTINE), pa.concat_tables([quarantine, other.select(quarantine.column_names)]), DAY)
    with pytest.raises(DataError, match=r"batch of 2025-01-02: 40 rows in = 39 accepted \+ 2 quarantined: not so"):
        batch.load(run)


def test_load_refuses_a_bad_row_that_left_quarantine(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(changed(good_rows, 3, "total_rooms", "many")))
    nothing = run.lake.read(run.table(QUARANTINE)).slice(0, 0)
    put(run.lake, run.table(QUARANTINE), nothing, DAY)
    with pytest.raises(DataError, match="do not fit total_rooms"):
        batch.load(run)


def test_the_rows_of_one_delivery_are_not_loaded_by_the_verdict_on_another(
    run: Run, deliver: Deliver, good_rows: Rows
) -> None:
    """What two validations at once leave: each replaces raw_ and quarantine_, in two commits."""
    steps.validate_batch(deliver(changed(good_rows, 3, "total_rooms", "")))
    of_the_first = run.lake.read(run.table(QUARANTINE))
    steps.validate_batch(deliver(changed(good_rows, 5, "total_rooms", "")))
    of_the_second = run.lake.read(run.table(QUARANTINE))
    put(run.lake, run.table(QUARANTINE), of_the_first, DAY)
    with pytest.raises(DataError, match="is not what one validation has left"):
        steps.load_batch(run)
    assert not run.lake.exists(run.table(CLEAN))
    put(run.lake, run.table(QUARANTINE), of_the_second, DAY)
    steps.validate_batch(run)
    assert steps.load_batch(run) == BatchCounts(40, 39, 1)


def test_loading_does_without_great_expectations() -> None:
    code = "import sys, include.ingestion.steps; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT).returncode == 0


def test_load_without_validation_is_an_error(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    with pytest.raises(DataError, match=r"batch of 2025-01-02: 0 rows in .*\. Validate the delivery again"):
        steps.load_batch(run)
    assert not run.lake.exists(run.table(CLEAN))
    steps.validate_batch(deliver(good_rows))
    with pytest.raises(DataError, match="batch of 2025-01-03: 0 rows in"):
        steps.load_batch(replace(run, asked_for=DAY.shift(1)))


def test_log_names_columns_counts_and_examples(
    run: Run,
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
        steps.validate_batch(deliver(rows))
    assert "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("include")) == (
        "california_housing, batch of 2025-01-02: accept_and_quarantine. "
        "40 rows = 38 accepted + 2 quarantined\n"
        "  not_a_number:total_rooms  1 row quarantined, e.g. row 3\n"
        "  out_of_range:latitude     1 row quarantined, e.g. 51.5"
    )
    assert [record.name for record in caplog.records if record.name.startswith("great_expectations")] == []
    assert capfd.readouterr() == ("", "")


CELLS = st.sampled_from(["", "1", "2", "3.5", "-7", "1e308", "many", "inf", "INLAND", "-120", "36"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELLS, min_size=10, max_size=10), max_size=12))
def test_rows_in_are_accepted_plus_quarantined(run: Run, deliver: Deliver, good_rows: Rows, rows: Rows) -> None:
    delivered = [*good_rows, *rows]
    verdict, counts = ingest(deliver(delivered))
    quarantined = {row["row_number"] for row in table(run, QUARANTINE) if row["reasons"]}
    assert counts.rows == len(delivered) - 1 == counts.accepted + counts.quarantined
    assert len(quarantined) == counts.quarantined == verdict.quarantined
    accepted = [row for n, row in enumerate(delivered[1:], start=1) if n not in quarantined]
    clean = table(run, CLEAN)
    assert len(clean) == len(accepted)
    assert sorted(row["listing_id"] for row in clean) == sorted(int(row[0]) for row in accepted)
    assert all(value is not None for row in clean for value in row.values())


@pytest.mark.parametrize("rows_in_memory", [200_000, 5])
@pytest.mark.parametrize("key", ["9007199254740993", "-9007199254740993", "9" * 18])
def test_integers_that_no_float_holds_are_loaded_exactly(
    run: Run, deliver: Deliver, good_rows: Rows, key: str, rows_in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.ingestion.raw_loader.WHOLE_ROWS", rows_in_memory)
    rule = {"type": "expect_column_values_to_be_between", "column": "listing_id", "severity": "quarantine_row"}
    run = with_rules(run, rule | {"min_value": -0.5})
    counts = ingest(deliver(changed(good_rows, 3, "listing_id", key), of=run))[1]
    assert counts == (BatchCounts(40, 39, 1) if key.startswith("-") else BatchCounts(40, 40, 0))
    keys = run.lake.read(run.table(CLEAN))["listing_id"].to_pylist()
    assert (int(key) in keys) is not key.startswith("-")


def accept(run: Run, days: int, keys: list[int], delivered: int) -> None:
    partition = DAY.shift(days)
    rows = pa.table({SOURCE_FILE: ["x.csv"] * delivered, "row_number": range(delivered)})
    put(run.lake, run.table(RAW), rows, partition)
    times = pa.array([partition.start] * len(keys), pa.timestamp("us", tz="UTC"))
    put(run.lake, run.table(CLEAN), pa.table({"listing_id": keys, "event_timestamp": times}), partition)


def test_the_band_is_that_of_the_last_accepted_batches_before(run: Run) -> None:
    for days, rows in ((-4, 1000), (-3, 10), (-2, 20), (-1, 30), (1, 5000)):
        accept(run, days, [1], rows)
    accept(run, -5, [], 7000)  # rejected
    learned = run.spec.ingestion.row_count_band.model_copy(update={"batches": 3, "factor": 2})
    run = with_ingestion(run, row_count_band=learned)
    assert batch.row_count_band(run) == (10, 40)
    assert batch.row_count_band(replace(run, asked_for=DAY.shift(-2))) is None


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_keys_are_known_from_every_other_partition(run: Run, tmp_path: Path, address: str) -> None:
    """In a folder, whose files DuckDB opens, and at a URL, whose files it does not."""
    run = replace(run, lake=Lakehouse(address.format(tmp_path / "lakehouse")))
    keys = pa.table({"listing_id": pa.array([7, None, 1, 2**53 + 1, 3], pa.int64())})
    assert batch.known_keys(run, keys).tolist() == []
    accept(run, 0, [7], 1)
    assert batch.known_keys(run, keys).tolist() == []
    accept(run, -1, [1, 2, 2**53 + 1], 3)
    accept(run, 1, [3, 4], 2)
    assert batch.known_keys(run, keys).tolist() == [2, 3, 4]
