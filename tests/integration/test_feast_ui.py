"""Feast's pages as the local stack starts them: what they show, to whom, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from include.core.settings import PROJECT_ROOT
from include.runtime.feast_ui import LOGIN_COOKIE
from include.runtime.ports import free_port

VIEWS = "/api/v1/feature_views?project=flightline"
SHOWN = ("/", "/p/flightline", "/projects-list.json", VIEWS, "/api/v1/lineage/complete?project=flightline")
NOT_SHOWN = ("/api/v1/saved_datasets/data/any", "/api/v1/monitoring/metrics/baseline", "/docs", "/registry.db")
A_SOURCE = {"name": "shadow", "project": "flightline", "type": "DELTA", "path": "/etc"}


class LogIns(BaseHTTPRequestHandler):
    """What Airflow says of a token; tests/e2e asks a real one."""

    def do_GET(self) -> None:
        known = self.path == "/ui/auth/me" and self.headers["Authorization"] == "Bearer known"
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def log_ins() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), LogIns)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def pages(feast_environment, log_ins: str) -> Iterator[httpx.Client]:
    """A client that is logged in."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "include.runtime.feast_ui", str(port)],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "FLIGHTLINE_AIRFLOW_URL": log_ins,
            "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", cookies={LOGIN_COOKIE: "known"}, timeout=30) as client:
            wait_for(client, process)
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_for(client: httpx.Client, process: subprocess.Popen[str], seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.3)


@pytest.mark.parametrize("online_kind", ["postgres"], indirect=True)  # the pages show the registry alone
def test_the_pages_show_the_feature_views_to_who_is_logged_in_and_nothing_can_be_changed(pages: httpx.Client) -> None:
    assert "<html" in pages.get("/").text
    before = pages.get(VIEWS).json()
    assert "california_housing_features" in json.dumps(before)
    assert {path: pages.get(path).status_code for path in SHOWN} == dict.fromkeys(SHOWN, 200)
    assert {path: pages.get(path).status_code for path in NOT_SHOWN} == dict.fromkeys(NOT_SHOWN, 404)

    attacks = [
        pages.post("/api/v1/data_sources", json=A_SOURCE),
        pages.post("/api/v1/push", json={"push_source_name": "any", "df": {}}),
        pages.delete("/api/v1/feature_views/california_housing_features?project=flightline"),
        pages.put("/"),
    ]
    assert {answer.status_code for answer in attacks} == {405}
    assert pages.get(VIEWS).json() == before

    for token in ("", "forged"):
        stranger = httpx.Client(base_url=pages.base_url, cookies={LOGIN_COOKIE: token}, timeout=pages.timeout)
        for path in SHOWN:
            answer = stranger.get(path)
            assert answer.status_code == 401
            assert "california_housing_features" not in answer.text
        assert "Log in to <a" in stranger.get("/").text

    assert pages.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert pages.get("/", headers={"Host": f"localhost:{pages.base_url.port}"}).status_code == 200
    assert "frame-ancestors http://127.0.0.1:" in pages.get("/").headers["content-security-policy"]
