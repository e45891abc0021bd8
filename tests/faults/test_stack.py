"""The stack heals by itself: components, the supervisor and files are killed and cut off under a running wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import psutil
import pytest

from include.core.settings import PROJECT_ROOT, Settings
from include.ingestion.delivery import Delivery
from include.lakehouse.schemas import CLEAN, FEATURES
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.runtime.airflow_api import TIMEOUT_SECONDS, Run
from include.runtime.stack import COMPONENTS
from tests.faults.conftest import Running
from tests.played import wait_for


def flightline(running: Running, command: str) -> subprocess.Popen[str]:
    """What `make up`, `make status` and `make down` run, with variables of a caller who is gone soon."""
    return subprocess.Popen(
        [sys.executable, "-m", "include.runtime", command],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT_ROOT),
            "FLIGHTLINE_VAR": str(running.stack.home),
            "PROMETHEUS_MULTIPROC_DIR": str(running.stack.home / "gone"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


def everyone(running: Running) -> list[psutil.Process]:
    services = [psutil.Process(service.pid) for service in running.stack.status() if service.pid]
    return [member for process in services for member in [process, *process.children(recursive=True)]]


def alive(family: list[psutil.Process]) -> list[psutil.Process]:
    return [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]


def test_a_wait_for_features_outlives_each_component(running: Running) -> None:
    """Features are absent, then there: in between each component is killed, the scheduler in the middle of a task."""
    day = running.spec.first_partition.shift(1).key
    waiting = running.trigger("score_batch", partition=day)
    wait_for(lambda: running.state(waiting, "wait_for_features") == "deferred", "the sensor to be deferred")
    addresses = {name: running.service(name).address for name in COMPONENTS}
    for name in COMPONENTS:
        before = running.kill(name)
        after = running.wait_for_start(before)
        assert after.address == addresses[name]
        assert after.restarts >= before.restarts + 1
        assert not after.left
    wait_for(lambda: running.stack.is_healthy(), "the stack to be healthy")
    wait_for(lambda: running.state(waiting, "wait_for_features") == "deferred", "the sensor to wait still, or again")
    running.deliver(1)
    batch = running.trigger("ingest_batch", partition=day)
    wait_for(lambda: "running" in running.airflow.task_states(batch).values(), "a task to run")
    scheduler = running.kill("scheduler")
    running.wait_for_start(scheduler)
    running.finish(batch)
    running.finish(waiting)


def test_a_batch_that_is_rejected_after_it_was_accepted_is_withdrawn_by_an_event(running: Running) -> None:
    day = running.spec.first_partition.shift(2)
    home = running.stack.home
    lake, features = Lakehouse(str(home / "lakehouse")), FEATURES.of(running.spec)

    def finished(verb_noun: str) -> list[Run]:
        runs = running.airflow.runs(f"{running.spec.name}.{verb_noun}")
        return [run for run in runs if run.partition == day.key and run.finished]

    running.deliver(2)
    running.finish(running.trigger("ingest_batch", partition=day.key))
    (built,) = wait_for(lambda: finished("build_features"), "the features to be built")
    assert built.state == "success"
    assert lake.count(features, where=within(day))
    preview = running.trigger("withdraw_batch", conf={"partition": day.key})
    running.finish(preview)
    assert running.state(preview, "withdraw_rows") == "skipped"
    delivery = Delivery.expected(Settings(landing_uri=str(home / "landing")), running.spec, "batches", day)
    delivery.write("another.csv", b"of,another\n1,2\n")
    rejected = running.trigger("ingest_batch", partition=day.key)
    (withdrawn,) = wait_for(lambda: finished("withdraw_batch"), "the withdrawal", 600)
    assert withdrawn.state == "success", running.airflow.task_states(withdrawn)
    assert running.state(withdrawn, "name_versions") == "success"
    assert running.airflow.run(rejected.dag_id, rejected.run_id).state == "failed"
    assert lake.count(features, where=within(day)) == lake.count(CLEAN.of(running.spec), where=within(day)) == 0


def test_an_answer_of_airflow_that_does_not_come_is_asked_for_again(running: Running) -> None:
    """As on a machine that is busy for a while: the server takes the question, and is longer silent than one waits."""
    silent_seconds = TIMEOUT_SECONDS + 5
    server = psutil.Process(running.service("api-server").pid)
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.suspend()
    resume = threading.Timer(silent_seconds, lambda: [process.resume() for process in family])
    resume.start()
    asked_at = time.monotonic()
    try:
        assert running.airflow.dag_ids(running.spec.name)
    finally:
        resume.join()
    assert time.monotonic() - asked_at >= silent_seconds


def test_nobody_takes_airflows_port_while_it_is_down(running: Running) -> None:
    """Its tasks would send their tokens to whoever listens there."""
    port = urlsplit(running.stack.airflow_url).port
    assert port in running.stack._folder.held()
    killed = running.kill("api-server")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="already in use"):
            other.bind(("127.0.0.1", port))
    running.wait_for_start(killed)


def test_status_says_how_often_and_why(running: Running) -> None:
    running.wait_for_start(running.kill("triggerer"))
    text = said(flightline(running, "status"))
    assert "last because it was killed by SIGKILL" in text
    assert "since" in text


def test_two_at_once_begin_anew_after_a_killed_supervisor_at_the_same_addresses(running: Running) -> None:
    before = running.stack.status()
    supervisor = running.stack.supervisor()
    assert supervisor
    family = everyone(running)
    supervisor.kill()
    running.kill("mlflow")
    running.kill("scheduler")
    wait_for(lambda: not running.stack.is_supervised(), "the supervisor to be gone")
    assert "Nobody supervises them" in said(flightline(running, "status"))
    both = [flightline(running, "up"), flightline(running, "up")]
    texts = sorted(said(process) for process in both)
    assert any("waiting for it" in text for text in texts)
    assert any("processes that nobody supervised" in text for text in texts)
    after = running.stack.status()
    assert [service.address for service in after] == [service.address for service in before]
    assert all(service.pid for service in after)
    assert not alive(family)


@pytest.mark.parametrize("file", ["run/state.json", "run/wanted.json"])
def test_a_file_that_was_cut_off_is_made_anew_and_nothing_is_started_twice(running: Running, file: str) -> None:
    before = [service.pid for service in running.stack.status()]
    path = running.stack.home / file
    path.write_text(path.read_text()[:30])
    said(flightline(running, "status"))
    said(flightline(running, "up"))
    assert [service.pid for service in running.stack.status()] == before


def test_lost_secrets_are_made_anew_and_everything_starts_with_them(running: Running) -> None:
    path = running.stack.home / "stack.json"
    path.write_text(path.read_text()[:30])
    text = said(flightline(running, "up"))
    assert "stack.json was broken" in text
    assert all(service.pid for service in running.stack.status())


def test_lost_passwords_of_the_database_are_made_anew(running: Running) -> None:
    path = running.stack.home / "postgres.json"
    path.write_text(path.read_text()[:30])
    text = said(flightline(running, "up"))
    assert "postgres.json was broken" in text
    assert "The passwords of PostgreSQL were lost" in text
    assert all(service.pid for service in running.stack.status())
    assert running.stack.postgres.answers()


def test_down_leaves_nothing(running: Running) -> None:
    family = everyone(running)
    text = said(flightline(running, "down"))
    assert "Stopped scheduler" in text
    assert not alive(family)
    assert not any(service.pid or service.left for service in running.stack.status())
    assert "not running" in said(flightline(running, "status"))
