"""What a data engineer does on a running stack: backfill, wait, answer, roll back, use the command line, repeat."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from urllib.parse import quote

import httpx
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from include.core.settings import PROJECT_ROOT
from include.demo import loop
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.schemas import CLEAN, FEATURES, LABELS, METRICS, PREDICTIONS, QUARANTINE, RAW, Table
from tests.played import PLAN, UNPLAYED_MODEL, WAIT_SECONDS, Played, wait_for


def content(played: Played, table: Table, key: str) -> pa.Table:
    rows = played.rows(table, key)
    rows = rows.drop_columns([name for name in ("run_id",) if name in rows.column_names])
    return rows.sort_by([(name, "ascending") for name in rows.column_names if not pa.types.is_list(rows[name].type)])


def test_a_second_demo_finds_the_first_one_and_plays_nothing_again(played: Played) -> None:
    before = {run.run_id for run in played.airflow.runs("~")}
    said: list[str] = []
    again = loop.run(played.stack, PLAN, said.append)
    assert again["days"] == played.summary["days"]
    assert {run.run_id for run in played.airflow.runs("~")} == before
    assert any("Found an earlier demo" in line for line in said)


def test_another_model_is_listed_and_paused_and_nothing_of_it_has_run(played: Played) -> None:
    dags = played.airflow.dag_ids(UNPLAYED_MODEL)
    assert len(dags) == loop.DAGS
    assert played.airflow.dag_ids(UNPLAYED_MODEL, paused=True) == dags
    assert {run.dag_id for run in played.airflow.runs("~")}.isdisjoint(dags)


@pytest.mark.parametrize(
    ("steps", "tables"),
    [
        (("ingestion.validate_batch", "ingestion.load_batch"), (RAW, QUARANTINE, CLEAN)),
        (("ingestion.load_labels",), (LABELS,)),
        (("features.compute_features",), (FEATURES,)),
        (("scoring.score_rows",), (PREDICTIONS,)),
        (("monitoring.measure_window",), (METRICS,)),
    ],
    ids=lambda given: given[0] if isinstance(given[0], str) else "",
)
def test_steps_on_the_command_line_give_what_the_dag_gave(
    played: Played, steps: tuple[str, ...], tables: tuple[Table, ...]
) -> None:
    key = played.day(2)
    before = {table: content(played, table, key) for table in tables}
    versions = {table: played.lake.version(table.of(played.spec)) for table in tables}
    for step in steps:
        done = subprocess.run(
            [sys.executable, "-m", "include.jobs", step, "--model", played.spec.name, "--partition", key],
            env=played.environment(),
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout.splitlines()[-1])
    for table in tables:
        assert played.lake.version(table.of(played.spec)) > versions[table]
        assert content(played, table, key).equals(before[table]), table.layer


def test_a_backfill_flows_through_and_leaves_no_duplicate(played: Played) -> None:
    first, last = played.day(2), played.day(3)
    before = {layer: content(played, layer, day).num_rows for layer in (CLEAN, FEATURES) for day in (first, last)}
    seen = {run.run_id for run in played.airflow.runs(f"{played.spec.name}.score_batch")}
    played.backfill("ingest_batch", first, last)

    def scored() -> bool:
        runs = [run for run in played.airflow.runs(f"{played.spec.name}.score_batch") if run.run_id not in seen]
        return {run.partition for run in runs if run.state == "success"} == {first, last}

    wait_for(scored, "the backfilled days to be scored")
    after = {layer: content(played, layer, day).num_rows for layer in (CLEAN, FEATURES) for day in (first, last)}
    assert after == before
    predictions = content(played, PREDICTIONS, first)
    assert predictions.num_rows == content(played, CLEAN, first).num_rows


def test_the_sensor_waits_without_a_slot_until_the_delivery_is_complete(played: Played) -> None:
    day = played.day(20)
    run = played.trigger("ingest_batch", partition=day)
    wait_for(
        lambda: played.airflow.task_states(run).get("wait_for_delivery") == "deferred", "the sensor to be deferred"
    )
    rows = played.rows(RAW, played.day(1))
    lines = [",".join(played.spec.columns)]
    lines += [",".join(str(row[name] or "") for name in played.spec.columns) for row in rows.slice(0, 50).to_pylist()]
    played.delivery("batches", day).write("late.csv", ("\n".join(lines) + "\n").encode())
    played.finish(run)
    assert content(played, RAW, day).num_rows == 50


def test_a_bad_batch_is_rejected_without_a_trace_in_the_clean_table(played: Played) -> None:
    day = played.day(21)
    played.delivery("batches", day).write("broken.csv", b"listing_id,longitude\n1,-120.0\n2,-121.0\n")
    run = played.trigger("ingest_batch", partition=day)
    wait_for(lambda: played.airflow.run(run.dag_id, run.run_id).finished, "the run to end")
    ended = played.airflow.run(run.dag_id, run.run_id)
    assert ended.state == "failed"
    assert ended.note.startswith(f"{day}: batch rejected (missing_column:")
    states = played.airflow.task_states(run)
    assert (states["reject_batch"], states["alert_rejected_batch"]) == ("success", "failed")
    assert states["accept_batch"] == states["accept_and_quarantine"] == "skipped"
    assert content(played, CLEAN, day).num_rows == 0
    assert content(played, QUARANTINE, day).num_rows == 2
    assert not [r for r in played.airflow.runs(f"{played.spec.name}.build_features") if r.partition == day]


@pytest.mark.parametrize(
    ("dag", "shown"),
    [("ingest_batch", "total_bedrooms"), ("build_features", "Training-serving"), ("monitor_model", "The policy")],
)
def test_the_tab_of_a_run_shows_what_was_found(played: Played, dag: str, shown: str) -> None:
    run = next(run for run in played.airflow.runs(f"{played.spec.name}.{dag}") if run.partition == played.day(1))
    path = f"{played.stack.airflow_url}/run-report/{run.dag_id}/{quote(run.run_id)}"
    assert httpx.get(path, timeout=WAIT_SECONDS).status_code == 401
    login = {"username": "admin", "password": played.stack.password()}
    token = httpx.post(f"{played.stack.airflow_url}/auth/token", json=login, timeout=WAIT_SECONDS).json()[
        "access_token"
    ]
    page = httpx.get(path, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_SECONDS)
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; ")
    assert shown in page.text


def test_roll_back_is_a_dry_run_first_and_then_moves_the_alias(played: Played) -> None:
    client, name = MlflowClient(played.stack.mlflow_url), played.spec.name
    serving = str(client.get_registered_model(name).aliases["production"])
    dry = played.finish(played.trigger("roll_back_model", conf={"version": 1}))
    assert played.airflow.task_states(dry)["roll_back"] == "skipped"
    assert f"would replace version {serving}" in dry.note
    assert str(client.get_registered_model(name).aliases["production"]) == serving

    real = {"version": 1, "dry_run": False, "comment": "a test of the way back"}
    played.finish(played.trigger("roll_back_model", conf=real))
    assert str(client.get_registered_model(name).aliases["production"]) == "1"
    played.finish(played.trigger("roll_back_model", conf={**real, "version": int(serving)}))
    assert str(client.get_registered_model(name).aliases["production"]) == serving
    assert [period.version for period in alias_history.periods(played.lake, name)][-2:] == ["1", serving]
    newest = decisions.history(played.lake, name, Kind.ROLL_BACK)[-1:]
    assert [decision.actor for decision in newest] == ["admin"], "who it was, not only that it was a person"


def test_maintenance_runs_and_loses_no_row(played: Played) -> None:
    rows = played.lake.read(played.spec.table("predictions")).num_rows
    played.finish(played.trigger("maintain_tables"))
    assert played.lake.read(played.spec.table("predictions")).num_rows == rows


def test_in_production_a_person_is_asked_and_no_is_an_answer(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    client, name = MlflowClient(played.stack.mlflow_url), played.spec.name
    serving = str(client.get_registered_model(name).aliases["production"])
    monkeypatch.setenv("FLIGHTLINE_ENV", "prod")
    played.stack.down()
    played.stack.up()
    run = played.trigger("promote_model", partition=serving)
    wait_for(
        lambda: played.airflow.task_states(run).get("wait_for_approval") in ("awaiting_input", "deferred"),
        "the question to be asked",
    )
    time.sleep(8)  # An answer that overtakes the worker's report that the task waits makes Airflow ask again.
    played.airflow.answer(run, "wait_for_approval", "Reject")
    ended = played.finish(run)
    states = played.airflow.task_states(ended)
    assert states["promote_version"] == "skipped"
    assert states["reject_candidate"] == states["check_drift"] == "success"
    assert str(client.get_registered_model(name).aliases["production"]) == serving
