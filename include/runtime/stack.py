"""The local stack: PostgreSQL, MLflow and Airflow on one machine, all state below one folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from include.core.errors import StackError
from include.core.settings import PROJECT_ROOT
from include.runtime import processes
from include.runtime.postgres import Postgres
from include.runtime.processes import Process

Say = Callable[[str], None]
START_SECONDS, PAGES_SECONDS = 180, 60
MIN_FREE_BYTES = 2_000_000_000
DEFAULT_PORTS = {"airflow": 8080, "mlflow": 5000, "feast": 8888}
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")


@dataclass(frozen=True)
class Service:
    """What `make status` shows of one process."""

    name: str
    pid: int | None
    address: str


class Stack:
    """Everything that runs on this machine for one project folder.

    Args:
        home: the folder that holds all state (``var``).
        ports: where Airflow, MLflow and Feast's pages listen; a port named here must be free, others are chosen.
    """

    def __init__(self, home: Path, ports: dict[str, int] | None = None) -> None:
        self.home = home.resolve()
        self.postgres = Postgres(self.home)
        self._wanted_ports = ports or {}
        self._mlflow = Process("mlflow", self.home)
        self._feast = Process("feast-ui", self.home)
        self._airflow = [Process(component, self.home) for component in COMPONENTS]

    # -- life ---------------------------------------------------------------------------------

    def up(self, say: Say = print) -> None:
        """Start what is not running, and wait until all of it is healthy. Safe to repeat."""
        self._check_disk()
        settings = self._settings()
        running = [service.name for service in self.status() if service.pid]
        if running:
            say(f"Already running: {', '.join(running)}")
        settings["ports"] = self._choose_ports(settings.get("ports"), say)
        self.postgres.start()
        self._write_settings(settings)
        environment = self.environment()
        self._write_environment_file(environment)
        if self._mlflow.find() is None:
            say("Starting MLflow")
            # Not on the command line, which every user of the machine can read.
            store = {"MLFLOW_BACKEND_STORE_URI": self.postgres.url("mlflow")}
            self._mlflow.start(self._mlflow_command(settings["ports"]["mlflow"]), environment | store, PROJECT_ROOT)
        if self._feast.find() is None:
            say("Starting Feast's pages")
            self._feast.start(self._feast_command(settings["ports"]["feast"]), environment, PROJECT_ROOT)
        if any(process.find() is None for process in self._airflow):
            say("Starting Airflow")
            self._run([self._bin("airflow"), "db", "migrate"], environment, "db-migrate")
        for process in self._airflow:
            if process.find() is None:
                command = [self._bin("airflow"), process.name]
                if process.name == "api-server":
                    command += ["--host", "127.0.0.1", "--port", str(settings["ports"]["airflow"])]
                process.start(command, environment, PROJECT_ROOT)
        self._wait_until_healthy()
        self._wait_for_feast_pages(say)

    def down(self, say: Say = print) -> None:
        """End every process that this stack started, by process id; the database last."""
        for name in processes.stop([*self._airflow, self._feast, self._mlflow]):
            say(f"Stopped {name}")
        if self.postgres.stop():
            say("Stopped postgres")

    def status(self) -> list[Service]:
        """One entry per process, running or not."""
        ports = self._settings().get("ports", {})
        addresses = {
            "mlflow": f"http://127.0.0.1:{ports.get('mlflow', '?')}",
            "feast-ui": f"http://127.0.0.1:{ports.get('feast', '?')}",
            "api-server": f"http://127.0.0.1:{ports.get('airflow', '?')}",
        }
        services = [Service("postgres", self.postgres.pid, "Unix socket")]
        for process in [self._mlflow, self._feast, *self._airflow]:
            found = process.find()
            services.append(Service(process.name, found.pid if found else None, addresses.get(process.name, "")))
        return services

    # -- places -------------------------------------------------------------------------------

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self._settings()['ports']['airflow']}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self._settings()['ports']['mlflow']}"

    @property
    def feast_url(self) -> str:
        return f"http://127.0.0.1:{self._settings()['ports']['feast']}"

    @property
    def password_file(self) -> Path:
        return self.home / "airflow" / "passwords.json"

    def password(self) -> str:
        return str(json.loads(self.password_file.read_text())["admin"])

    def environment(self) -> dict[str, str]:
        """The environment of every process of the stack, and of a person's shell (``. var/env``)."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PYTHONDONTWRITE"))}
        return inherited | dict(self._variables())

    def _variables(self) -> Iterator[tuple[str, str]]:
        settings = self._settings()
        home, url = self.home, self.postgres.url
        yield "PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        yield "PYTHONPATH", str(PROJECT_ROOT)
        yield "FLIGHTLINE_ENV", os.environ.get("FLIGHTLINE_ENV", "dev")
        yield "FLIGHTLINE_LANDING_URI", str(home / "landing")
        yield "FLIGHTLINE_LAKEHOUSE_URI", str(home / "lakehouse")
        yield "FLIGHTLINE_DOCS_FOLDER", str(home / "docs")
        yield "FLIGHTLINE_FEAST_REGISTRY", url("feast")
        yield "FLIGHTLINE_FEAST_ONLINE_STORE", url("feast")
        yield "FLIGHTLINE_MLFLOW_UI_URL", f"http://127.0.0.1:{settings['ports']['mlflow']}"
        yield "FLIGHTLINE_FEAST_UI_URL", f"http://127.0.0.1:{settings['ports'].get('feast', '')}"
        yield "FEAST_USAGE", "False"
        yield "DO_NOT_TRACK", "true"
        yield (
            "OPENBLAS_NUM_THREADS",
            "1",
        )  # its threads would be forked with the scheduler, and tasks are the parallelism
        yield "MLFLOW_DISABLE_TELEMETRY", "true"
        yield "MLFLOW_TRACKING_URI", f"http://127.0.0.1:{settings['ports']['mlflow']}"
        yield "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"
        yield "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"
        yield "AIRFLOW_HOME", str(home / "airflow")
        yield "AIRFLOW__CORE__DAGS_FOLDER", str(PROJECT_ROOT / "dags")
        yield "AIRFLOW__CORE__PLUGINS_FOLDER", str(PROJECT_ROOT / "plugins")
        yield "AIRFLOW__CORE__EXECUTOR", "LocalExecutor"
        yield "AIRFLOW__CORE__PARALLELISM", "4"
        yield "AIRFLOW__CORE__LOAD_EXAMPLES", "False"
        yield "AIRFLOW__CORE__FERNET_KEY", settings["fernet_key"]
        yield "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(self.password_file)
        yield "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin"
        yield "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{self.airflow_url}/execution/"
        yield "AIRFLOW__API__BASE_URL", self.airflow_url
        yield "AIRFLOW__API__SECRET_KEY", settings["secret_key"]
        yield "AIRFLOW__API__WORKERS", "1"
        yield "AIRFLOW__API_AUTH__JWT_SECRET", settings["jwt_secret"]
        yield "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url("airflow")
        # An edited DAG file is read at once, and is to be seen at once; a new one is found within seconds.
        yield "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0"
        yield "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL", "1"
        yield "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL", "5"
        # What did not change is read again for the sake of the models' folders.
        yield "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "60"
        yield "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "0.25"
        yield "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK", "False"
        yield "AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(home / "log" / "tasks")
        (home / "lineage").mkdir(parents=True, exist_ok=True)
        events = {"type": "file", "log_file_path": str(home / "lineage" / "events.jsonl"), "append": True}
        yield "AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(events)
        yield "AIRFLOW__OPENLINEAGE__NAMESPACE", "flightline"
        # Not in a fork of the task: what reads Delta tables there stops for good ("Forked process detected").
        yield "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "True"
        yield "AIRFLOW__OPENLINEAGE__EXTRACTORS", "flightline.lineage.LakehouseExtractor"
        yield "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False"

    # -- parts --------------------------------------------------------------------------------

    def _settings(self) -> dict:
        """Generated once per folder: secrets, and the ports of the last start."""
        path = self.home / "stack.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        from cryptography.fernet import Fernet

        return {
            "fernet_key": Fernet.generate_key().decode(),
            "secret_key": secrets.token_hex(32),
            "jwt_secret": secrets.token_hex(64),
        }

    def _write_settings(self, settings: dict) -> None:
        _write_private(self.home / "stack.json", json.dumps(settings, indent=2))
        if not self.password_file.exists():
            _write_private(self.password_file, json.dumps({"admin": secrets.token_urlsafe(12)}))

    def _write_environment_file(self, environment: dict[str, str]) -> None:
        names = [name for name, _ in self._variables()]
        lines = [f"export {name}='{environment[name]}'" for name in names]
        _write_private(self.home / "env", "\n".join(lines) + "\n")

    def _choose_ports(self, last: dict[str, int] | None, say: Say) -> dict[str, int]:
        ours = {"airflow": self._airflow[0].find(), "mlflow": self._mlflow.find(), "feast": self._feast.find()}
        ports = {}
        for name, default in DEFAULT_PORTS.items():
            if last and ours[name]:
                ports[name] = last[name]
                continue
            wanted = self._wanted_ports.get(name)
            if wanted is not None and not _is_free(wanted):
                raise StackError(
                    f"port {wanted} for {name} is in use",
                    fix=f"Choose another: {name.upper()}_PORT=<port> make up",
                )
            ports[name] = wanted or (default if _is_free(default) else _free_port())
            if wanted is None and ports[name] != default:
                say(f"Port {default} is in use: {name} takes {ports[name]}")
        return ports

    def _check_disk(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.home).free
        if free < MIN_FREE_BYTES:
            raise StackError(
                f"{free / 1e9:.1f} GB free, {MIN_FREE_BYTES / 1e9:.0f} GB needed",
                where=str(self.home),
                fix="Free some disk space",
            )

    def _mlflow_command(self, port: int) -> list[str]:
        artifacts = self.home / "mlflow"
        artifacts.mkdir(exist_ok=True)
        return [
            *(self._bin("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--artifacts-destination", artifacts.as_uri()),
        ]

    def _feast_command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "include.runtime.feast_ui", str(port)]

    def _run(self, command: list[str], environment: dict[str, str], name: str) -> None:
        log = self.home / "log" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise StackError(f"`{' '.join(command[-2:])}` failed", where=str(log), fix="Its last lines say why")

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        waiting = {"mlflow": self._mlflow_is_healthy, "airflow": self._airflow_is_healthy}
        while waiting:
            for process in [self._mlflow, *self._airflow]:
                if process.find() is None:
                    raise StackError(f"{process.name} ended at start; its log ends with:\n{process.tail()}")
            waiting = {name: healthy for name, healthy in waiting.items() if not healthy()}
            if waiting and time.monotonic() > deadline:
                raise StackError(
                    f"{', '.join(waiting)} not healthy after {START_SECONDS} s", where=str(self.home / "log")
                )
            time.sleep(0.3)

    def _wait_for_feast_pages(self, say: Say) -> None:
        """They are for looking things up: nothing else waits for them, or fails with them."""
        deadline = time.monotonic() + PAGES_SECONDS
        while _get(self.feast_url) is None:
            if self._feast.find() is None or time.monotonic() > deadline:
                say(f"Feast's pages do not answer; {self._feast.log} ends with:\n{self._feast.tail(3)}")
                return
            time.sleep(0.3)

    def _mlflow_is_healthy(self) -> bool:
        return _get(f"{self.mlflow_url}/health") is not None

    def _airflow_is_healthy(self) -> bool:
        body = _get(f"{self.airflow_url}/api/v2/monitor/health")
        if body is None:
            return False
        return all(part["status"] == "healthy" for part in json.loads(body).values())

    def _bin(self, name: str) -> str:
        return str(Path(sys.executable).parent / name)


def _get(url: str) -> bytes | None:
    try:
        with urlopen(url, timeout=3) as response:  # noqa: S310  (an address of our own)
            return bytes(response.read())
    except (URLError, OSError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
