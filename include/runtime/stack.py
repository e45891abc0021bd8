"""The local stack: PostgreSQL, MLflow and Airflow on one machine, all state below one folder."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from pydantic import TypeAdapter

from include.core.errors import StackError
from include.core.listeners import require_ours
from include.runtime import processes
from include.runtime.environment import AIRFLOW, SECRETS, Environment, of_work, users_of
from include.runtime.files import read_json, write_private
from include.runtime.ports import free_port, is_free
from include.runtime.postgres import Postgres
from include.runtime.supervisor import Component, Folder, Health, launch

Say = Callable[[str], None]
START_SECONDS, PAGES_SECONDS = 180, 60
MIN_FREE_BYTES = 2_000_000_000
TRIES = 3
"""A component that ends as often while it is started will not come up by itself."""
DEFAULT_PORTS = {"airflow": 8080, "mlflow": 5000, "feast": 8888}
SETTINGS = TypeAdapter(dict[str, str | dict[str, int | str]])
COMPONENTS = ("postgres", "mlflow", "feast-ui", *AIRFLOW)


@dataclass(frozen=True)
class Service:
    """What `make status` shows of one component."""

    name: str
    pid: int | None
    address: str
    since: float
    restarts: int
    reason: str
    left: list[int]
    """Processes that it left when it was killed."""


class Stack:
    """Everything that runs on this machine for one project folder.

    Args:
        home: the folder that holds all state (``var``).
        ports: where Airflow, MLflow and Feast's pages listen; a port named here must be free, others are chosen.
    """

    def __init__(self, home: Path, ports: dict[str, int] | None = None) -> None:
        self.home = home.resolve()
        self.postgres = Postgres(self.home)
        self._folder = Folder(self.home)
        self._wanted_ports = ports or {}

    # -- life ---------------------------------------------------------------------------------

    def up(self, say: Say = print) -> None:
        """Start what is not running, and wait until all of it is healthy. Safe to repeat, and beside another one."""
        self._check_disk()
        with self._alone(say):
            running = [service.name for service in self.status() if service.pid]
            supervised = self._folder.is_supervised()
            if supervised and self.postgres.is_locked_out():
                say("The passwords of PostgreSQL were lost: all starts anew, with new ones")
                self._end_all(say)
                supervised = False
            elif supervised:
                say(f"Already running: {', '.join(running)}")
            else:
                self._end_what_is_left(say)
            settings = self._settings(say)
            settings["ports"] = self._choose_ports(settings.get("ports", {}), say)
            settings["caller"] = _kept(settings.get("caller", {}), say)
            self._write_settings(settings)
            if not supervised:
                self._start_supervisor(say)
            write_private(self.home / "env", self._shell_file())
            for folder in ("lineage", "mlflow"):  # whose users make none
                (self.home / folder).mkdir(exist_ok=True, mode=0o700)
            self._want(self._components(settings["ports"]), say)
            self._wait_until_healthy(say)

    def down(self, say: Say = print) -> None:
        """End every process that this stack started, and all that came from them; the database last."""
        with self._alone(say):
            running = [service.name for service in self.status() if service.pid]
            self._end_all(say)
            self._folder.want([])
            for name in running:
                say(f"Stopped {name}")

    def status(self) -> list[Service]:
        """One entry per component, running or not."""
        ports = self._settings().get("ports", {})
        addresses = {
            "postgres": "Unix socket",
            "mlflow": f"http://127.0.0.1:{ports.get('mlflow', '?')}",
            "feast-ui": f"http://127.0.0.1:{ports.get('feast', '?')}",
            "api-server": f"http://127.0.0.1:{ports.get('airflow', '?')}",
        }
        health = self._folder.health()
        services = []
        for name in COMPONENTS:
            found = health.get(name, Health())
            members = [] if found.session is None else [process.pid for process in found.session.members()]
            left = [] if found.is_running else members
            pid = found.pid if found.is_running else None
            services.append(
                Service(name, pid, addresses.get(name, ""), found.since, found.restarts, found.reason, left)
            )
        return services

    def caller(self) -> dict[str, str]:
        """What whoever started it said in variables: the file that is played, the environment."""
        return dict(self._settings().get("caller", {}))

    def is_supervised(self) -> bool:
        """Whether what dies is started again."""
        return self._folder.is_supervised()

    def supervisor(self) -> psutil.Process | None:
        session = self._folder.supervisor()
        return session.leader() if session else None

    def is_healthy(self) -> bool:
        """Whether MLflow and all of Airflow say so themselves."""
        return self._mlflow_is_healthy() and self._airflow_is_healthy()

    # -- places -------------------------------------------------------------------------------

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self._ports()['airflow']}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self._ports()['mlflow']}"

    @property
    def feast_url(self) -> str:
        return f"http://127.0.0.1:{self._ports()['feast']}"

    @property
    def password_file(self) -> Path:
        return self.home / "airflow" / "passwords.json"

    def password(self, user: str = "admin") -> str:
        return str(json.loads(self.password_file.read_text())[user])

    def environment(self) -> dict[str, str]:
        """What a person's shell has after ``. var/env``."""
        return self._environment().of("shell")

    def tracking(self) -> dict[str, str]:
        """What a client of MLflow needs in its environment: the address, and the log-in."""
        return {name: value for name, value in self.environment().items() if name.startswith("MLFLOW_TRACKING_")}

    # -- parts --------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, say: Say) -> Iterator[None]:
        """Wait for another `make up` or `make down` of this folder to end."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.home / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another `make up` or `make down` is at work here: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _start_supervisor(self, say: Say) -> None:
        """Start PostgreSQL under a new supervisor, and bring Airflow's database up to date."""
        say("Starting PostgreSQL")
        self.postgres.prepare()
        self._folder.want([self.postgres.component()])
        command = [sys.executable, "-m", "include.runtime.supervisor", str(self.home)]
        launch(Component("supervisor", command, self._environment().supervisor()), self.home / "log")
        self.postgres.wait_until_ready()
        self.postgres.create_databases()
        say("Starting MLflow, Airflow and Feast's pages")
        self._run([self._bin("airflow"), "db", "migrate"], self._environment().of("db-migrate"), "db-migrate")

    def _want(self, components: list[Component], say: Say) -> None:
        """Have the supervisor run these, and wait until none of another kind does: it would be healthy for a moment."""
        before: dict[str, Component] = {}
        with suppress(ValueError, TypeError):  # cut off: it is written anew
            before = {component.name: component for component in self._folder.wanted()}
        other = [item.name for item in components if before.get(item.name, item) != item]
        if other:
            say(f"With other settings, and started anew: {', '.join(other)}")
        self._folder.want(components)
        deadline = time.monotonic() + START_SECONDS
        while not self._folder.is_taken_over():
            if time.monotonic() > deadline or not self._folder.is_supervised():
                raise StackError("the supervisor does nothing", where=str(self.home / "log" / "supervisor.log"))
            time.sleep(0.1)

    def _end_all(self, say: Say) -> None:
        if supervisor := self._folder.supervisor():
            processes.end([supervisor], seconds=4 * processes.STOP_SECONDS)
        self._end_what_is_left(say)

    def _end_what_is_left(self, say: Say) -> None:
        """End what runs without a supervisor: it was killed, or what it supervised had left something."""
        if self._folder.is_supervised():
            raise StackError("the supervisor does not end", where=str(self.home / "log" / "supervisor.log"))
        sessions = [item.session for name, item in self._folder.health().items() if name != "postgres"]
        if left := processes.end([session for session in sessions if session]):
            say(f"Ended {len(left)} processes that nobody supervised: {', '.join(map(str, left))}")
        self.postgres.stop()

    def _environment(self) -> Environment:
        settings = self._settings()
        return Environment(self.home, self._ports(), settings, self.postgres.url, settings.get("caller", {}))

    def _ports(self) -> dict[str, int]:
        ports: dict[str, int] | None = self._settings().get("ports")
        if ports is None:
            raise StackError(
                "nothing was started, or its addresses are lost", where=str(self.home), fix="Run `make up`"
            )
        return ports

    def _shell_file(self) -> str:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self._environment().shell().items()]
        return "\n".join(lines) + "\n"

    def _components(self, ports: dict[str, int]) -> list[Component]:
        environment = self._environment()
        commands = {
            "mlflow": self._mlflow_command(ports["mlflow"]),
            "feast-ui": [sys.executable, "-m", "include.runtime.feast_ui", str(ports["feast"])],
            **{component: self._airflow_command(component, ports["airflow"]) for component in AIRFLOW},
        }
        database = self.postgres.component()
        held = {"api-server": ports["airflow"], "feast-ui": ports["feast"]}
        others = [
            Component(name, command, environment.of(name), needs=[database.name], port=held.get(name))
            for name, command in commands.items()
        ]
        return [database, *others]

    def _settings(self, say: Say = print) -> dict[str, Any]:
        """Generated once per folder: secrets; and of the last start: ports, and what the caller named."""
        found = read_json(self.home / "stack.json", SETTINGS, say)
        return {name: made() for name, made in SECRETS.items() if name not in found} | found

    def _write_settings(self, settings: dict) -> None:
        users = users_of(settings.get("caller", {}))
        write_private(self.home / "stack.json", json.dumps(settings, indent=2))
        known = json.loads(self.password_file.read_text()) if self.password_file.exists() else {}
        # Airflow would make one for whoever has none, and print it.
        if missing := {user: secrets.token_urlsafe(12) for user in users if user not in known}:
            write_private(self.password_file, json.dumps(known | missing))

    def _choose_ports(self, last: Mapping[str, int], say: Say) -> dict[str, int]:
        """Named ones, else those of the last start: an address stays what it was while nobody else has it."""
        owners = {"airflow": "api-server", "mlflow": "mlflow", "feast": "feast-ui"}
        running, held = {service.name for service in self.status() if service.pid}, self._folder.held()
        ports = {}
        for name, default in DEFAULT_PORTS.items():
            wanted = self._wanted_ports.get(name)
            kept = wanted or last.get(name, default)
            ours = (owners[name] in running and kept == last.get(name)) or kept in held
            if ours or is_free(kept):
                ports[name] = kept
                continue
            if wanted:
                raise StackError(
                    f"port {wanted} for {name} is in use",
                    fix=f"Choose another: {name.upper()}_PORT=<port> make up",
                )
            ports[name] = free_port()
            say(f"Port {kept} is in use: {name} takes {ports[name]}")
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
            *(sys.executable, "-m", "include.runtime.tracking_server", "--host", "127.0.0.1", "--port", str(port)),
            *("--artifacts-destination", artifacts.as_uri()),
        ]

    def _airflow_command(self, component: str, port: int) -> list[str]:
        options = {
            "api-server": ["--host", "127.0.0.1", "--port", str(port)],
            # Airflow would serve the logs on every address of the machine; the API server reads the files themselves.
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }
        if component == "api-server":
            return [sys.executable, "-m", "include.runtime.held_port", component, *options[component]]
        return [self._bin("airflow"), component, *options.get(component, [])]

    def _run(self, command: list[str], environment: dict[str, str], name: str) -> None:
        log = self.home / "log" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log.open("wb") as output:
            done = subprocess.run(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, umask=0o077, check=False
            )
        if done.returncode:
            raise StackError(f"`{' '.join(command[-2:])}` failed", where=str(log), fix="Its last lines say why")

    def _wait_until_healthy(self, say: Say) -> None:
        before = {name: item.restarts for name, item in self._folder.health().items()}
        began = time.monotonic()
        waiting = {"mlflow": self._mlflow_is_healthy, "airflow": self._airflow_is_healthy}
        pages = {"feast-ui": lambda: _get(f"{self.feast_url}/health") is not None}
        while waiting or pages:
            for name, url in (("airflow", self.airflow_url), ("mlflow", self.mlflow_url), ("feast", self.feast_url)):
                require_ours(url, name)
            ended = {
                name: item
                for name, item in self._folder.health().items()
                if item.restarts - before.get(name, 0) >= TRIES and not item.is_running
            }
            for name, item in ended.items():
                # Feast's pages are for looking things up: nothing else waits for them, or fails with them.
                if name == "feast-ui":
                    pages = {}
                else:
                    raise StackError(f"{name}: {item.reason}; its log ends with:\n{self._tail(name)}")
            waiting = {name: healthy for name, healthy in waiting.items() if not healthy()}
            pages = {name: healthy for name, healthy in pages.items() if not healthy()}
            if waiting and time.monotonic() - began > START_SECONDS:
                raise StackError(
                    f"{', '.join(waiting)} not healthy after {START_SECONDS} s", where=str(self.home / "log")
                )
            if not waiting and pages and time.monotonic() - began > PAGES_SECONDS:
                break
            time.sleep(0.3)
        if _get(f"{self.feast_url}/health") is None:
            say(f"Feast's pages do not answer; their log ends with:\n{self._tail('feast-ui', 3)}")

    def _tail(self, name: str, lines: int = 15) -> str:
        log = self.home / "log" / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def _mlflow_is_healthy(self) -> bool:
        return _get(f"{self.mlflow_url}/health") is not None

    def _airflow_is_healthy(self) -> bool:
        body = _get(f"{self.airflow_url}/api/v2/monitor/health")
        if body is None:
            return False
        return all(part["status"] == "healthy" for part in json.loads(body).values())

    def _bin(self, name: str) -> str:
        return str(Path(sys.executable).parent / name)


def _kept(before: Mapping[str, str], say: Say) -> dict[str, str]:
    """The variables of whoever starts the stack; one that they do not name is as before, an empty one is taken away."""
    named = of_work(os.environ)
    kept = {name: value for name, value in {**before, **named}.items() if value}
    if unsaid := {name: value for name, value in kept.items() if name not in named}:
        say(f"As before: {_shown(unsaid)} (`{min(unsaid)}= make up` takes it away)")
    if changed := {name: value for name, value in named.items() if before.get(name, value) != value}:
        say(f"Not as before: {_shown(changed)}")
    return kept


def _shown(variables: Mapping[str, str]) -> str:
    """Names, with the values of those that can hold no key."""
    open_ones = {
        name
        for name, value in variables.items()
        if name.startswith("FLIGHTLINE_") or (name.endswith("_CSV") and "://" not in value)
    }
    return ", ".join(f"{name}={variables[name]}" if name in open_ones else name for name in sorted(variables))


def _get(url: str) -> bytes | None:
    try:
        with urlopen(url, timeout=3) as response:  # noqa: S310  (an address of our own)
            return bytes(response.read())
    except (URLError, OSError):
        return None
