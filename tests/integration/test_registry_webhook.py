"""A real MLflow tells a real endpoint: each request once, whatever is sent beside it, and after each start anew."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient
from mlflow.webhooks.delivery import _generate_hmac_signature
from sqlalchemy import NullPool, create_engine, text

from include.core.settings import PROJECT_ROOT
from include.registry import webhook
from include.registry.open_requests import REQUEST
from include.runtime import processes, tracking_server

MODEL, KEY, PASSWORD = "california_housing", "of-an-installation", "not-the-one-of-an-installation"
START_SECONDS, PATIENCE = 180, 120
ASSET = """
from airflow.models.asset import AssetModel
from airflow.utils.session import create_session
with create_session() as session:
    session.add(AssetModel(name={name!r}, uri="flightline://{name}"))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Any, what: str, seconds: float = PATIENCE) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if found := condition():
                return found
        time.sleep(0.2)
    pytest.fail(f"waited {seconds} s for {what}")


@dataclass(frozen=True)
class Airflow:
    """The endpoint, served as Airflow's API server does, on a database of Airflow's."""

    url: str
    database: str

    def events(self) -> list[dict[str, str]]:
        query = text("SELECT extra FROM asset_event ORDER BY id")
        with create_engine(self.database, poolclass=NullPool).connect() as connection:
            return list(connection.execute(query).scalars())


@dataclass
class Registry:
    """MLflow's server, as the stack starts it."""

    home: Path
    database: str
    port: int = field(default_factory=free_port)
    encryption_key: str = field(default_factory=lambda: Fernet.generate_key().decode())

    @contextmanager
    def running(self, webhook_url: str) -> Iterator[MlflowClient]:
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "MLFLOW_BACKEND_STORE_URI": self.database,
            "MLFLOW_AUTH_CONFIG_PATH": str(self.home / "auth.ini"),
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "FLIGHTLINE_WEBHOOK_KEY": KEY,
            "FLIGHTLINE_WEBHOOK_ENCRYPTION_KEY": self.encryption_key,
            "FLIGHTLINE_WEBHOOK_URL": webhook_url,
        }
        command = [sys.executable, "-m", tracking_server.__name__, "--host", "127.0.0.1", "--port", str(self.port)]
        url = f"http://127.0.0.1:{self.port}"
        with serving(command, variables, self.home / "log", f"{url}/health"):
            yield MlflowClient(url)


@contextmanager
def serving(command: list[str], variables: dict[str, str], log: Path, health: str) -> Iterator[None]:
    with log.open("ab") as output:
        process = psutil.Popen(command, env=variables, cwd=PROJECT_ROOT, stdout=output, stderr=output)
    try:
        wait_for(lambda: httpx.get(health, timeout=PATIENCE).status_code < 500, f"{health}: {log}", START_SECONDS)
        yield
    finally:
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(processes.STOP_SECONDS)


@pytest.fixture(scope="module")
def airflow(postgres, tmp_path_factory) -> Iterator[Airflow]:
    home, port, database = tmp_path_factory.mktemp("airflow"), free_port(), postgres.create_database()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "FLIGHTLINE_WEBHOOK_KEY": KEY,
    }
    python = {"cwd": PROJECT_ROOT, "env": variables, "check": True}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, **python)
    asset = ASSET.format(name=f"{MODEL}.transition_requested")
    subprocess.run([sys.executable, "-c", asset], capture_output=True, **python)
    command = [sys.executable, "-m", "uvicorn", "registry_webhook:app", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/mlflow"
    with serving(command, variables, home / "log", url):
        yield Airflow(url, database)


@pytest.fixture(scope="module")
def registry(postgres, tmp_path_factory) -> Registry:
    return Registry(tmp_path_factory.mktemp("mlflow"), postgres.create_database())


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", tracking_server.USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def signed(payload: str, delivery_id: str, seconds: int = 0) -> dict[str, str]:
    moment = str(int(time.time()) + seconds)
    return {
        "content-type": "application/json",
        webhook.DELIVERY_ID: delivery_id,
        webhook.TIMESTAMP: moment,
        webhook.SIGNATURE: _generate_hmac_signature(KEY, delivery_id, moment, payload),
    }


def said(version: str = "1") -> str:
    data = {"name": MODEL, "version": version, "key": REQUEST, "value": "Production"}
    return json.dumps({"entity": "model_version_tag", "action": "set", "data": data})


def test_mlflow_tells_of_a_request_and_of_nothing_else(airflow: Airflow, registry: Registry, logged_in: None) -> None:
    with registry.running(airflow.url) as client:
        client.create_registered_model(MODEL)
        client.create_model_version(MODEL, "s3://x/y")
        before = len(airflow.events())
        client.set_model_version_tag(MODEL, "1", "stage", "None")
        client.set_model_version_tag(MODEL, "1", REQUEST, "Production")
        told = wait_for(lambda: airflow.events()[before:], "MLflow to tell")
        assert [(event["from"], event["version"]) for event in told] == [("mlflow", "1")]


def test_it_is_registered_once_after_each_start_with_the_address_of_then(
    airflow: Airflow, registry: Registry, logged_in: None
) -> None:
    """Also where the key that its secrets were kept by is lost; what somebody else registered stays."""
    events = ["model_version.created"]
    with registry.running("http://127.0.0.1:1/former") as client:
        (former,) = client.list_webhooks()
        assert former.url == "http://127.0.0.1:1/former"
        client.create_webhook("of_somebody_else", "https://example.org/", events)
    with registry.running(airflow.url) as client:
        assert sorted((found.name, found.url) for found in client.list_webhooks()) == [
            ("flightline", airflow.url),
            ("of_somebody_else", "https://example.org/"),
        ]
    registry.encryption_key = Fernet.generate_key().decode()
    with registry.running(airflow.url) as client:
        (ours,) = (found for found in client.list_webhooks() if found.name == tracking_server.WEBHOOK)
        assert client.test_webhook(ours.webhook_id).response_status == 200


def test_a_delivery_is_taken_once_also_if_it_comes_at_once(airflow: Airflow) -> None:
    before = len(airflow.events())
    payload = said()
    own = signed(payload, "sent-many-times-at-once")

    def send(_: int) -> int:
        return httpx.post(airflow.url, content=payload, headers=own, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [202, *[409] * 7]
    assert len(airflow.events()) == before + 1
    assert httpx.post(airflow.url, content=payload, headers=signed(payload, "another-delivery")).status_code == 202


def test_what_is_forged_late_or_too_long_does_nothing(airflow: Airflow) -> None:
    before, payload = len(airflow.events()), said()
    long = json.dumps({"more": "x" * 10 * webhook.MOST_BYTES})

    def in_parts() -> Iterator[bytes]:
        for place in range(0, len(long), 4096):
            yield long[place : place + 4096].encode()

    def send(content: Any, headers: dict[str, str]) -> int | None:
        try:
            return httpx.post(airflow.url, content=content, headers=headers, timeout=PATIENCE).status_code
        except httpx.TransportError:
            return 413  # it is answered, and closed, before all was sent

    assert send(payload, signed(payload, "forged-one") | {webhook.SIGNATURE: "v1,Zm9yZ2Vk"}) == 401
    assert send(said("2"), signed(payload, "of-another-body")) == 401
    assert send(payload, signed(payload, "a-late-one", -301)) == 401
    assert send(payload, signed(payload, "of-the-future", 310)) == 401
    assert send(long, signed(long, "a-long-one")) == 413
    assert send(in_parts(), signed(long, "a-long-one-in-parts")) == 413
    assert len(airflow.events()) == before
