"""The steps as a whole: what a validation leaves besides the tables of rows, other keys, other grains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from include.core.errors import ConfigError, DataError
from include.core.partition import Grain, Partition
from include.ingestion import expectations, raw_loader, steps
from include.ingestion.batch import BatchCounts
from include.ingestion.delivery import Delivery
from include.ingestion.labels import LabelCounts
from include.ingestion.steps import BatchRejected
from include.lakehouse import decisions
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, LABELS, METRICS, PARTITION, QUARANTINE, RAW
from tests.tables import put
from tests.unit.ingestion.cases import DAY, Rows, ingest, with_ingestion, with_rules


def test_each_expectation_is_a_row_beside_those_of_monitoring(
    run: Run, deliver: Callable[..., Run], good_rows: Rows
) -> None:
    theirs = pa.table({"metric": ["rows", "labelled_rows"], "slice": ["all", "all"], "value": [7.0, 7.0]})
    put(run.lake, run.table(METRICS), theirs, {PARTITION: DAY.key, "source": "monitoring"})
    rows = [list(row) for row in good_rows]
    rows[4][rows[0].index("latitude")] = "51.5"
    for _ in range(2):
        steps.validate_batch(deliver(rows, of=run))
    written = run.lake.read(run.table(METRICS)).to_pylist()
    scores = [row for row in written if row["source"] == "ingestion"]
    assert len(scores) == len(expectations.load(run.spec))
    values = {row["metric"]: row["value"] for row in scores}
    assert values["quarantine_row:out_of_range:latitude"] == 1 / 40
    assert values["quarantine_row:out_of_range:longitude"] == 0
    assert values["reject_batch:row_count_out_of_range"] == 40
    assert len(written) == len(scores) + 2
    (decision,) = decisions.history(run.lake, run.spec.name)
    assert decision.outcome == "accept_and_quarantine"
    assert decision.decided_at == datetime(2025, 1, 3, tzinfo=UTC)
    told = {item["expected"]: item for item in decision.inputs["expectations"]}
    between = "values must be greater than or equal to 32.5 and less than or equal to 42.1."
    assert told[f"latitude {between}"] == {
        "expected": f"latitude {between}",
        "severity": "quarantine_row",
        "held": False,
        "rows": 1,
        "observed": None,
        "examples": ["51.5"],
    }
    assert told["Must have greater than or equal to 1 rows."]["observed"] == 40


def test_a_rule_that_is_wrong_is_found_before_anything_is_replaced(
    run: Run, deliver: Callable[..., Run], good_rows: Rows
) -> None:
    ingest(deliver(good_rows, of=run))
    before = {table: run.lake.version(run.table(table)) for table in (RAW, QUARANTINE, CLEAN)}
    wrong = {"type": "expect_column_values_to_not_be_null", "column": "latitude", "mostly": 3, "severity": "warn"}
    again = with_rules(deliver(good_rows[:9], of=run), wrong)
    delivery = Delivery.expected(again.settings, again.spec, "batches", again.partition)
    for look in (lambda: steps.validate_batch(again), lambda: steps.preview_batch(again, delivery)):
        with pytest.raises(ConfigError, match=r"expectations.yaml: expectations\[22\].mostly"):
            look()
    assert {table: run.lake.version(run.table(table)) for table in before} == before


@pytest.mark.parametrize("rows_in_memory", [200_000, 5])
def test_a_key_may_be_several_columns(
    run: Run, deliver: Callable[..., Run], good_rows: Rows, rows_in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_loader, "WHOLE_ROWS", rows_in_memory)
    keys = ("listing_id", "ocean_proximity")
    unique = {"type": "expect_compound_columns_to_be_unique", "column_list": list(keys), "severity": "quarantine_row"}
    run = with_ingestion(with_rules(run, unique, and_own=False), repeated_key="quarantine", quarantine_budget=1.0)
    entity = run.spec.entity.model_copy(update={"keys": keys})
    run = replace(run, spec=run.spec.model_copy(update={"entity": entity}))
    rows = [good_rows[0], *([*row[:-1], "INLAND"] for row in good_rows[1:])]
    other_place, other_rooms = [*rows[3][:-1], "ISLAND"], [*rows[5][:4], "77", *rows[5][5:]]
    verdict, counts = ingest(deliver([*rows, other_place, other_rooms, rows[7]], of=run))
    assert verdict.reasons == {"duplicate_row": 1, "duplicate_key:listing_id,ocean_proximity": 2}
    assert counts == BatchCounts(43, 40, 3)
    again = deliver([*rows[:4], other_place, [*rows[1][:-1], "ISLAND"]], DAY.shift(1), of=run)
    assert ingest(again)[0].reasons == {"key_of_another_batch:listing_id,ocean_proximity": 4}
    assert run.lake.count(run.table(CLEAN)) == 41
    named = [["listing_id", "ocean_proximity", run.spec.target], *([row[0], row[-1], "7"] for row in rows[1:5])]
    named += [["3", "ISLAND", "8"], ["4", "INLAND", "9"]]
    assert steps.load_labels(deliver(named, kind="labels", of=run)) == LabelCounts(
        6, 4, 2, {"duplicate_key:listing_id,ocean_proximity": 2}
    )


def test_a_partition_may_be_an_hour(run: Run, deliver: Callable[..., Run], good_rows: Rows) -> None:
    hourly = replace(run, spec=run.spec.model_copy(update={"grain": Grain.HOUR}))
    hour = Partition.parse("2025-01-31T05", Grain.HOUR)
    for partition in (hour, hour.shift(1)):
        assert ingest(deliver(good_rows, partition, of=hourly))[1] == BatchCounts(40, 40, 0)
    steps.load_labels(deliver([["listing_id", run.spec.target], ["1", "150000"]], hour, kind="labels", of=hourly))
    clean = run.lake.read(run.table(CLEAN), where=[(PARTITION, "=", "2025-01-31T05")])
    assert clean["event_timestamp"].unique().to_pylist() == [datetime(2025, 1, 31, 5, tzinfo=UTC)]
    (label,) = run.lake.read(run.table(LABELS)).to_pylist()
    assert (label["partition_key"], label["arrived_at"].hour) == ("2025-01-31T05", 6)


def test_a_batch_is_rejected_for_a_known_reason_only(run: Run, deliver: Callable[..., Run], good_rows: Rows) -> None:
    ingest(deliver(good_rows))
    with pytest.raises(DataError, match="'unliked' is no reason code"):
        steps.reject_batch(run, ["stale_rows:listed_at", "unliked"])
    with pytest.raises(DataError, match="not rejected without a reason"):
        steps.reject_batch(run, [])
    assert run.lake.count(run.table(QUARANTINE)) == 0


def test_a_rejected_batch_is_an_alert_that_names_its_reasons(
    run: Run, deliver: Callable[..., Run], good_rows: Rows
) -> None:
    index = good_rows[0].index("total_rooms")
    rejected = deliver([row[:index] + row[index + 1 :] for row in good_rows], of=run)
    ingest(rejected)
    with pytest.raises(
        BatchRejected, match=r"batch of 2025-01-02: the batch is rejected: missing_column:total_rooms\. "
    ):
        steps.alert(rejected)


@pytest.mark.parametrize("rows_in_memory", [200_000, 5])
def test_a_column_may_be_named_position(
    run: Run, deliver: Callable[..., Run], good_rows: Rows, rows_in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the number of a row was, where rows go through an engine."""
    monkeypatch.setattr(raw_loader, "WHOLE_ROWS", rows_in_memory)
    columns = {**run.spec.columns, "position": run.spec.columns["latitude"]}
    mean = {"type": "expect_column_mean_to_be_between", "column": "position", "min_value": 4, "max_value": 6}
    run = replace(run, spec=run.spec.model_copy(update={"columns": columns}))
    run = with_rules(run, mean | {"severity": "reject_batch"})
    rows = [[*good_rows[0], "position"], *([*row, "5"] for row in good_rows[1:])]
    verdict, counts = ingest(deliver([*rows, rows[3]], of=run))
    assert verdict.reasons == {"duplicate_row": 1}
    assert counts == BatchCounts(41, 40, 1)
