"""A column that says when a row was so: typed, within its partition, and the event time of everything after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from include.core.spec import ModelSpec
from include.ingestion import steps
from include.ingestion.batch import BatchCounts
from include.lakehouse.run import Run
from include.lakehouse.schemas import EVENT_TIMESTAMP
from tests.unit.ingestion.cases import DAY, Rows, ingest, with_rules
from tests.unit.ingestion.test_as_it_comes import cells, changed, clean, quarantine, with_column

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]
MORNING = datetime(2025, 1, 2, 6, 30, tzinfo=UTC)


def timed(run: Run, **said: Any) -> Run:
    """The run of a model whose rows say in ``seen`` when they were so."""
    told = changed(run, seen={"type": "timestamp", **said})
    return Run(told.spec.model_copy(update={"event_time": "seen"}), run.settings, run.lake, run.run_id, DAY)


@pytest.mark.usefixtures("path")
def test_a_row_has_the_time_that_its_column_says(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = with_column(good_rows, "seen", ["2025-01-02 06:30"])
    rows = cells(rows, "seen", {7: "2025-01-03T00:00:00Z", 8: "", 9: "at noon", 10: "2025-01-03T01:00:00+02:00"})
    delivered = deliver(rows, of=timed(run))
    verdict, counts = ingest(delivered)
    assert counts == BatchCounts(40, 37, 3)
    assert quarantine(delivered) == {7: ["outside_partition:seen"], 8: ["null:seen"], 9: ["not_a_timestamp:seen"]}
    assert verdict.reasons == {"not_a_timestamp:seen": 1, "null:seen": 1, "outside_partition:seen": 1}
    times = clean(delivered).select(["listing_id", EVENT_TIMESTAMP]).to_pylist()
    assert {row[EVENT_TIMESTAMP] for row in times if row["listing_id"] != 10} == {MORNING}
    assert [row[EVENT_TIMESTAMP].hour for row in times if row["listing_id"] == 10] == [23]


def test_a_format_and_a_parquet_file_say_the_same(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    local = timed(run, format="%d.%m.%Y %H:%M")
    ingest(deliver(with_column(good_rows, "seen", ["02.01.2025 06:30"]), of=local))
    expected = clean(local)
    columns = {name: pa.array([row[n] for row in good_rows[1:]]) for n, name in enumerate(good_rows[0])}
    columns = {name: column.cast(pa.float64()) if n < 9 else column for n, (name, column) in enumerate(columns.items())}
    columns["listing_id"] = columns["listing_id"].cast(pa.int64())
    content, of_parquet = BytesIO(), timed(run)
    for kind in (pa.timestamp("ms"), pa.timestamp("ns", tz="UTC"), pa.timestamp("us", tz="Europe/Berlin")):
        content = BytesIO()
        pq.write_table(
            pa.table({**columns, "seen": pa.array([MORNING] * 40, pa.timestamp("us", "UTC")).cast(kind)}), content
        )
        assert ingest(deliver(content.getvalue(), file="x.parquet", of=of_parquet))[1] == BatchCounts(40, 40, 0)
        assert clean(of_parquet)["seen"].equals(expected["seen"])


def test_a_day_is_its_midnight(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    told = timed(run, type="date")
    delivered = deliver(cells(with_column(good_rows, "seen", ["2025-01-02"]), "seen", {3: "2025-01-01"}), of=told)
    assert ingest(delivered)[1] == BatchCounts(40, 39, 1)
    assert set(clean(delivered)[EVENT_TIMESTAMP].to_pylist()) == {datetime(2025, 1, 2, tzinfo=UTC)}


def test_rules_know_moments_with_and_without_a_zone(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    seen = {"type": "expect_column_values_to_be_between", "column": "seen", "severity": "quarantine_row"}
    noon = datetime(2025, 1, 2, 12)
    told = with_rules(timed(run), {"min_value": date(2025, 1, 2), "max_value": noon, **seen})
    rows = cells(with_column(good_rows, "seen", ["2025-01-02 06:30"]), "seen", {4: "2025-01-02 12:01"})
    delivered = deliver(rows, of=told)
    ingest(delivered)
    assert quarantine(delivered) == {4: ["out_of_range:seen"]}


def test_rows_that_are_taken_back_are_held_to_their_own_partition(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = cells(with_column(good_rows, "seen", ["2025-01-02 06:30"]), "seen", {7: "2025-01-03"})
    delivered = deliver(rows, of=timed(run))
    ingest(delivered)
    assert steps.preview_quarantine(delivered).still_waiting == {"outside_partition:seen": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_time": "median_income"}, "event_time: 'median_income' is no column of dates or timestamps"),
        ({"event_time": "none"}, "event_time: 'none' is no column of dates or timestamps"),
        ({"event_time": "seen", "grain": "hour"}, "event_time: 'seen' has dates, and a partition is an hour"),
        ({"seen": {"type": "timestamp", "format": "%d.%m.%Y"}}, "'%d.%m.%Y' does not say the hour"),
        ({"seen": {"type": "number", "format": "%d.%m.%Y"}}, "format is of dates and timestamps"),
    ],
)
def test_what_is_wrong_is_said_when_the_folder_is_loaded(change: dict[str, Any], message: str, run: Run) -> None:
    content = yaml.safe_load((run.spec.folder / "model.yaml").read_text())
    content["columns"]["seen"] = {"type": "date", "description": "when", **change.pop("seen", {})}
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate({**content, **change})
