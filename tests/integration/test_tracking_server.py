"""Attacks on a real MLflow server, as the stack starts it: who has no password gets nowhere, who has one not far."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from sqlalchemy.engine import make_url

from include.core import catalogue
from include.core.errors import TamperedError
from include.core.settings import PROJECT_ROOT, Settings
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.registry import registration
from include.registry.versions import Version
from include.runtime import tracking_server
from include.training import manifest, tracking
from include.training.algorithms import Conditions, Sample
from include.training.algorithms.linear import LINEAR
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef

PASSWORD = "not-the-one-of-an-installation"
FORMER = "of-before-it-was-changed"
START_SECONDS = 180
PATIENCE = 120
"""Seconds, for one answer of a server on a busy machine."""
OPEN = re.compile(r"/health|(/ajax-api/3.0|/api/3.0)/mlflow/server-info|/static-files/.*")
"""What a browser needs before the log-in, and what a watchman asks: no data, nothing that writes."""
EXAMPLE = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})


@dataclass(frozen=True)
class Server:
    url: str
    artifacts: Path
    process: psutil.Process
    database_password: str

    def artifact(self, path: Path) -> str:
        return f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{path.relative_to(self.artifacts)}"


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = home / "auth.ini"
    database = make_url(postgres.create_database())
    parts = {"host": database.query["host"], "dbname": database.database, "user": database.username}
    parts["password"] = database.password
    home.joinpath(".mlflow").mkdir()
    log_in = home / ".mlflow" / "credentials"
    log_in.write_text(
        f"[mlflow]\nmlflow_tracking_username = {tracking_server.USER}\nmlflow_tracking_password = {PASSWORD}"
    )
    service = home / "service"
    service.write_text("\n".join(["[mlflow]", *(f"{name}={value}" for name, value in parts.items())]))
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2:///?service=mlflow",
        "PGSERVICEFILE": str(service),
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    former = f"write_settings(Path({str(settings)!r}), {variables['MLFLOW_BACKEND_STORE_URI']!r}, {FORMER!r})"
    admitted = f"from {tracking_server.__name__} import *; {former}; admit({FORMER!r})"
    subprocess.run([sys.executable, "-c", admitted], env=variables, cwd=PROJECT_ROOT, check=True)
    command = [sys.executable, "-m", tracking_server.__name__, "--host", "127.0.0.1", "--port", port]
    command += ["--artifacts-destination", (home / "artifacts").as_uri()]
    with (home / "log").open("wb") as log:
        process = psutil.Popen(command, env=variables, cwd=PROJECT_ROOT, stdout=log, stderr=log)
    started = Server(f"http://127.0.0.1:{port}", home / "artifacts", process, str(database.password))
    try:
        for _ in range(START_SECONDS * 2):
            assert process.poll() is None, (home / "log").read_text()
            try:
                if httpx.get(f"{started.url}/health").is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        assert settings.stat().st_mode & 0o777 == 0o600
        yield started
    finally:
        family = [process, *process.children(recursive=True)]
        for member in family:
            member.terminate()
        psutil.wait_procs(family, timeout=30)


@pytest.fixture
def run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", tracking_server.USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    spec = catalogue.load("california_housing")
    search = spec.training.search.model_copy(update={"space": {}})
    linear = spec.training.model_copy(update={"algorithm": "linear", "baseline": {}, "search": search})
    return Run(spec.model_copy(update={"training": linear}), Settings(), Lakehouse(str(tmp_path)), "run")


@pytest.fixture
def version(run: Run) -> Version:
    """Of a model that was fitted, logged and registered through the server."""
    spec = run.spec
    ref = TrainingSetRef(
        **{"training_set": "2025-01-01", "known_at": "2025-01-02T00:00:00+00:00", "table_version": 1, "rows": 2},
        **{"train_rows": 2, "validation_rows": 0, "test_rows": 0, "without_features": 0, "left_out": 0},
        **{
            "partitions": 1,
            "first_partition": "2025-01-01",
            "last_partition": "2025-01-01",
            "drifted": (),
            "concept_drifts": (),
        },
        **{"features": tuple(EXAMPLE), "categories": "{}", "split": "{}"},
        **{"feature_service": "v1", "data_version": "features@1 labels@1"},
    )
    fitted = LINEAR.fit(Sample(EXAMPLE, np.arange(2.0), np.ones(2)), {}, Conditions(spec.task, 1, 1))
    with tracking.started(spec, "baseline", ref, "run", "test") as started:
        model_id, files = tracking.log_model(
            spec, run.lake, ref, started, fitted, EXAMPLE, candidate="tuned", measured={}, card="<p>A model.</p>"
        )
    return registration.register(run, RunRef(started.info.run_id, "baseline", model_id, {}, files), ref)


def stored(server: Server, name: str) -> Path:
    """A file of the one model in the server's store."""
    return max(server.artifacts.rglob(name), key=lambda path: path.stat().st_mtime_ns)


def routes() -> list[tuple[str, str]]:
    """Method and path of all that the server has, whichever of its two frameworks answers."""
    from mlflow.server import app as flask
    from mlflow.server import auth  # noqa: F401  (its routes are constants there)
    from mlflow.server.auth import routes as of_users
    from mlflow.server.fastapi_app import app as fastapi

    found = {(method, rule.rule) for rule in flask.url_map.iter_rules() for method in rule.methods or ()}
    found |= {(method, route.path) for route in fastapi.routes for method in getattr(route, "methods", None) or ()}
    users = [path for path in vars(of_users).values() if isinstance(path, str) and path.startswith("/")]
    found |= {(method, path) for path in users for method in ("GET", "POST", "PATCH", "DELETE")}
    filled = {(method, re.sub(r"<[^>]+>|\{[^}]+\}", "1", path)) for method, path in found}
    return sorted((method, path) for method, path in filled if method != "OPTIONS" and not OPEN.fullmatch(path))


def test_no_process_of_the_server_shows_a_secret_among_its_variables_or_arguments(server: Server) -> None:
    """As it is given them in containers: in files. (`make up` gives the password by a variable.)"""
    family = [server.process, *server.process.children(recursive=True)]
    assert len(family) > 1
    for member in family:
        shown = f"{member.environ()} {member.cmdline()}"
        assert PASSWORD not in shown
        assert server.database_password not in shown


def test_every_page_and_every_call_asks_for_the_password(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        answered = {(method, path): client.request(method, path).status_code for method, path in routes()}
        guesses = [
            (tracking_server.USER, FORMER),
            (tracking_server.USER, "guessed"),
            ("admin", "password1234"),
            (tracking_server.USER, ""),
        ]
        guessed = [client.get("/", auth=guess).status_code for guess in guesses]
    assert {path: status for path, status in answered.items() if status not in (401, 405)} == {}
    assert sum(status == 401 for status in answered.values()) > 350
    assert guessed == [401] * len(guesses)


@pytest.mark.parametrize(
    "detour", ["/static-files/../", "/health/../", "//", "/health/..%2f", "/static/%2e%2e/", "/./"]
)
def test_no_detour_leads_past_the_log_in(server: Server, version: Version, detour: str) -> None:
    file = stored(server, "MLmodel")
    before, path = file.read_bytes(), server.artifact(file).removeprefix(f"{server.url}/")
    host, port = server.url.removeprefix("http://").split(":")
    for method in ("PUT", "GET", "DELETE"):
        asked = [f"{method} {detour}{path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", "Content-Length: 4"]
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:  # no client tidies the path
            connection.sendall("\r\n".join([*asked, "", "evil"]).encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.split()[1] in (b"401", b"403", b"404", b"405"), answer[:200]
        assert before[:20] not in answer
    assert file.read_bytes() == before


def test_without_a_password_no_file_of_a_version_is_written_or_read(server: Server, version: Version) -> None:
    file = stored(server, "MLmodel")
    before = file.read_bytes()
    for answer in (
        httpx.put(server.artifact(file), content=b"loader_module: evil", timeout=PATIENCE),
        httpx.put(server.artifact(file.parent / "code.py"), content=b"raise SystemExit", timeout=PATIENCE),
        httpx.delete(server.artifact(file), timeout=PATIENCE),
        httpx.get(server.artifact(file), timeout=PATIENCE),
    ):
        assert answer.status_code == 401
    assert file.read_bytes() == before
    assert not (file.parent / "code.py").exists()


def test_with_a_password_a_version_can_be_changed_but_not_loaded(server: Server, run: Run, version: Version) -> None:
    predicted = registration.predict(run.spec, run.lake, version, EXAMPLE)
    assert predicted == pytest.approx([0.0, 1.0])
    file, insider = stored(server, "MLmodel"), (tracking_server.USER, PASSWORD)
    before = file.read_bytes()
    evil = before.replace(b"mlflow.sklearn", b"antigravity___")
    assert httpx.put(server.artifact(file), content=evil, auth=insider, timeout=PATIENCE).is_success
    assert file.read_bytes() == evil
    with pytest.raises(TamperedError, match=r"MLmodel of version [0-9]+ is changed"):
        registration.predict(run.spec, run.lake, version, EXAMPLE)
    assert "antigravity" not in sys.modules
    assert httpx.put(server.artifact(file), content=before, auth=insider, timeout=PATIENCE).is_success
    added = file.parent / "code" / "evil.py"
    assert httpx.put(server.artifact(added), content=b"raise SystemExit", auth=insider, timeout=PATIENCE).is_success
    with pytest.raises(TamperedError, match=r"code of version [0-9]+ is additional"):
        registration.predict(run.spec, run.lake, version, EXAMPLE)
    added.unlink()
    added.parent.rmdir()
    assert manifest.of(file.parent) == registration.of(run.spec, run.lake, version).files
    assert registration.predict(run.spec, run.lake, version, EXAMPLE) == pytest.approx(predicted)
    assert mlflow.get_experiment_by_name(f"{run.spec.name}/training") is not None
