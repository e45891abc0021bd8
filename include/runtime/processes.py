"""Background processes of the local stack, each known by its process id."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from include.runtime.files import read_json, write_private

STOP_SECONDS = 20


class Process:
    """One named background process: its log, and a record of its id that survives us.

    A process id alone can be reused by the system, so the record also holds the start time;
    only a process with both is ever signalled.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / "log" / f"{name}.log"
        self._record = folder / "run" / f"{name}.json"

    def start(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        started = psutil.Process(child.pid).create_time()
        write_private(self._record, json.dumps({"pid": child.pid, "started": started}))

    def find(self) -> psutil.Process | None:
        """The running process, or None."""
        record = read_json(self._record)
        with suppress(KeyError, psutil.NoSuchProcess):
            process = psutil.Process(record["pid"])
            if process.create_time() == record["started"] and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def forget(self) -> None:
        self._record.unlink(missing_ok=True)

    def tail(self, lines: int = 15) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def stop(processes: Sequence[Process]) -> list[str]:
    """End the processes, all at once, and everything they started. Returns the names of those that were running."""
    found = {process.name: running for process in processes if (running := process.find())}
    family = {member.pid: member for root in found.values() for member in _family(root)}
    for root in found.values():
        _signal(root, psutil.Process.terminate)
    _, alive = psutil.wait_procs(list(family.values()), timeout=STOP_SECONDS / 2)
    for member in alive:
        _signal(member, psutil.Process.terminate)
    _, alive = psutil.wait_procs(alive, timeout=STOP_SECONDS / 2)
    for member in alive:
        _signal(member, psutil.Process.kill)
    psutil.wait_procs(alive, timeout=5)
    for process in processes:
        process.forget()
    return list(found)


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _signal(process: psutil.Process, action: Callable[[psutil.Process], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        action(process)
