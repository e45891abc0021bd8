"""A delivery validated chunk by chunk has the verdict, and the tables, of the same delivery in one piece."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from include.ingestion import expectations, steps
from include.ingestion.batch import BatchCounts
from include.ingestion.delivery import Delivery
from include.lakehouse import decisions
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, METRICS, PROFILES, QUARANTINE, RAW
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.pages import run_page
from tests.unit.ingestion.cases import CASES, DAY, Rows, in_chunks, ingest, with_ingestion, with_rules

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]

MORE_RULES = [
    {"type": "expect_column_values_to_be_between", "column": "longitude", "min_value": -122.2, "strict_min": True},
    {"type": "expect_column_values_to_not_be_in_set", "column": "housing_median_age", "value_set": [52, 7]},
    {"type": "expect_column_values_to_be_null", "column": "population"},
    {"type": "expect_column_values_to_match_regex", "column": "ocean_proximity", "regex": "^N"},
    {"type": "expect_column_values_to_not_be_null", "column": "total_rooms", "mostly": 0.9},
    {"type": "expect_compound_columns_to_be_unique", "column_list": ["longitude", "latitude"]},
    {"type": "expect_column_pair_values_a_to_be_greater_than_b", "column_A": "total_rooms", "column_B": "households"},
    {"type": "expect_column_values_to_be_increasing", "column": "listing_id"},
    {
        "type": "expect_column_value_z_scores_to_be_less_than",
        "column": "population",
        "threshold": 2,
        "double_sided": False,
    },
    {"type": "expect_column_median_to_be_between", "column": "households", "min_value": 1e6},
    {"type": "expect_column_sum_to_be_between", "column": "population", "max_value": 10},
    {"type": "expect_column_max_to_be_between", "column": "households", "max_value": 100},
    {"type": "expect_column_min_to_be_between", "column": "households", "min_value": 5},
    {"type": "expect_table_row_count_to_equal", "value": 41},
    {"type": "expect_table_column_count_to_equal", "value": 9},
    {"type": "expect_column_values_to_be_in_type_list", "column": "latitude", "type_list": ["str"]},
    {
        "type": "expect_column_values_to_be_between",
        "column": "total_rooms",
        "max_value": 100,
        "row_condition": "ocean_proximity == 'INLAND'",
        "condition_parser": "pandas",
    },
]


@pytest.fixture
def strict(run: Run) -> Run:
    """A run of the model with more rules, of every kind, and none that rejects the batch."""
    return with_ingestion(with_rules(run, *(rule | {"severity": "warn"} for rule in MORE_RULES)), quarantine_budget=1.0)


def outcome(run: Run) -> tuple[object, ...]:
    said = ingest(run)
    tables = []
    for layer in (RAW, QUARANTINE, CLEAN, PROFILES, METRICS):
        rows = run.lake.read(run.table(layer), where=within(run.partition))
        if "value" in rows.column_names:
            # Sums differ in their last digit by the order in which they are made.
            rounded = [None if value is None else f"{value:.9g}" for value in rows["value"].to_pylist()]
            rows = rows.set_column(rows.column_names.index("value"), "value", pa.array(rounded, pa.string()))
        tables.append(sorted(map(repr, rows.to_pylist())))
    return *said, *tables


CELLS = st.sampled_from(["", "1", "2", "3.5", "-7", "1e308", "many", "INLAND", "-120", "36", "a@b.org"])


@settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(CELLS, min_size=10, max_size=10), max_size=8), seed=st.integers(0, 5))
def test_chunks_say_what_the_whole_says(strict: Run, deliver: Deliver, good_rows: Rows, rows: Rows, seed: int) -> None:
    body = [*good_rows[1:], *rows, *good_rows[3:6]]
    random.Random(seed).shuffle(body)
    run = deliver([good_rows[0], *body], of=strict)
    whole = outcome(run)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_chunks(monkeypatch)
        assert outcome(run) == whole


@pytest.mark.parametrize("case", CASES)
def test_chunks_say_what_the_whole_says_of_a_bad_input(
    run: Run, deliver: Deliver, real: Rows, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = CASES[case]

    for n in range(1, broken.days_before + 1):
        ingest(deliver(real, DAY.shift(-n)))

    def outcome_in(lakehouse: str) -> tuple[object, ...]:
        folder = f"{run.settings.lakehouse_uri}-{lakehouse}"
        if broken.days_before:
            shutil.copytree(run.settings.lakehouse_uri, folder)
        return outcome(deliver(broken.content(real), of=replace(run, lake=Lakehouse(folder))))

    whole = outcome_in("at-once")
    in_chunks(monkeypatch, block_bytes=max(5_000, len(broken.content(real)) // 20))
    assert outcome_in("in-chunks") == whole


def test_chunks_say_what_the_whole_says_of_rows_without_a_key(
    strict: Run, deliver: Deliver, good_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = deliver([["id", *good_rows[0][1:]], *good_rows[1:], good_rows[3]], of=strict)
    whole = outcome(run)
    in_chunks(monkeypatch)
    assert outcome(run) == whole


def test_several_large_files_are_one_batch(
    run: Run, deliver: Deliver, good_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks(monkeypatch)
    deliver(good_rows[:21])
    more = "\n".join(",".join(row) for row in [good_rows[0], *good_rows[21:], good_rows[2]])
    folder = Path(Delivery.expected(run.settings, run.spec, "batches", DAY).folder)
    (folder / "z_more.csv").write_text(more + "\n")
    assert ingest(run)[1] == BatchCounts(41, 40, 1)
    (row,) = run.lake.read(run.table(QUARANTINE)).to_pylist()
    assert (row["source_file"].rsplit("/", 1)[-1], row["row_number"]) == ("z_more.csv", 21)
    assert row["reasons"] == ["duplicate_row"]


def test_the_page_of_chunks_shows_each_rule(
    run: Run, deliver: Deliver, good_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks(monkeypatch)
    rows = [list(row) for row in good_rows]
    rows[4][rows[0].index("latitude")] = "51.5"
    steps.validate_batch(deliver(rows))
    (decided,) = decisions.history(run.lake, run.spec.name)
    told = decided.inputs["expectations"]
    assert len(told) == len(expectations.load(run.spec))
    (broken,) = (item for item in told if not item["held"])
    assert (broken["rows"], broken["examples"]) == (1, ["51.5"])
    page = run_page.of_run(run, "ingest_batch", None)
    for item in told:
        assert str(escape(item["expected"])) in page


def test_texts_that_repeat_are_loaded_as_they_are(run: Run, deliver: Deliver) -> None:
    """So many rows that ``raw_`` has them in dictionaries, with bad cells and cells that are not plain numbers."""
    header = list(run.spec.columns)
    line = ["", "-120", "36", "20", "1000", "200", " 700", "300", "+3.5", "INLAND"]
    rows = [[str(n), *line[1:]] for n in range(3_000)]
    rows[7][4], rows[8][4] = "many", "1e308"
    assert ingest(deliver([header, *rows]))[1] == BatchCounts(3_000, 2_998, 2)
    encoded = run.lake.reader(run.table(RAW), where=within(DAY), encoded=True).schema
    assert pa.types.is_dictionary(encoded.field("total_rooms").type)
    clean = run.lake.read(run.table(CLEAN))
    assert clean["median_income"].unique().to_pylist() == [3.5]
    assert clean["population"].unique().to_pylist() == [700]
    assert sorted(clean["listing_id"].to_pylist()) == [n for n in range(3_000) if n not in (7, 8)]
