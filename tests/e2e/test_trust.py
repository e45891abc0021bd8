"""What an on-call data engineer relies on: late is said, a correction flows through, lineage has the numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.core import catalogue
from include.lakehouse.schemas import CLEAN, FEATURES, METRICS, PREDICTIONS, QUARANTINE, RAW, Table
from tests.played import LATE_MODEL, Played, wait_for

CORRECTED_ROWS = 20


def events(played: Played, task: str, day: str) -> list[dict[str, Any]]:
    """The COMPLETE events of a task (`<dag>.<task>`) in the runs of a day, oldest first."""
    lines = (played.stack.home / "lineage" / "events.jsonl").read_text().splitlines()
    ended = [event for event in map(json.loads, lines) if event["eventType"] == "COMPLETE"]
    return [
        event
        for event in ended
        if event["job"]["name"] == f"{played.spec.name}.{task}"
        and str(event["run"]["facets"]["airflow"]["dagRun"].get("partition_key")).startswith(day)
    ]


def by_table(datasets: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {dataset["name"].rsplit("/", 1)[-1]: dataset for dataset in datasets}


def columns(dataset: dict[str, Any]) -> set[str]:
    return {field["name"] for field in dataset["facets"]["schema"]["fields"]}


def counted(dataset: dict[str, Any]) -> int:
    facets = dataset.get("inputFacets", {}).get("dataQualityMetrics") or dataset["outputFacets"]["outputStatistics"]
    return int(facets["rowCount"])


def test_lineage_of_a_batch_has_schema_and_quality_with_the_numbers_of_its_day(played: Played) -> None:
    line = played.summary["days"][1]
    event = events(played, "ingest_batch.validate_batch", line["date"])[0]
    (read,) = event["inputs"]
    assert read["name"].endswith(f"/batches/batch_date={line['date']}")
    assert columns(read) == set(played.spec.columns)
    quality = read["inputFacets"]["dataQualityMetrics"]
    assert quality["rowCount"] == line["rows"]
    assert quality["columnMetrics"]["total_bedrooms"]["nullCount"] == line["quarantined"] > 0
    raw = played.rows(RAW, line["date"])
    assert quality["columnMetrics"]["latitude"]["max"] == pc.max(raw["latitude"].cast(pa.float64())).as_py()
    held = {
        (item["assertion"], item.get("column")): item["success"]
        for item in read["inputFacets"]["dataQualityAssertions"]["assertions"]
    }
    assert held["quarantine_row:null:total_bedrooms", "total_bedrooms"] is False
    assert held["quarantine_row:out_of_range:latitude", "latitude"] is True
    assert {name for (name, _), success in held.items() if not success} == {"quarantine_row:null:total_bedrooms"}
    written = by_table(event["outputs"])
    assert set(written) == {played.spec.table(layer) for layer in ("raw", "quarantine", "profiles", "metrics")}
    assert counted(written[played.spec.table("raw")]) == line["rows"]
    assert counted(written[played.spec.table("quarantine")]) == line["quarantined"]


@pytest.mark.parametrize(
    ("task", "read", "written"),
    [
        ("ingest_batch.accept_and_quarantine", "raw", "clean"),
        ("build_features.compute_features", "clean", "features"),
        ("score_batch.score_rows", "features", "predictions"),
    ],
)
def test_lineage_follows_the_rows_to_their_predictions(played: Played, task: str, read: str, written: str) -> None:
    line = played.summary["days"][1]
    event = events(played, task, line["date"])[0]
    source = by_table(event["inputs"])[played.spec.table(read)]
    target = by_table(event["outputs"])[played.spec.table(written)]
    assert counted(source) == line["rows" if read == "raw" else "accepted"]
    assert counted(target) == line["accepted"]
    for dataset, layer in ((source, read), (target, written)):
        fields = played.lake.open(played.spec.table(layer)).schema().fields
        assert columns(dataset) == {field.name for field in fields}


def test_lineage_of_a_training_names_its_training_set_and_its_rows(played: Played) -> None:
    first = played.summary["days"][0]["date"]
    name = played.spec.table("training_sets")
    (event,) = events(played, "train_model.build_training_set", first)
    assert set(by_table(event["inputs"])) == {played.spec.table(layer) for layer in ("labels", "features", "metrics")}
    key = played.summary["versions"][0]["training_set"]
    rows = played.lake.read(name, where=[("training_set", "=", key)], columns=["training_set"]).num_rows
    assert counted(by_table(event["outputs"])[name]) == rows > 0
    for task in ("train_baseline", "tune"):
        (fitted,) = events(played, f"train_model.{task}", first)
        assert counted(by_table(fitted["inputs"])[name]) == rows
        assert played.spec.target in columns(by_table(fitted["inputs"])[name])


def content(played: Played, table: Table, key: str) -> pa.Table:
    rows = played.rows(table, key)
    rows = rows.drop_columns([name for name in ("run_id", "extra_columns") if name in rows.column_names])
    plain = [name for name in rows.column_names if not pa.types.is_nested(rows[name].type)]
    return rows.select(plain).sort_by([(name, "ascending") for name in plain])


def rerun(played: Played, day: str) -> None:
    """What the runbook says: deliver again, backfill ingest_batch over the day, and Airflow does the rest."""
    dag = f"{played.spec.name}.monitor_model"
    before = {run.run_id for run in played.airflow.runs(dag)}
    played.backfill("ingest_batch", day, day)
    wait_for(
        lambda: [
            run
            for run in played.airflow.runs(dag)
            if run.run_id not in before and str(run.partition).startswith(day) and run.state == "success"
        ],
        f"{day} to be monitored again",
    )


def test_a_corrected_delivery_replaces_its_day_all_the_way_down_but_not_what_was_served(played: Played) -> None:
    day, others = played.day(2), [played.day(n) for n in (1, 3)]
    tables = (RAW, QUARANTINE, CLEAN, FEATURES, PREDICTIONS, METRICS)
    rerun(played, day)  # first as it was: what changes after this comes from the correction, not from the version
    before = {(table, on): content(played, table, on) for table in tables for on in (day, *others)}

    (key,) = played.spec.entity.keys
    raw = played.rows(RAW, day).to_pandas()
    good = set(before[CLEAN, day][key].to_pylist())
    chosen = [place for place in raw.index if int(raw.loc[place, key]) in good][:CORRECTED_ROWS]
    corrected = {int(raw.loc[place, key]): float(raw.loc[place, "median_income"]) / 2 for place in chosen}
    raw.loc[chosen, "median_income"] = [repr(value) for value in corrected.values()]
    delivery = played.delivery("batches", day)
    (file,) = Path(delivery.folder).glob("*.csv")
    delivery.write(file.name, raw[list(played.spec.columns)].to_csv(index=False).encode())
    rerun(played, day)

    after = {place: content(played, *place) for place in before}
    for layer in (CLEAN, FEATURES):
        income = dict(
            zip(after[layer, day][key].to_pylist(), after[layer, day]["median_income"].to_pylist(), strict=True)
        )
        was = before[layer, day]
        old = dict(zip(was[key].to_pylist(), was["median_income"].to_pylist(), strict=True))
        assert income == old | corrected
    is_served = after[PREDICTIONS, day]["served"]
    assert after[PREDICTIONS, day].filter(is_served).equals(before[PREDICTIONS, day])
    beside = after[PREDICTIONS, day].filter(pc.invert(is_served))
    assert set(beside[key].to_pylist()) <= set(corrected)
    assert beside.num_rows > CORRECTED_ROWS / 2
    assert performance(after[METRICS, day]) == performance(before[METRICS, day])
    assert after[QUARANTINE, day].num_rows == before[QUARANTINE, day].num_rows
    for table in tables:
        for other in others:
            assert after[table, other].equals(before[table, other]), (table.layer, other)


def performance(rows: pa.Table) -> list[float]:
    return rows.filter(pc.equal(rows["metric"], "adjusted_r2"))["value"].to_pylist()


def test_a_late_delivery_is_warned_of_and_then_fails_saying_what_was_expected_where(played: Played) -> None:
    late, day = catalogue.load(LATE_MODEL, Path(played.environment()["FLIGHTLINE_MODELS"])), played.day(30)
    dag = f"{LATE_MODEL}.ingest_batch"
    wait_for(lambda: dag in played.airflow.dag_ids(LATE_MODEL), f"{dag} to be there")
    played.airflow.unpause(dag)
    run = played.airflow.trigger(dag, partition=day)
    marker = f"{played.stack.home}/landing/{LATE_MODEL}/batches/batch_date={day}/_SUCCESS"
    warning = f"{LATE_MODEL}: late. Expected: the batch of {day}, marker {marker}"

    wait_for(lambda: warning in (played.stack.home / "log" / "triggerer.log").read_text(), "the warning", 60)
    assert not played.airflow.run(dag, run.run_id).finished, "the warning came after the failure"
    wait_for(lambda: played.airflow.run(dag, run.run_id).finished, "the deadline", 90)

    states = played.airflow.task_states(run)
    assert (states["wait_for_delivery"], states["validate_batch"]) == ("failed", "upstream_failed")
    log = "".join(
        file.read_text() for file in (played.stack.home / "log" / "tasks").glob(f"dag_id={dag}/**/attempt=*.log")
    )
    waited = re.escape(str(late.deliveries.deadline_minutes * 60).removesuffix(".0"))
    assert re.search(rf"not there after 0:00:{waited}: the batch of {day}, marker {re.escape(marker)}", log)
    assert "Ask the supplier for it, then clear this task" in log
    assert missed_deadlines(played) == [(f"{LATE_MODEL}: delivery late", True, "success")]
    assert tries(played, dag) == [1], "a retry waits as long again"


def missed_deadlines(played: Played) -> list[tuple[str, bool, str]]:
    """Name, whether it was missed, and what became of the callback, of each deadline of the late model."""
    return ask(
        played,
        "SELECT a.name, d.missed, c.state FROM deadline d JOIN deadline_alert a ON a.id = d.deadline_alert_id"
        " JOIN callback c ON c.id = d.callback_id WHERE a.name LIKE %s",
        f"{LATE_MODEL}%",
    )


def tries(played: Played, dag: str) -> list[int]:
    sql = "SELECT try_number FROM task_instance WHERE dag_id = %s AND task_id = 'wait_for_delivery'"
    return [number for (number,) in ask(played, sql, dag)]


def ask(played: Played, sql: str, argument: str) -> list[tuple[Any, ...]]:
    address = played.stack.postgres.url("airflow", driver="postgresql")
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(sql, (argument,))
        return cursor.fetchall()
