"""Processes of the local stack: each the leader of a session, ended with all that came from it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

STOP_SECONDS = 20


@dataclass(frozen=True)
class Session:
    """A process that was started as the leader of a session, and whatever came from it.

    Its members outlive it when it is killed, and are found by the session all the same. A number alone can be reused
    by the system, so the start time counts, too.
    """

    pid: int
    started: float

    @classmethod
    def led_by(cls, pid: int) -> Session:
        """
        Raises:
            psutil.NoSuchProcess: it has ended.
        """
        return cls(pid, psutil.Process(pid).create_time())

    def leader(self) -> psutil.Process | None:
        """The leader while it runs."""
        try:
            process = psutil.Process(self.pid)
            running = process.status() != psutil.STATUS_ZOMBIE and process.create_time() == self.started
        except psutil.NoSuchProcess:
            return None
        return process if running else None

    def members(self) -> list[psutil.Process]:
        """All that run, the leader among them."""
        if self.started < psutil.boot_time() - 1 or self._is_reused():
            return []
        return [process for process in psutil.process_iter() if self._has(process)]

    def signal(self, number: int) -> list[psutil.Process]:
        """Send a signal to all of them; returns who they are."""
        found = self.members()
        for member in found:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        return found

    def _is_reused(self) -> bool:
        """While one of a session's members lives, the system gives its number to nobody else."""
        try:
            return psutil.Process(self.pid).create_time() != self.started
        except psutil.NoSuchProcess:
            return False

    def _has(self, process: psutil.Process) -> bool:
        try:
            same = os.getsid(process.pid) == self.pid
            return same and process.create_time() >= self.started and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, psutil.NoSuchProcess):
            return False


def end(sessions: Sequence[Session], first: int = signal.SIGTERM, seconds: float = STOP_SECONDS) -> list[int]:
    """End sessions, all at once: their leaders are asked, then all members, then none is asked any more.

    Args:
        first: what the leaders are asked by.

    Returns:
        The processes that were running.
    """
    found = [member for session in sessions for member in session.members()]
    for session in sessions:
        if leader := session.leader():
            with suppress(psutil.NoSuchProcess):
                leader.send_signal(first)
        else:
            session.signal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGKILL):
        psutil.wait_procs(found, timeout=seconds / 2)
        for session in sessions:
            session.signal(number)
    psutil.wait_procs(found, timeout=5)
    return sorted(member.pid for member in found)
