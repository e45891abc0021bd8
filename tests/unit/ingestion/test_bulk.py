"""A delivery judged chunk by chunk has the verdict, and the tables, of the same delivery judged at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.core.settings import Places
from include.core.spec import ModelSpec
from include.ingestion import batch, expectations
from include.ingestion.delivery import Delivery
from include.lakehouse.tables import Lakehouse
from tests.unit.ingestion.cases import CASES, Rows, in_chunks

DAY = date(2025, 1, 2)
Deliver = Callable[..., Delivery]

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
def strict(spec: ModelSpec, tmp_path: Path) -> ModelSpec:
    """The model with more rules, of every kind, and none that rejects the batch."""
    content = yaml.safe_load((spec.folder / expectations.FILE).read_text())
    content["expectations"] += [rule | {"severity": "warn"} for rule in MORE_RULES]
    (tmp_path / expectations.FILE).write_text(yaml.safe_dump(content))
    lenient = spec.ingestion.model_copy(update={"quarantine_budget": 1.0})
    changed = spec.model_copy(update={"ingestion": lenient})
    changed._folder = tmp_path
    return changed


def outcome(spec: ModelSpec, lake: Lakehouse, delivery: Delivery) -> tuple[object, ...]:
    verdict = batch.validate(spec, lake, delivery)
    reject = verdict.outcome == "reject_batch"
    day = delivery.day
    counts = batch.reject(spec, lake, day, verdict.batch_reasons) if reject else batch.load(spec, lake, day)
    layers = [lake.read(spec.table(layer)) for layer in ("raw", "quarantine", "clean")]
    profile = lake.read_if_exists(spec.table("profiles"))
    if profile is not None:
        # Sums differ in their last digit by the order in which they are made.
        rounded = [f"{value:.9g}" for value in profile["value"].to_pylist()]
        layers.append(profile.set_column(4, "value", pa.array(rounded)))
    said = asdict(verdict)
    for result in said["results"]:
        result.pop("observed")
    return said, counts, *(sorted(map(repr, layer.to_pylist())) for layer in layers)


CELLS = st.sampled_from(["", "1", "2", "3.5", "-7", "1e308", "many", "INLAND", "-120", "36", "a@b.org"])


@settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(CELLS, min_size=10, max_size=10), max_size=8), seed=st.integers(0, 5))
def test_chunks_say_what_the_whole_says(
    strict: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, rows: Rows, seed: int
) -> None:
    body = [*good_rows[1:], *rows, *good_rows[3:6]]
    random.Random(seed).shuffle(body)
    delivery = deliver([good_rows[0], *body])
    whole = outcome(strict, lake, delivery)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_chunks(monkeypatch)
        assert outcome(strict, lake, delivery) == whole


@pytest.mark.parametrize("case", CASES)
def test_chunks_say_what_the_whole_says_of_a_bad_input(
    spec: ModelSpec, places: Places, deliver: Deliver, real: Rows, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = CASES[case]

    def outcome_in(lakehouse: str) -> tuple[object, ...]:
        lake = Lakehouse(replace(places, lakehouse_uri=f"{places.lakehouse_uri}-{lakehouse}"))
        for n in range(1, broken.days_before + 1):
            outcome(spec, lake, deliver(real, DAY - timedelta(days=n)))
        return outcome(spec, lake, deliver(broken.content(real)))

    whole = outcome_in("at-once")
    in_chunks(monkeypatch, block_bytes=max(5_000, len(broken.content(real)) // 20))
    assert outcome_in("in-chunks") == whole


def test_chunks_say_what_the_whole_says_of_rows_without_a_key(
    strict: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver([["id", *good_rows[0][1:]], *good_rows[1:], good_rows[3]])
    whole = outcome(strict, lake, delivery)
    in_chunks(monkeypatch)
    assert outcome(strict, lake, delivery) == whole


def test_several_large_files_are_one_batch(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks(monkeypatch)
    delivery = deliver(good_rows[:21])
    more = "\n".join(",".join(row) for row in [good_rows[0], *good_rows[21:], good_rows[2]])
    (Path(delivery.folder) / "z_more.csv").write_text(more + "\n")
    batch.validate(spec, lake, delivery)
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(41, 40, 1)
    (row,) = lake.read(spec.table("quarantine")).to_pylist()
    assert (row["source_file"].rsplit("/", 1)[-1], row["row_number"]) == ("z_more.csv", 21)
    assert row["reasons"] == ["duplicate_row"]


def test_data_docs_of_chunks_show_each_rule(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks(monkeypatch)
    rows = [list(row) for row in good_rows]
    rows[4][rows[0].index("latitude")] = "51.5"
    batch.validate(spec, lake, deliver(rows), tmp_path / "docs")
    page = (tmp_path / "docs" / "index.html").read_text()
    assert "51.5" in page
    assert "median_income" in page


def test_texts_that_repeat_are_loaded_as_they_are(spec: ModelSpec, lake: Lakehouse, deliver: Deliver) -> None:
    """So many rows that ``raw_`` has them in dictionaries, with bad cells and cells that are not plain numbers."""
    header = list(spec.columns)
    line = ["", "-120", "36", "20", "1000", "200", " 700", "300", "+3.5", "INLAND"]
    rows = [[str(n), *line[1:]] for n in range(3_000)]
    rows[7][4], rows[8][4] = "many", "1e308"
    batch.validate(spec, lake, deliver([header, *rows]))
    encoded = lake.reader(spec.table("raw"), where={"batch_date": DAY}, encoded=True).schema
    assert pa.types.is_dictionary(encoded.field("total_rooms").type)
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(3_000, 2_998, 2)
    clean = lake.read(spec.table("clean"))
    assert clean["median_income"].unique().to_pylist() == [3.5]
    assert clean["population"].unique().to_pylist() == [700]
    assert sorted(clean["listing_id"].to_pylist()) == [n for n in range(3_000) if n not in (7, 8)]
