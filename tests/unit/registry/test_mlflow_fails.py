"""MLflow fails at each request of a promotion and a roll-back in turn: one version stays, and a repetition completes.

A small proxy stands before a real server, and answers 500, cuts the line, or answers after the client's patience.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from mlflow.exceptions import MlflowException

from include.core.errors import FlightlineError
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Kind
from include.orchestration.defaults import NOT_RETRIED
from include.registry import promotion, steps, versions
from include.runtime.ports import free_port
from tests.played import wait_for
from tests.unit.training.serving import BAD, GOOD, Serving, serving
from tests.unit.training.stage import _tracking_uri

pytestmark = pytest.mark.slow

Failure = Literal["500", "down", "slow"]
PATIENCE_SECONDS = 5
"""Of the client, for one answer: the server's own are there within it on a busy machine."""


class Proxy:
    """Hands requests on, and counts them; from one on it fails."""

    def __init__(self, upstream: str) -> None:
        self.seen, self.fails_from, self.how = 0, sys.maxsize, "500"
        client = httpx.Client(base_url=upstream, timeout=60)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.seen += 1
                if proxy.seen >= proxy.fails_from:
                    return self._fail()
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                answer = client.request(self.command, self.path, content=body, headers=headers)
                self._answer(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))

            def _fail(self) -> None:
                if proxy.how == "down":
                    self.close_connection = True
                    return
                if proxy.how == "slow":
                    time.sleep(2 * PATIENCE_SECONDS)
                with suppress(BrokenPipeError):  # who has lost patience is gone
                    self._answer(500, b'{"error_code": "INTERNAL_ERROR", "message": "no answer"}', "")

            def _answer(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind or "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle  # noqa: N815  (as the library names them)

            def log_message(self, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def fail_from(self, number: int, how: Failure) -> None:
        """From so many requests from now on."""
        self.fails_from, self.how = self.seen + number, how

    def heal(self) -> None:
        self.fails_from = sys.maxsize


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    port = free_port()
    store = ["--backend-store-uri", _tracking_uri(), "--no-serve-artifacts", "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/health", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for(answers, "MLflow to answer")
        made = Proxy(url)
        yield made
        made.server.shutdown()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def behind(proxy: Proxy, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """The good version was in production, and the bad one is; MLflow is reached through the proxy."""
    made = serving(f"fails_{abs(hash(request.node.name))}", tmp_path)
    made.promote(GOOD, BAD)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE_SECONDS))
    return made


def go_there(made: Serving, number: int) -> tuple[str, Callable[[], Any]]:
    """A roll-back, or a promotion's last step, to the version that is not in production."""
    target = GOOD if periods(made)[-1] == BAD else BAD
    run = made.run(run_id=f"run {number}")
    if number % 2:
        identity = decisions.identity(run.spec.name, Kind.PROMOTION, f"version {target}", run.run_id)
        return target, lambda: promotion.put_in_production(run.spec, run.lake, target, identity)
    return target, lambda: steps.roll_back(run, target, "MLflow fails")


def periods(made: Serving) -> list[str]:
    found = alias_history.periods(made.scene.world.lake, made.spec.name)
    assert [item.valid_to is None for item in found] == [False] * (len(found) - 1) + [True], "one is in production"
    return [item.version for item in found]


@pytest.mark.parametrize(("how", "stride"), [("500", 1), ("down", 5), ("slow", 9)])
def test_wherever_mlflow_fails_one_version_is_in_production_and_a_repetition_completes(
    behind: Serving, proxy: Proxy, how: Failure, stride: int
) -> None:
    number, failed = 0, 0
    for kind in (0, 1):
        at = 1
        while True:
            number += 2
            target, go = go_there(behind, number + kind)
            before = periods(behind)
            proxy.fail_from(at, how)
            fails = False
            try:
                go()
            except (MlflowException, FlightlineError):
                fails = True
            finally:
                proxy.heal()
            assert periods(behind) in (before, [*before, target])
            if not fails:
                break  # it has made all of its requests
            failed += 1
            go()
            assert periods(behind) == [*before, target]
            assert versions.number_of(behind.spec, versions.PRODUCTION) == target
            tagged = [version.version for version in versions.in_stage(behind.spec, "Production")]
            assert tagged == [target]
            at += stride
    assert failed >= 20 / stride


def test_what_fails_is_no_mistake_that_a_retry_would_repeat(behind: Serving, proxy: Proxy) -> None:
    """Airflow tries it again: it is none of the errors that end a run at once."""
    _, go = go_there(behind, 2)
    proxy.fail_from(1, "500")
    with pytest.raises(MlflowException, match="too many 500 error responses") as raised:
        go()
    proxy.heal()
    assert not isinstance(raised.value, (*NOT_RETRIED, FlightlineError))
