"""Keeps the stack's components running: what dies is started again, with a pause that grows.

``make up`` writes which components are wanted, each with its command and variables; one supervisor a folder makes it
so. A component whose command or variables changed, as an address does, is started anew.
Started by the local stack: ``python -m include.runtime.supervisor <folder>``.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic asks for it on Python 3.11

from include.core.settings import PROJECT_ROOT
from include.runtime import processes
from include.runtime.files import read_json, write_private
from include.runtime.held_port import hold
from include.runtime.processes import Session

log = logging.getLogger("supervisor")

POLL_SECONDS = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
STEADY_SECONDS = 60
"""A component that ran as long begins with the first pause again."""
LEFT_SECONDS = 3
"""What a dead component left has as long to end in order: its next start waits for it."""


@dataclass(frozen=True)
class Component:
    """A process that is to run.

    Args:
        needs: components that have to answer before it starts.
        port: where it listens, for nobody else to take while it is down; of a server that shares it (`held_port`).
        account: numbers of the user and the group that it runs as; None: our own.
        stop_signal: what ends it in order.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    needs: list[str] = field(default_factory=list)
    port: int | None = None
    account: list[int] | None = None
    stop_signal: int = signal.SIGTERM


@dataclass(frozen=True)
class Health:
    """What is known of a component."""

    pid: int | None = None
    started: float = 0
    """Of the process, as the system counts it."""
    since: float = 0
    """When it was started, or ended; seconds since 1970."""
    restarts: int = 0
    reason: str = ""
    """Why it ended last."""

    @property
    def session(self) -> Session | None:
        return None if self.pid is None else Session(self.pid, self.started)

    @property
    def is_running(self) -> bool:
        return self.session is not None and self.session.leader() is not None


class State(TypedDict):
    """What the supervisor notes in ``run/state.json``."""

    supervisor: Session | None
    wanted_at: int
    components: dict[str, Health]
    held: NotRequired[list[int]]
    """Ports that it keeps from others."""


STATE = TypeAdapter(State)


class Folder:
    """What the supervisor and those who ask it share: who is wanted, how they are, and who supervises."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._wanted, self._state = home / "run" / "wanted.json", home / "run" / "state.json"
        self._lock = home / "run" / "supervisor.lock"

    def want(self, components: list[Component]) -> None:
        write_private(self._wanted, json.dumps([asdict(component) for component in components], indent=1))

    def wanted(self) -> list[Component]:
        with suppress(FileNotFoundError):
            return [Component(**found) for found in json.loads(self._wanted.read_text())]
        return []

    def wanted_at(self) -> int:
        """Changes with each writing."""
        with suppress(FileNotFoundError):
            return self._wanted.stat().st_ino ^ self._wanted.stat().st_mtime_ns
        return 0

    def note(self, health: Mapping[str, Health], wanted_at: int, held: Collection[int] = ()) -> None:
        own, components = Session.led_by(os.getpid()), {name: asdict(item) for name, item in health.items()}
        state = {
            "supervisor": asdict(own),
            "wanted_at": wanted_at,
            "components": components,
            "held": sorted(held),
        }
        write_private(self._state, json.dumps(state, indent=1))

    def is_noted(self) -> bool:
        return self._state.exists()

    def is_taken_over(self) -> bool:
        """Whether the supervisor has ended what is not wanted as it was."""
        return bool(self._read().get("wanted_at") == self.wanted_at())

    def health(self) -> dict[str, Health]:
        return dict(self._read().get("components", {}))

    def held(self) -> list[int]:
        """The ports that a supervisor which runs keeps from others."""
        return list(self._read().get("held", [])) if self.is_supervised() else []

    def supervisor(self) -> Session | None:
        """The supervisor while it runs."""
        if not self.is_supervised():
            return None
        found: Session | None = self._read().get("supervisor")
        return found

    def is_supervised(self) -> bool:
        try:
            with self.supervising():
                return False
        except BlockingIOError:
            return True

    @contextmanager
    def supervising(self) -> Iterator[None]:
        """Be the only one who supervises, for as long as the process lives.

        Raises:
            BlockingIOError: another process does.
        """
        self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _read(self) -> dict[str, Any]:
        state = read_json(self._state, STATE)
        until = time.monotonic() + 5
        while not state and self.is_supervised() and time.monotonic() < until:  # it writes a lost one anew
            time.sleep(POLL_SECONDS)
            state = read_json(self._state, STATE)
        return state


class _Supervised:
    """One component, and the process that is it at the moment."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.health = Health()
        self._child: subprocess.Popen[bytes] | None = None
        self._left: Session | None = None
        self._pause = FIRST_PAUSE
        self._not_before = 0.0

    @property
    def is_due(self) -> bool:
        return self._child is None and time.monotonic() >= self._not_before

    @property
    def is_running(self) -> bool:
        return self._child is not None

    def start(self, log_folder: Path) -> None:
        if self._left is not None:
            self._left.signal(signal.SIGKILL)
            self._left = None
        try:
            self._child = launch(self.component, log_folder)
        except OSError as error:
            self._wait(f"could not be started: {error}")
            return
        session = Session.led_by(self._child.pid)
        earlier = self.health
        self.health = Health(session.pid, session.started, time.time(), earlier.restarts, earlier.reason)
        log.info("%s is process %d", self.component.name, session.pid)

    def notice_end(self) -> bool:
        """Whether it has ended by itself; then what it left is asked to end, and its next start due after a pause."""
        if self._child is None or self._child.poll() is None:
            return False
        reason, lived = _reason(self._child.returncode), time.time() - self.health.since
        self._child, self._left = None, self.health.session
        if lived > STEADY_SECONDS:
            self._pause = FIRST_PAUSE
        left = self._left.signal(signal.SIGTERM) if self._left else []
        self._wait(f"{reason}, and left {len(left)} of its processes" if left else reason, LEFT_SECONDS if left else 0)
        return True

    def replace(self, component: Component) -> None:
        self.component, self._not_before = component, 0.0
        self.health = Health(since=time.time(), restarts=self.health.restarts, reason="was given other settings")

    def _wait(self, reason: str, at_least: float = 0) -> None:
        pause = max(self._pause, at_least)
        log.warning("%s %s; next start in %.1f s", self.component.name, reason, pause)
        self.health = Health(since=time.time(), restarts=self.health.restarts + 1, reason=reason)
        self._not_before = time.monotonic() + pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def forget(self) -> None:
        """It was ended by us."""
        if self._child is not None:
            self._child.wait()
        self._child = None


def launch(component: Component, log_folder: Path) -> subprocess.Popen[bytes]:
    """Start a process as the leader of a session, its output appended to a log of its name."""
    account = component.account
    log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (log_folder / f"{component.name}.log").open("ab") as output:
        return subprocess.Popen(
            component.command,
            env=component.environment,
            cwd=PROJECT_ROOT if account is None else "/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            **as_account(account),
        )


def as_account(account: list[int] | None) -> dict[str, Any]:
    """What `subprocess` takes to run a process as a user and a group, and as no other group of ours."""
    return {"user": account[0], "group": account[1], "extra_groups": []} if account else {}


class Supervisor:
    """The loop.

    Args:
        answers: for components that others need, whether they answer.
    """

    def __init__(self, folder: Folder, answers: Mapping[str, Callable[[], bool]]) -> None:
        self._folder = folder
        self._answers = answers
        self._all: dict[str, _Supervised] = {}
        self._held: dict[int, socket.socket] = {}
        self._wanted_at = 0
        self._stopping = False

    def run(self) -> None:
        """Supervise until SIGTERM; then end the components, what is needed last."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            changed = self._reconcile() | self._hold()
            for supervised in self._all.values():
                changed |= supervised.notice_end()
                if supervised.is_due and all(self._answers[need]() for need in supervised.component.needs):
                    supervised.start(self._folder.home / "log")
                    changed = True
            if changed or not self._folder.is_noted():
                self._note()
            time.sleep(POLL_SECONDS)
        self._end(list(self._all.values()))
        self._note()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _reconcile(self) -> bool:
        """Take over what is wanted now."""
        if (at := self._folder.wanted_at()) == self._wanted_at:
            return False
        self._wanted_at = at
        try:
            wanted = {component.name: component for component in self._folder.wanted()}
        except (ValueError, TypeError) as error:
            log.error("what is wanted cannot be read, and stays as it is: %s. `make up` writes it anew", error)
            return False
        other = [item for name, item in self._all.items() if wanted.get(name) != item.component]
        self._end(other)
        for item in other:
            if item.component.name in wanted:
                log.info("%s has other settings", item.component.name)
                item.replace(wanted[item.component.name])
        self._all = {name: self._all.get(name) or _Supervised(component) for name, component in wanted.items()}
        return True

    def _hold(self) -> bool:
        """Keep the ports of the components from others; one that somebody has is asked for again."""
        wanted = {item.component.port for item in self._all.values() if item.component.port is not None}
        before = set(self._held)
        for port in before - wanted:
            self._held.pop(port).close()
        for port in wanted - before:
            with suppress(OSError):
                self._held[port] = hold(port)
        return before != set(self._held)

    def _end(self, those: list[_Supervised]) -> None:
        needed = {need for item in those for need in item.component.needs}
        for group in (
            [item for item in those if item.component.name not in needed],
            [item for item in those if item.component.name in needed],
        ):
            for number in {item.component.stop_signal for item in group}:
                same = [item for item in group if item.component.stop_signal == number and item.is_running]
                processes.end([item.health.session for item in same if item.health.session], number)
            for item in group:
                item.forget()
                item.health = Health(since=time.time(), restarts=item.health.restarts, reason="was stopped")

    def _note(self) -> None:
        self._folder.note({name: item.health for name, item in self._all.items()}, self._wanted_at, self._held)


def _reason(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def main(home: str) -> int:
    from include.runtime.postgres import Postgres

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    folder = Folder(Path(home))
    for _ in range(10):  # whoever asks whether there is a supervisor holds the lock for a moment, too
        try:
            with folder.supervising():
                Supervisor(folder, {"postgres": Postgres(Path(home)).answers}).run()
                return 0
        except BlockingIOError:
            time.sleep(POLL_SECONDS)
    log.error("another process supervises %s", home)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
