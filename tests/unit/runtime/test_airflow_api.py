"""The client of Airflow's API: what is slow or away for a moment is asked again, and nothing is done twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from include.core.errors import StackError
from include.runtime.airflow_api import AirflowApi

RUN = {"dag_id": "a.b", "dag_run_id": "", "state": "queued"} | dict.fromkeys(
    ("partition_key", "end_date", "duration", "note")
)


class Shaky(BaseHTTPRequestHandler):
    """Does what it is asked, and gives the first answers of each path as its server's ``faults`` say."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/auth/token":
            self._answer(200, {"access_token": "any"})
        elif self.path.endswith("/dagRuns"):
            known = body["dag_run_id"] in self.server.runs
            self.server.runs.append(body["dag_run_id"])
            self._answer(409 if known else 200, RUN | {"dag_run_id": body["dag_run_id"]})
        else:
            self.server.backfills += 1
            self._answer(200, {"id": 1})

    def do_GET(self) -> None:
        self._answer(200, RUN | {"dag_run_id": self.path.rsplit("/")[-1], "dags": [{"dag_id": "a.b"}]})

    def _answer(self, status: int, body: dict) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "hang up":
            self.connection.close()
            return
        self.send_response(fault or status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Shaky)
    running.faults, running.runs, running.backfills = [], [], 0
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()


@pytest.fixture
def api(server: ThreadingHTTPServer) -> AirflowApi:
    return AirflowApi(f"http://127.0.0.1:{server.server_port}", "admin", "any", patience=5)


def test_a_read_that_fails_for_a_moment_is_asked_again(api: AirflowApi, server: ThreadingHTTPServer) -> None:
    server.faults = [503, "hang up", None, 500, "hang up"]  # of the log-in, then of the read
    assert api.dag_ids("a") == ["a.b"]
    assert not server.faults


def test_a_run_is_triggered_once_however_often_it_is_asked_for(api: AirflowApi, server: ThreadingHTTPServer) -> None:
    server.faults = [None, "hang up", 502]
    run = api.trigger("a.b")
    assert len(server.runs) == 3
    assert set(server.runs) == {run.run_id.replace("%3A", ":").replace("%2B", "+")}


def test_what_would_be_done_twice_is_not_asked_again(api: AirflowApi, server: ThreadingHTTPServer) -> None:
    server.faults = [None, "hang up"]
    with pytest.raises(StackError, match="does not answer"):
        api.backfill("a.b", "2025-01-01", "2025-01-02")
    assert server.backfills == 1


def test_one_who_is_away_for_good_is_named(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(StackError, match=f"^{url}: Airflow does not answer.*See `make status`"):
        AirflowApi(url, "admin", "any", patience=1).dag_ids("a")
