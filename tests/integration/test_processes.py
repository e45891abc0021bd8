"""Processes are found by session and start time, and ended with everything that came from them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from include.runtime import processes
from include.runtime.processes import Session

CHILDREN = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
stubborn = "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN)"
subprocess.Popen([sys.executable, "-c", stubborn + "; open('ready', 'w').close(); time.sleep(60)"])
time.sleep(60)
"""


@pytest.fixture
def leader(tmp_path: Path) -> subprocess.Popen[bytes]:
    """The leader of a session with two more processes, one of another group, which ends for nothing but a kill."""
    started = subprocess.Popen([sys.executable, "-c", CHILDREN], cwd=tmp_path, start_new_session=True)
    until = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    return started


def test_all_of_a_session_end_also_those_of_another_group_that_do_not_want_to(leader) -> None:
    session = Session.led_by(leader.pid)
    members = session.members()
    assert len(members) == 3
    assert processes.end([session], seconds=2) == sorted(member.pid for member in members)
    leader.wait()
    assert session.members() == []
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members)
    assert processes.end([session]) == []


def test_what_a_killed_leader_left_is_found_and_ended(leader) -> None:
    session = Session.led_by(leader.pid)
    leader.kill()
    leader.wait()
    assert session.leader() is None
    assert len(session.members()) == 2
    assert len(processes.end([session], seconds=2)) == 2
    assert session.members() == []


def test_a_reused_number_is_not_ours(leader) -> None:
    """Neither another start time, nor one before the machine started."""
    ours = Session.led_by(leader.pid)
    for started in (ours.started - 1, 1.0):
        session = Session(leader.pid, started)
        assert session.leader() is None
        assert session.members() == []
        assert processes.end([session]) == []
    assert len(ours.members()) == 3
    processes.end([ours], seconds=2)
    leader.wait()


def test_a_leader_is_asked_in_its_own_way_first(tmp_path: Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (open("asked", "w").close(), sys.exit()))
open("ready", "w").close()
time.sleep(60)
"""
    started = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    while not (tmp_path / "ready").exists():
        time.sleep(0.05)
    processes.end([Session.led_by(started.pid)], first=signal.SIGINT)
    assert started.wait() == 0
    assert (tmp_path / "asked").exists()
