"""Files as they come: other names of columns, texts that stand for null, dates, booleans, columns that nobody wants."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from io import BytesIO
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.core.column import Column
from include.ingestion import steps
from include.ingestion.verdict import BatchVerdict
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import (
    CLEAN,
    EXTRA_COLUMNS,
    LABELS,
    PROFILES,
    QUARANTINE,
    RAW,
    REASONS,
    ROW_NUMBER,
    typed_columns,
)
from include.lakehouse.selection import within
from include.orchestration import notes
from include.pages import run_page
from tests.unit.ingestion.cases import DAY, Rows, as_csv, ingest, with_rules, without

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]

INCOME, NEAR = "Median Income (USD)/yr.", "Nähe.zum Ozean"
SOURCES = {"median_income": INCOME, "ocean_proximity": NEAR, "listing_id": "ID"}
DAYS = ("2024-02-29", "", "2023-12-31 00:00:00")
FLAGS = ("Yes", "", "f")


def changed(run: Run, deliveries: dict[str, Any] | None = None, **columns: dict[str, Any]) -> Run:
    """The run of a model whose columns, or deliveries, say more; a column that it does not have is added."""
    spec = run.spec
    found = dict(spec.columns)
    for name, said in columns.items():
        own = found[name].model_dump() if name in found else {"description": name}
        found[name] = Column.model_validate({**own, **said})
    form = spec.deliveries.model_validate({**spec.deliveries.model_dump(), **(deliveries or {})})
    spec = spec.model_copy(update={"columns": found, "deliveries": form})
    return replace(run, spec=spec)


def renamed(run: Run, **deliveries: Any) -> Run:
    return changed(run, deliveries, **{name: {"source": source} for name, source in SOURCES.items()})


def ignoring(run: Run) -> Run:
    return changed(run, {"extra_columns": "ignore"})


def with_headers(rows: Sequence[Sequence[str]]) -> Rows:
    """The rows as the outside system calls their columns."""
    return [[SOURCES.get(name, name) for name in rows[0]], *map(list, rows[1:])]


def with_column(rows: Sequence[Sequence[str]], name: str, values: Sequence[str]) -> Rows:
    """The rows with one column more; the values come again and again."""
    more = (values[n % len(values)] for n in range(len(rows) - 1))
    return [[*rows[0], name], *([*row, value] for row, value in zip(rows[1:], more, strict=True))]


def cells(rows: Sequence[Sequence[str]], column: str, values: dict[int, str]) -> Rows:
    """The rows with other cells, by their number from 1."""
    found = [list(row) for row in rows]
    for number, value in values.items():
        found[number][found[0].index(column)] = value
    return found


def as_parquet(rows: Sequence[Sequence[str]]) -> bytes:
    """Numbers as numbers, where a column has nothing else."""
    content, columns = BytesIO(), {}
    for n, name in enumerate(rows[0]):
        texts = pa.array([row[n] or None for row in rows[1:]], pa.string())
        try:
            columns[name] = texts.cast(pa.float64() if "." in "".join(filter(None, texts.to_pylist())) else pa.int64())
        except pa.ArrowInvalid:
            columns[name] = texts
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def clean(run: Run) -> pa.Table:
    return run.lake.read(run.table(CLEAN), where=within(run.partition)).sort_by("listing_id")


def quarantine(run: Run) -> dict[int, list[str]]:
    """Reasons by row number."""
    table = run.lake.read(run.table(QUARANTINE), where=within(run.partition), columns=[ROW_NUMBER, REASONS])
    return {row[ROW_NUMBER]: row[REASONS] for row in table.to_pylist()}


def recorded(run: Run) -> dict[str, Any]:
    found = decisions.on_batch(run.lake, run.spec.name, run.partition)
    assert found
    return dict(found.inputs["verdict"])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_are_known_by_what_the_file_calls_them(run: Run, deliver: Deliver, good_rows: Rows, kind: str) -> None:
    content = (as_csv if kind == "csv" else as_parquet)(with_headers(good_rows))
    delivered = deliver(content, file=f"a.{kind}", of=renamed(run))
    verdict, _ = ingest(delivered)
    assert verdict.outcome is Outcome.ACCEPT_BATCH
    plain = deliver(good_rows, DAY.shift(1))
    ingest(plain)
    columns = list(run.spec.columns)
    assert clean(delivered).select(columns).equals(clean(plain).select(columns))


def test_labels_have_the_header_of_the_key_and_of_the_target(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = renamed(run)
    told = replace(told, spec=told.spec.model_copy(update={"target_source": "Preis in €"}))
    ingest(deliver(with_headers(good_rows), of=told))
    rows = [["ID", "Preis in €"], *([str(n), "90000"] for n in range(1, 20)), ["20", "n/a"]]
    found = steps.load_labels(deliver(rows, kind="labels", of=told))
    assert (found.accepted, found.reasons) == (19, {"not_a_number:median_house_value": 1})
    assert set(run.lake.read(told.table(LABELS))["median_house_value"].to_pylist()) == {90000}


def test_a_header_is_known_however_its_letters_are_composed(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = [[unicodedata.normalize("NFD", name) for name in with_headers(good_rows)[0]], *good_rows[1:]]
    assert ingest(deliver(rows, of=renamed(run)))[0].outcome is Outcome.ACCEPT_BATCH


def test_a_missing_column_is_named_as_the_file_would_have_it(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    income = good_rows[0].index("median_income")
    verdict, _ = ingest(deliver(without(with_headers(good_rows), income), of=renamed(run)))
    assert verdict.batch_reasons == ("missing_column:median_income",)
    (problem,) = verdict.problems
    assert f"column 'median_income' ({INCOME!r} in the file) is not delivered" in problem


def test_the_name_of_a_column_is_a_further_column_where_the_source_is_another(
    run: Run, deliver: Deliver, good_rows: Rows
) -> None:
    told = renamed(run)
    rows = with_column(with_headers(good_rows), "median_income", ["7"])
    delivered = deliver(rows, of=told)
    verdict, _ = ingest(delivered)
    assert verdict.batch_reasons == ("extra_column:#11",)
    raw = run.lake.read(delivered.table(RAW))
    assert set(raw[EXTRA_COLUMNS].to_pylist()) == {'{"median_income": "7"}'}
    assert set(raw["median_income"].to_pylist()) != {"7"}


def test_a_repeated_header_is_named_as_the_file_has_it(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = with_column(with_headers(good_rows), INCOME, ["7"])
    verdict, _ = ingest(deliver(rows, of=renamed(run)))
    assert verdict.batch_reasons == ("repeated_column:median_income",)
    assert f"column {INCOME!r} occurs more than once" in verdict.problems[0]


def test_what_is_wrong_with_a_column_says_its_header(
    run: Run, deliver: Deliver, good_rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    delivered = deliver(cells(with_headers(good_rows), INCOME, {3: "many"}), of=renamed(run))
    verdict, _ = ingest(delivered)
    assert verdict.reasons == {"not_a_number:median_income": 1}
    assert verdict.sources == {"median_income": INCOME}
    assert f"median_income is {INCOME!r} in the file" in caplog.text
    assert INCOME in run_page.of_run(delivered, "a_dag", DAY.key)


def test_a_column_that_gets_its_source_later_is_taken_from_what_was_kept(
    run: Run, deliver: Deliver, good_rows: Rows
) -> None:
    rows = with_headers(good_rows)
    first = deliver(rows)
    assert "missing_column:median_income" in ingest(first)[0].batch_reasons
    later = replace(renamed(run), run_id="later")
    counts = steps.take_rows_back(later)
    assert counts.accepted == len(good_rows) - 1
    assert clean(later)["median_income"].to_pylist() == [float(row[8]) for row in good_rows[1:]]


NULLS = {1: "NA", 2: " n/a ", 3: "-999", 4: "-999.0", 5: "", 6: "NaN"}


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_stands_for_null_is_null(run: Run, deliver: Deliver, good_rows: Rows, kind: str) -> None:
    told = changed(run, {"null_values": ["NA", "n/a"]}, median_income={"null_values": [-999]}, note={"type": "text"})
    rows = with_column(cells(good_rows, "median_income", NULLS), "note", ["NA", "-999", " n/a", "na"])
    if kind == "csv":
        delivered = deliver(rows, of=told)
    else:
        content, columns = BytesIO(), [list(column) for column in zip(*rows, strict=True)]
        pq.write_table(pa.table({name: values for name, *values in columns}), content)
        delivered = deliver(content.getvalue(), of=told, file="a.parquet")
        told = changed(told, **{name: {"type": "text"} for name, column in told.spec.columns.items()})
        told = changed(told, median_income={"null_values": ["-999", "-999.0", ""]})
        delivered = replace(told, asked_for=DAY)
    verdict = steps.validate_batch(delivered)
    if kind == "csv":
        assert verdict.reasons == {"null:median_income": 5, "not_a_number:median_income": 1}
        assert verdict.outcome is Outcome.REJECT_BATCH, "6 of 40 rows are more than the budget"
    profile = delivered.lake.read(delivered.table(PROFILES)).to_pylist()
    nulls = {row["column"]: row["value"] for row in profile if row["statistic"] == "nulls"}
    assert nulls["median_income"] == (6 if kind == "csv" else 5)
    assert nulls["note"] == 20
    notes = {row["category"]: row["value"] for row in profile if row["column"] == "note" and row["category"]}
    assert notes == {"-999": 10, "na": 10}
    raw = run.lake.read(delivered.table(RAW)).sort_by(ROW_NUMBER)["median_income"].to_pylist()
    assert raw[:4] == ["NA", " n/a ", "-999", "-999.0"], "raw_ has what was delivered"


def test_rows_wait_until_what_stands_for_null_is_said(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(run, score={"type": "number"})
    first = deliver(with_column(good_rows, "score", ["1", "2", "3", *["4"] * 10, "NA"]), of=told)
    verdict, _ = ingest(first)
    assert verdict.reasons == {"not_a_number:score": 2}
    later = replace(changed(first, score={"null_values": ["NA"]}), run_id="later")
    assert steps.take_rows_back(later).quarantined == 0
    assert clean(later)["score"].null_count == 2


def test_a_label_that_is_said_to_be_none_is_none(run: Run, deliver: Deliver) -> None:
    told = changed(run, {"null_values": ["NA"]})
    rows = [["listing_id", "median_house_value"], *([str(n), "90000"] for n in range(20)), ["20", "NA"]]
    found = steps.load_labels(deliver(rows, kind="labels", of=told))
    assert found.reasons == {"null:median_house_value": 1}


@pytest.mark.usefixtures("path")
def test_dates_and_booleans_are_typed(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(
        run, built={"type": "date"}, sold={"type": "date", "format": "%d.%m.%Y"}, pool={"type": "boolean", "pii": False}
    )
    rows = with_column(with_column(good_rows, "built", DAYS), "pool", FLAGS)
    rows = cells(with_column(rows, "sold", ["1.2.2024"]), "sold", {7: "30.02.2024"})
    rows = cells(cells(rows, "built", {8: "2023-02-29"}), "pool", {9: "perhaps"})
    delivered = deliver(rows, of=told)
    verdict, _ = ingest(delivered)
    assert verdict.reasons == {"not_a_date:built": 1, "not_a_date:sold": 1, "not_a_boolean:pool": 1}
    assert quarantine(delivered) == {7: ["not_a_date:sold"], 8: ["not_a_date:built"], 9: ["not_a_boolean:pool"]}
    table = clean(delivered)
    assert [table.schema.field(name).type for name in ("built", "sold", "pool")] == [pa.date32()] * 2 + [pa.bool_()]
    assert table["built"].to_pylist()[:3] == [date(2024, 2, 29), None, date(2023, 12, 31)]
    assert table["pool"].to_pylist()[:3] == [True, None, False]
    assert set(table["sold"].to_pylist()) == {date(2024, 2, 1)}
    with duckdb.connect() as connection:
        connection.register("clean", table)
        found = connection.sql("SELECT EXTRACT(year FROM built), NOT pool FROM clean LIMIT 1").fetchall()
    assert found == [(2024, False)]


@pytest.mark.usefixtures("path")
def test_rules_know_dates_and_booleans(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(run, built={"type": "date"}, pool={"type": "boolean"})
    day = {"column": "built", "severity": "quarantine_row"}
    told = with_rules(
        told,
        {"type": "expect_column_values_to_be_between", "min_value": "2000-01-01", "max_value": date(2024, 2, 1), **day},
        {"type": "expect_column_values_to_not_be_in_set", "value_set": [date(1999, 1, 1)], **day},
        {"type": "expect_column_max_to_be_between", "max_value": "2024-06-01", **day, "severity": "warn"},
        {"type": "expect_column_min_to_be_between", "min_value": "2000-01-01", **day, "severity": "warn"},
        {"type": "expect_column_values_to_be_in_set", "column": "pool", "value_set": [True], "severity": "warn"},
        {"type": "expect_column_values_to_not_be_null", "column": "pool", "severity": "warn"},
    )
    rows = with_column(with_column(good_rows, "built", ["2023-12-31", ""]), "pool", FLAGS)
    delivered = deliver(cells(rows, "built", {3: "1999-01-01", 5: "2024-02-29", 7: "31.12.2023"}), of=told)
    verdict, _ = ingest(delivered)
    assert quarantine(delivered) == {
        3: ["out_of_range:built", "forbidden_value:built"],
        5: ["out_of_range:built"],
        7: ["not_a_date:built"],
    }
    assert verdict.warnings == ("min_out_of_range:built", "unknown_category:pool", "null:pool")


def test_of_personal_dates_no_value_is_shown(
    run: Run, deliver: Deliver, good_rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = changed(run, born={"type": "date", "pii": True}, member={"type": "boolean", "pii": True})
    late = {"type": "expect_column_values_to_be_between", "column": "born", "max_value": "2000-01-01"}
    told = with_rules(told, {**late, "severity": "quarantine_row"})
    rows = cells(with_column(good_rows, "born", ["1970-05-17"]), "born", {3: "17.5.1971", 4: "2001-05-17"})
    delivered = deliver(cells(with_column(rows, "member", ["yes"]), "member", {5: "secretly"}), of=told)
    verdict, _ = ingest(delivered)
    assert verdict.reasons == {"not_a_date:born": 1, "not_a_boolean:member": 1, "out_of_range:born": 1}
    profile = delivered.lake.read(delivered.table(PROFILES)).to_pylist()
    assert {row["statistic"] for row in profile if row["column"] in ("born", "member")} == {"count", "nulls"}
    shown = caplog.text + run_page.of_run(delivered, "a_dag", DAY.key) + str(recorded(delivered))
    assert not [secret for secret in ("1971", "2001-05-17", "secretly", "1970") if secret in shown]


def test_a_profile_counts_days_and_has_booleans_as_categories(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(run, built={"type": "date"}, pool={"type": "boolean"})
    delivered = deliver(with_column(with_column(good_rows, "built", DAYS), "pool", FLAGS), of=told)
    ingest(delivered)
    lines = delivered.lake.read(delivered.table(PROFILES)).to_pylist()
    of = {name: [row for row in lines if row["column"] == name] for name in ("built", "pool")}
    assert {row["statistic"]: row["value"] for row in of["built"]} == {"count": 40, "nulls": 13}
    assert {row["category"]: row["value"] for row in of["pool"] if row["category"]} == {"true": 14, "false": 13}


def test_parquet_has_dates_and_booleans_of_its_own(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(run, built={"type": "date"}, sold={"type": "date"}, pool={"type": "boolean"})
    table = pq.read_table(BytesIO(as_parquet(good_rows)))
    days = pa.array([date(2024, 2, 29), None] * 20)
    for name, column in {"built": days, "sold": days.cast(pa.timestamp("us"))}.items():
        table = table.append_column(name, column)
    content = BytesIO()
    pq.write_table(table.append_column("pool", pa.array([True, None] * 20)), content)
    delivered = deliver(content.getvalue(), of=told, file="a.parquet")
    assert ingest(delivered)[0].outcome is Outcome.ACCEPT_BATCH
    row = clean(delivered).to_pylist()[0]
    assert (row["built"], row["sold"], row["pool"]) == (date(2024, 2, 29), date(2024, 2, 29), True)


def test_a_column_of_which_no_value_fits_rejects_the_batch(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(run, {"null_values": ["NA"]}, built={"type": "date"})
    verdict, _ = ingest(deliver(with_column(good_rows, "built", ["31.12.2024", "NA"]), of=told))
    assert verdict.batch_reasons[0] == "retyped_column:built"


def test_freshness_reads_a_column_of_dates(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    fresh = {"column": "built", "max_age_hours": 48}
    told = changed(run, built={"type": "date", "format": "%d.%m.%Y"})
    ingestion = told.spec.ingestion.model_validate({**told.spec.ingestion.model_dump(), "freshness": fresh})
    told = replace(told, spec=told.spec.model_copy(update={"ingestion": ingestion}))
    assert ingest(deliver(with_column(good_rows, "built", ["02.01.2025"]), of=told))[0].batch_reasons == ()
    stale = deliver(with_column(good_rows, "built", ["02.12.2024"]), of=told)
    assert ingest(stale)[0].batch_reasons == ("stale_rows:built",)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ignored_columns_are_named_and_not_kept(run: Run, deliver: Deliver, good_rows: Rows, kind: str) -> None:
    told = renamed(run, extra_columns="ignore")
    rows = with_column(with_column(with_headers(good_rows), "Re.mark", ["secret"]), "median_income", ["8"])
    rows = with_column(with_column(rows, "row_number", ["1"]), "jane@example.com", ["2"])
    content = (as_csv if kind == "csv" else as_parquet)(rows)
    delivered = deliver(content, of=told, file=f"a.{kind}")
    verdict, _ = ingest(delivered)
    assert verdict.outcome is Outcome.ACCEPT_BATCH
    assert verdict.ignored_columns == ("Re.mark", "median_income", "row_number", "#14")
    assert recorded(delivered)["ignored_columns"] == list(verdict.ignored_columns)
    raw = run.lake.read(delivered.table(RAW))
    assert raw[EXTRA_COLUMNS].null_count == raw.num_rows
    assert "secret" not in str(raw.to_pylist())
    assert clean(delivered)["median_income"].to_pylist() == [float(row[8]) for row in good_rows[1:]]
    assert "Re.mark, median_income" in run_page.of_run(delivered, "a_dag", DAY.key)


def test_rows_wait_until_further_columns_are_ignored(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    first = deliver(with_column(good_rows, "remark", ["x"]))
    assert ingest(first)[0].batch_reasons == ("extra_column:#11",)
    later = replace(changed(first, {"extra_columns": "ignore"}), run_id="later")
    assert steps.take_rows_back(later).accepted == 40


def test_rows_that_wait_again_say_the_header_of_their_column(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    delivered = deliver(cells(with_headers(good_rows), INCOME, {3: "many", 4: "NA"}), of=renamed(run))
    ingest(delivered)
    later = replace(changed(delivered, {"null_values": ["NA"]}), run_id="later")
    steps.take_rows_back(later)
    assert quarantine(later) == {3: ["not_a_number:median_income"], 4: ["null:median_income"]}
    assert INCOME in run_page.of_run(later, "a_dag", DAY.key)


def test_a_file_of_which_every_column_is_unknown_has_no_header(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    verdict, _ = ingest(deliver(good_rows[1:], of=renamed(run, extra_columns="ignore")))
    assert verdict.batch_reasons == ("no_header",)


def test_many_columns_may_be_ignored_also_such_as_no_delivery_has(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    table = pq.read_table(BytesIO(as_parquet(good_rows)))
    for n in range(300):
        table = table.append_column(f"more {n}", pa.array([[n]] * table.num_rows))
    content = BytesIO()
    pq.write_table(table, content)
    verdict, _ = ingest(deliver(content.getvalue(), of=ignoring(run), file="a.parquet"))
    assert verdict.outcome is Outcome.ACCEPT_BATCH
    assert verdict.ignored_columns[-1] == "250 more"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_ignored_value_may_be_long(run: Run, deliver: Deliver, good_rows: Rows, kind: str) -> None:
    content = (as_csv if kind == "csv" else as_parquet)(with_column(good_rows, "remark", ["x" * 100_000]))
    verdict, _ = ingest(deliver(content, of=ignoring(run), file=f"a.{kind}"))
    assert verdict.outcome is Outcome.ACCEPT_BATCH


def test_rows_swallowed_in_an_ignored_column_are_still_found(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = with_column(good_rows, "remark", ["fine"])
    lines = as_csv(rows).split(b"\n")
    lines[3], lines[6] = lines[3].replace(b"fine", b'"fine'), lines[6].replace(b"fine", b'fine"')
    verdict, _ = ingest(deliver(b"\n".join(lines), of=ignoring(run)))
    assert verdict.reasons == {"swallowed_lines": 1}


def test_labels_may_have_columns_that_are_ignored(run: Run, deliver: Deliver) -> None:
    rows = [["listing_id", "who", "median_house_value"], ["1", "me", "90000"]]
    told = ignoring(run)
    found = steps.load_labels(deliver(rows, kind="labels", of=told))
    assert found.accepted == 1
    verdict = decisions.history(run.lake, run.spec.name, Kind.LABELS_VERDICT)[0].inputs["verdict"]
    assert verdict["ignored_columns"] == ["who"]


def test_a_preview_says_the_same(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    from include.ingestion.delivery import Delivery

    told = renamed(run, extra_columns="ignore")
    rows = with_column(cells(with_headers(good_rows), INCOME, {3: "many"}), "remark", ["x"])
    delivered = deliver(rows, of=told)
    verdict: BatchVerdict
    verdict, said = steps.preview_batch(delivered, Delivery.expected(run.settings, told.spec, "batches", DAY))
    assert verdict.ignored_columns == ("remark",)
    assert "ignored, and not kept: remark" in said
    assert f"median_income is {INCOME!r} in the file" in said


@pytest.mark.usefixtures("path")
def test_a_delivery_without_rows_may_say_that_nothing_was_new(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = changed(run, {"no_rows": "accept"})
    delivered = deliver(good_rows[:1], of=told)
    verdict = steps.validate_batch(delivered)
    assert (verdict.outcome, verdict.rows, verdict.batch_reasons) == (Outcome.NO_NEW_ROWS, 0, ())
    assert notes.of_batch(verdict) in run_page.of_run(delivered, "ingest_batch", DAY.key).lower()
    content = BytesIO()
    pq.write_table(pa.schema(list(typed_columns(run.spec).items())).empty_table(), content)
    assert steps.validate_batch(deliver(content.getvalue(), file="x.parquet", of=told)).outcome == Outcome.NO_NEW_ROWS
    assert steps.validate_batch(deliver(good_rows[:1])).batch_reasons == ("no_rows",)
    assert steps.validate_batch(deliver(b"", of=told)).batch_reasons == ("empty_file",)


def test_a_delivery_without_rows_takes_back_none_that_were_accepted(
    run: Run, deliver: Deliver, good_rows: Rows
) -> None:
    told = changed(run, {"no_rows": "accept"})
    ingest(deliver(good_rows, of=told))
    assert steps.validate_batch(deliver(good_rows[:1], of=told)).batch_reasons == ("no_rows",)


def test_labels_without_rows_may_say_so_and_replace_none(run: Run, deliver: Deliver) -> None:
    told, header = changed(run, {"no_rows": "accept"}), ["listing_id", "median_house_value"]
    steps.load_labels(deliver([header, ["1", "90000"]], kind="labels", of=told))
    counts = steps.load_labels(deliver([header], kind="labels", of=told))
    assert (counts.rows, run.lake.count(run.table(LABELS))) == (0, 1)
    assert notes.of_labels(counts) == "the delivery has no labels: nothing follows from it"
