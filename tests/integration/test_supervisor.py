"""A supervisor of real processes: what dies is started again, what it left is ended, what changed is started anew."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from include.core.settings import PROJECT_ROOT
from include.runtime import processes
from include.runtime.ports import free_port, is_free
from include.runtime.supervisor import Component, Folder, Health

PARENT = 'import subprocess, sys, time; subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"]); '
LASTS = "import time; time.sleep(99)"


def component(name: str, code: str = LASTS, **variables: str) -> Component:
    return Component(name, [sys.executable, "-c", code], {"PATH": os.defpath, **variables})


class Supervised:
    """A folder with a supervisor."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder, self.log = Folder(home), home / "supervisor.log"
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "include.runtime.supervisor", str(self.home)],
                cwd=PROJECT_ROOT,
                env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, condition: Callable[[dict[str, Health]], Any], seconds: float = 60) -> dict[str, Health]:
        until = time.monotonic() + seconds
        while True:
            health = self.folder.health()
            if condition(health):
                return health
            assert time.monotonic() < until, health
            time.sleep(0.1)

    def running(self, *names: str) -> dict[str, Health]:
        return self.wait_for(
            lambda health: set(health) == set(names) and all(item.is_running for item in health.values())
        )


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    running = Supervised(tmp_path)
    yield running
    running.process.kill()
    running.process.wait()
    processes.end([item.session for item in running.folder.health().values() if item.session], seconds=1)


def test_what_is_killed_starts_again_and_what_it_left_is_ended(supervised: Supervised) -> None:
    supervised.folder.want([component("worker", PARENT + "time.sleep(99)"), component("other")])
    before = supervised.running("worker", "other")
    session = before["worker"].session
    supervised.wait_for(lambda _: len(session.members()) == 2)
    os.kill(session.pid, signal.SIGKILL)
    supervised.wait_for(lambda health: health["worker"].pid not in (None, session.pid))
    after = supervised.running("worker", "other")
    assert session.members() == []
    assert after["worker"].restarts == 1
    assert after["worker"].reason == "was killed by SIGKILL, and left 1 of its processes"
    assert after["other"] == before["other"]


def test_what_ends_at_once_is_tried_again_with_pauses_that_grow(supervised: Supervised) -> None:
    supervised.folder.want([component("hasty", "import sys; sys.exit(7)"), Component("absent", ["/no/such"], {})])
    health = supervised.wait_for(lambda health: all(item.restarts >= 3 for item in health.values()) and health)
    assert health["hasty"].reason == "ended with code 7"
    assert "could not be started: " in health["absent"].reason
    lines = supervised.log.read_text().splitlines()
    pauses = [line.rsplit(" ", 2)[1] for line in lines if "hasty ended" in line]
    assert pauses[:3] == ["0.5", "1.0", "2.0"]


def test_what_has_other_variables_is_started_anew_and_what_is_wanted_no_more_is_ended(supervised: Supervised) -> None:
    supervised.folder.want([component("same"), component("moved", ADDRESS="old"), component("gone")])
    before = supervised.running("same", "moved", "gone")
    supervised.folder.want([component("same"), component("moved", ADDRESS="new")])
    after = supervised.wait_for(lambda health: set(health) == {"same", "moved"} and health["moved"].is_running)
    assert after["same"] == before["same"]
    assert psutil.Process(after["moved"].pid).environ()["ADDRESS"] == "new"
    assert after["moved"].restarts == 0
    assert not before["gone"].is_running


def test_a_folder_has_one_supervisor(supervised: Supervised) -> None:
    supervised.folder.want([component("only")])
    before = supervised.running("only")
    second = subprocess.run(supervised.process.args, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "another process supervises" in second.stderr
    assert supervised.folder.health() == before


@pytest.mark.parametrize("file", ["state.json", "wanted.json"])
def test_a_file_that_was_cut_off_stops_nobody(supervised: Supervised, file: str, capsys) -> None:
    supervised.folder.want([component("worker")])
    before = supervised.running("worker")
    path = supervised.home / "run" / file
    path.write_text(path.read_text()[:20])
    if file == "state.json":
        assert supervised.folder.health() == before
        assert "was broken: it is made anew" in capsys.readouterr().out
    supervised.folder.want([component("worker"), component("more")])
    assert supervised.running("worker", "more")["worker"] == before["worker"]


def test_it_ends_all_that_it_started(supervised: Supervised) -> None:
    supervised.folder.want([component("worker", PARENT + "time.sleep(99)"), component("other")])
    health = supervised.running("worker", "other")
    supervised.process.terminate()
    supervised.process.wait(timeout=60)
    assert [item.session.members() for item in health.values()] == [[], []]
    assert not supervised.folder.is_supervised()


def test_a_killed_supervisor_leaves_what_is_found(supervised: Supervised) -> None:
    supervised.folder.want([component("worker")])
    before = supervised.running("worker")
    supervised.process.kill()
    supervised.process.wait()
    assert not supervised.folder.is_supervised()
    assert supervised.folder.supervisor() is None
    assert supervised.folder.health() == before
    assert len(before["worker"].session.members()) == 1


def test_files_are_nobody_elses_and_hold_the_variables_of_their_component_alone(supervised: Supervised) -> None:
    supervised.folder.want([component("one", SECRET="of-one"), component("two")])
    health = supervised.running("one", "two")
    assert "SECRET" not in psutil.Process(health["two"].pid).environ()
    for file in ("wanted.json", "state.json"):
        assert (supervised.home / "run" / file).stat().st_mode & 0o077 == 0
    assert "of-one" not in json.dumps((supervised.home / "run" / "state.json").read_text())


SERVES = """
import asyncio, sys
from include.runtime.held_port import new_event_loop

async def serve():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(serve())
"""


def can_be_taken(port: int, *options: int) -> bool:
    with socket.socket() as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_nobody_takes_the_port_of_a_server_that_is_down(supervised: Supervised) -> None:
    """Other accounts: for ours it suffices to share it, as the server does."""
    port, second = free_port(), free_port()
    server = replace(component("server"), command=[sys.executable, "-c", SERVES, str(port)], port=port)
    down = replace(component("down"), port=second)
    environment = {"PATH": os.defpath, "PYTHONPATH": str(PROJECT_ROOT)}
    supervised.folder.want([replace(server, environment=environment), down])
    supervised.running("server", "down")
    supervised.wait_for(lambda _: answers(port))
    assert set(supervised.folder.held()) == {port, second}
    assert not answers(second)
    for taken in (port, second):
        assert not can_be_taken(taken)
        assert not can_be_taken(taken, socket.SO_REUSEADDR)
        assert not is_free(taken)
    if os.geteuid() == 0:
        os.seteuid(4242)
        try:
            assert not can_be_taken(second, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        finally:
            os.seteuid(0)
    supervised.folder.want([down])
    supervised.wait_for(lambda health: set(health) == {"down"})
    supervised.wait_for(lambda _: supervised.folder.held() == [second])
    assert is_free(port)


def test_a_port_that_somebody_has_is_held_once_it_is_free(supervised: Supervised) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        supervised.folder.want([replace(component("down"), port=port)])
        supervised.running("down")
        assert supervised.folder.held() == []
    supervised.wait_for(lambda _: supervised.folder.held() == [port])
    assert not can_be_taken(port)
