"""Who is told, by real servers on this machine; and that nothing that goes wrong there goes wrong here."""

from __future__ import annotations

import json
import logging
import socket
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from flightline import notices
from flightline.notices import IncidentNotice, Notice

from include.core import catalogue
from include.core.notification import Notification, Occasion
from include.core.settings import Settings
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse

MODEL = "california_housing"
RUN = "manual__2026-11-22T10:00:00+00:00"
SECRET = "T000/B000/hush"


class Pulled(dict):
    """A task instance, as far as a notice knows it."""

    task_id = "promote_version"

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.get(key)


def context(**xcom: Any) -> Any:
    dag_id = f"{MODEL}.promote_model"
    run = SimpleNamespace(dag_id=dag_id, run_id=RUN, partition_key="3")
    return {"ti": Pulled(xcom), "dag_run": run, "dag": SimpleNamespace(dag_id=dag_id)}


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def web() -> Iterator[tuple[int, list[tuple[str, dict[str, str], Any]], list[int]]]:
    """A port, what was posted there, and the status that it answers."""
    posted: list[tuple[str, dict[str, str], Any]] = []
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, dict(self.headers), json.loads(content)))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, posted, status


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server that takes every mail, and the mails."""
    mails: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                verb = line[:4].upper().strip()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text)
                    mails.append(b"".join(lines))
                self.wfile.write(b"250 fine\r\n")
                if verb == b"QUIT":
                    return

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, mails


@pytest.fixture
def silence() -> Iterator[int]:
    """The port of a server that takes a connection, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have places and connections in model.yaml and Airflow."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.test/")

    def configure(connections: dict[str, dict[str, Any]], *places: dict[str, Any]) -> None:
        spec = catalogue.load(MODEL)
        found = tuple(Notification.model_validate(place) for place in places)
        monkeypatch.setattr(catalogue, "load", lambda name: spec.model_copy(update={"notify": found}))
        for name, connection in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    return configure


def http(port: int, **more: Any) -> dict[str, Any]:
    return {"conn_type": "http", "host": "127.0.0.1", "schema": "http", "port": port, **more}


def smtp(port: int) -> dict[str, Any]:
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "flightline@example.com", "retry_limit": 0}
    return {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}


def test_a_webhook_slack_and_a_mailbox_are_told_with_reason_and_link(told, web, mailbox) -> None:
    (port, posted, _), (mail_port, mails) = web, mailbox
    told(
        {"hook": http(port, password="bearer"), "chat": http(port, password=SECRET), "mail": smtp(mail_port)},
        {"kind": "webhook", "connection": "hook"},
        {"kind": "slack", "connection": "chat"},
        {"kind": "email", "connection": "mail", "to": ["ada@example.com", "grace@example.com"]},
    )
    noted = "rejected (not_approved) <b> {{ ti }} &"
    assert sorted(Notice(Occasion.REJECTED).tell(context(note=noted))) == ["chat", "hook", "mail"]
    link = f"http://airflow.test/dags/{MODEL}.promote_model/runs/{quote(RUN, safe='')}/plugin/report"
    by_path = {path: (headers, content) for path, headers, content in posted}
    headers, content = by_path["/"]
    assert headers["Authorization"] == "Bearer bearer"
    assert content == {
        "occasion": "rejected",
        "model": MODEL,
        "title": f"{MODEL}: rejected",
        "text": f"version 3: {noted}",
        "link": link,
    }
    headers, content = by_path[f"/{SECRET}"]
    assert "Authorization" not in headers
    said = "version 3: rejected (not_approved) &lt;b&gt; {{ ti }} &amp;"
    assert content == {"text": f"*{MODEL}: rejected*\n{said}\n<{link}|Open in Airflow>"}
    (mail,) = mails
    parsed = message_from_bytes(mail, policy=policy.default)
    assert (parsed["Subject"], parsed["From"]) == (f"[Flightline] {MODEL}: rejected", "flightline@example.com")
    assert parsed["To"] == "ada@example.com, grace@example.com"
    body = next(part for part in parsed.walk() if part.get_content_type() == "text/html").get_content()
    assert "rejected (not_approved) &lt;b&gt; {{ ti }} &amp;" in body, "escaped, and no template"
    assert f'href="{link}"' in body


def test_nobody_is_told_what_they_did_not_ask_for_or_what_did_not_happen(told, web) -> None:
    port, posted, _ = web
    told({"hook": http(port)}, {"kind": "webhook", "connection": "hook", "occasions": ["promoted"]})
    assert Notice(Occasion.REJECTED).tell(context(note="rejected")) == []
    assert Notice(Occasion.PROMOTED).tell(context(note="nothing changed", return_value={"changed": False})) == []
    assert Notice(Occasion.PROMOTED).tell(context()) == []
    assert not posted
    moved = {"note": "version 3 is in production", "return_value": {"changed": True}}
    assert Notice(Occasion.PROMOTED).tell(context(**moved)) == ["hook"]
    assert [content["text"] for *_, content in posted] == ["version 3 is in production"]


def test_a_place_that_fails_is_named_in_the_log_without_its_secret_and_the_others_are_told(
    told, web, caplog: pytest.LogCaptureFixture
) -> None:
    port, posted, status = web
    status[0] = 500
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    told(
        {"broken": http(port, password=SECRET), "down": http(nobody, password=SECRET), "mail": smtp(nobody)},
        {"kind": "slack", "connection": "broken"},
        {"kind": "slack", "connection": "down"},
        {"kind": "slack", "connection": "not_there"},
        {"kind": "email", "connection": "mail", "to": ["ada@example.com"]},
    )
    with caplog.at_level(logging.WARNING):
        Notice(Occasion.PROMOTED).notify(context(note="x"))
    for expected in (
        "broken (slack) could not be told: it answers 500",
        "down (slack) could not be told: ConnectError",
        "not_there (slack) could not be told",
        "mail (email) could not be told: ConnectionRefusedError",
    ):
        assert expected in caplog.text
    assert "hush" not in caplog.text
    assert len(posted) == 1


def test_nobody_waits_for_a_place_that_hangs(
    told, web, silence: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port, posted, _ = web
    monkeypatch.setattr(notices, "PATIENCE_SECONDS", 1.0)
    told(
        {"hangs": smtp(silence), "works": http(port)},
        {"kind": "email", "connection": "hangs", "to": ["ada@example.com"]},
        {"kind": "webhook", "connection": "works"},
    )
    with caplog.at_level(logging.WARNING):
        assert Notice(Occasion.PROMOTED).tell(context(note="x")) == ["works"]
    assert "hangs (email) was not told in time" in caplog.text
    assert len(posted) == 1


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"host": "chat.test", "conn_type": "http"}, "http://chat.test"),
        ({"host": "chat.test", "conn_type": "slackwebhook"}, "https://chat.test"),
        ({"host": "chat.test", "conn_type": "http", "schema": "https", "port": 8443}, "https://chat.test:8443"),
        ({"host": "https://chat.test/services/", "password": "a/b"}, "https://chat.test/services/a/b"),
        ({"host": "https://chat.test:1/x", "port": 2}, "https://chat.test:1/x"),
    ],
)
def test_the_address_of_a_connection(given: dict[str, Any], url: str) -> None:
    from airflow.sdk import Connection

    assert notices.address(Connection(conn_id="x", **{"conn_type": "generic", **given}), secret_path=True) == url


def test_a_connection_without_a_host_is_told_so(told, caplog: pytest.LogCaptureFixture) -> None:
    told({"empty": {"conn_type": "http"}}, {"kind": "webhook", "connection": "empty"})
    with caplog.at_level(logging.WARNING):
        Notice(Occasion.PROMOTED).notify(context(note="x"))
    assert "empty (webhook) could not be told: the connection has no host" in caplog.text


def test_an_incident_that_no_place_has_taken_is_told_again(
    told, web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, posted, status = web
    told({"hook": http(port)}, {"kind": "webhook", "connection": "hook"})
    spec = catalogue.load(MODEL)
    settings, lake = Settings(lakehouse_uri=str(tmp_path)), Lakehouse(str(tmp_path))
    days = [Run(spec, settings, lake, f"run {number}", spec.first_partition.shift(number)) for number in range(4)]
    bad, good = (Outcome.REQUEST_RETRAINING, Reason.HARMFUL_DRIFT), (Outcome.NO_ACTION, Reason.PERFORMANCE_HOLDS)
    took = []
    for run, (outcome, reason), answer in zip(days, (bad, bad, bad, good), (500, 200, 200, 200), strict=True):
        status[0] = answer
        run.decide(Kind.RETRAINING_POLICY, outcome, [reason])
        monkeypatch.setattr(notices, "run_of", lambda context, run=run: run)
        took.append(IncidentNotice().tell(context(note=f"window {run.partition}")))
    assert took == [[], ["hook"], [], ["hook"]]
    assert [content["occasion"] for *_, content in posted] == ["incident", "incident", "recovered"]
