"""The local stack: PostgreSQL, MLflow and Airflow on one machine, all state below one folder."""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from include.core.errors import StackError
from include.core.settings import PROJECT_ROOT
from include.runtime import processes
from include.runtime.environment import AIRFLOW, Environment
from include.runtime.files import read_json, write_private
from include.runtime.postgres import Postgres
from include.runtime.processes import Process

Say = Callable[[str], None]
START_SECONDS, PAGES_SECONDS = 180, 60
MIN_FREE_BYTES = 2_000_000_000
DEFAULT_PORTS = {"airflow": 8080, "mlflow": 5000, "feast": 8888}


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
        self._airflow = [Process(component, self.home) for component in AIRFLOW]

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
        environment = self._environment()
        self._write_environment_file()
        for folder in ("lineage", "mlflow"):  # whose users make none
            (self.home / folder).mkdir(exist_ok=True, mode=0o700)
        if self._mlflow.find() is None:
            say("Starting MLflow")
            command = self._mlflow_command(settings["ports"]["mlflow"])
            self._mlflow.start(command, environment.of("mlflow"), PROJECT_ROOT)
        if self._feast.find() is None:
            say("Starting Feast's pages")
            command = self._feast_command(settings["ports"]["feast"])
            self._feast.start(command, environment.of("feast-ui"), PROJECT_ROOT)
        if any(process.find() is None for process in self._airflow):
            say("Starting Airflow")
            self._run([self._bin("airflow"), "db", "migrate"], environment.of("db-migrate"), "db-migrate")
        for process in self._airflow:
            if process.find() is None:
                command = self._airflow_command(process.name, settings["ports"]["airflow"])
                process.start(command, environment.of(process.name), PROJECT_ROOT)
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
        """What a person's shell has after ``. var/env``."""
        return self._environment().of("shell")

    # -- parts --------------------------------------------------------------------------------

    def _settings(self) -> dict:
        """Generated once per folder: secrets, and the ports of the last start."""
        if found := read_json(self.home / "stack.json"):
            return found
        from cryptography.fernet import Fernet

        return {
            "fernet_key": Fernet.generate_key().decode(),
            "secret_key": secrets.token_hex(32),
            "jwt_secret": secrets.token_hex(64),
        }

    def _write_settings(self, settings: dict) -> None:
        write_private(self.home / "stack.json", json.dumps(settings, indent=2))
        if not self.password_file.exists():
            write_private(self.password_file, json.dumps({"admin": secrets.token_urlsafe(12)}))

    def _environment(self) -> Environment:
        settings = self._settings()
        return Environment(self.home, settings["ports"], settings, self.postgres.url)

    def _write_environment_file(self) -> None:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self._environment().shell().items()]
        write_private(self.home / "env", "\n".join(lines) + "\n")

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
        self.home.chmod(self.home.stat().st_mode & 0o710 | 0o700)  # nobody else's; a group's only where Postgres says
        free = shutil.disk_usage(self.home).free
        if free < MIN_FREE_BYTES:
            raise StackError(
                f"{free / 1e9:.1f} GB free, {MIN_FREE_BYTES / 1e9:.0f} GB needed",
                where=str(self.home),
                fix="Free some disk space",
            )

    def _mlflow_command(self, port: int) -> list[str]:
        artifacts = self.home / "mlflow"
        return [
            *(self._bin("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--artifacts-destination", artifacts.as_uri()),
        ]

    def _airflow_command(self, component: str, port: int) -> list[str]:
        options = {
            "api-server": ["--host", "127.0.0.1", "--port", str(port)],
            # Airflow would serve the logs on every address of the machine; the API server reads the files themselves.
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }
        return [self._bin("airflow"), component, *options.get(component, [])]

    def _feast_command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "include.runtime.feast_ui", str(port)]

    def _run(self, command: list[str], environment: dict[str, str], name: str) -> None:
        log = self.home / "log" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log.open("wb") as output:
            done = subprocess.run(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, umask=0o077, check=False
            )
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
        while _get(f"{self.feast_url}/health") is None:
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
