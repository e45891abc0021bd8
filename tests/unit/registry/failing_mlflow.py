"""A small proxy before a real MLflow server: it counts requests, and at one of them something happens."""

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
from typing import Literal

import httpx
import pytest

from include.runtime.ports import free_port
from tests.played import wait_for
from tests.unit.training.stage import _tracking_uri

Failure = Literal["500", "down", "slow"]
PATIENCE_SECONDS = 5
"""Of the client, for one answer: the server's own are there within it on a busy machine."""


class Proxy:
    """Hands requests on, and counts them; from one on it fails, or at one it does something."""

    def __init__(self, upstream: str) -> None:
        self.seen, self.fails_from, self.how = 0, sys.maxsize, "500"
        self.strikes_at, self.hands_on = sys.maxsize, True
        self.strike: Callable[[], None] = lambda: None
        client = httpx.Client(base_url=upstream, timeout=60)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.seen += 1
                number = proxy.seen
                if number >= proxy.fails_from:
                    return self._fail()
                if number == proxy.strikes_at and not proxy.hands_on:
                    proxy.strike()
                    self.close_connection = True
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                answer = client.request(self.command, self.path, content=body, headers=headers)
                if number == proxy.strikes_at:
                    proxy.strike()
                with suppress(OSError):  # who was struck is gone
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

    def strike_at(self, number: int, strike: Callable[[], None], *, hands_on: bool) -> None:
        """At so many requests from now on.

        Args:
            hands_on: whether the server has done what it was asked before the blow.
        """
        self.strikes_at, self.strike, self.hands_on = self.seen + number, strike, hands_on

    def stand_before_mlflow(self, environment: pytest.MonkeyPatch) -> None:
        """Let clients, who have patience for one answer and ask once, reach MLflow through it."""
        environment.setenv("MLFLOW_TRACKING_URI", self.url)
        environment.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        environment.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE_SECONDS))

    def heal(self) -> None:
        self.fails_from = self.strikes_at = sys.maxsize


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """A server on the database that the tests of this process share."""
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
