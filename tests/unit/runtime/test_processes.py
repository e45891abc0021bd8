"""Background processes are found and ended by process id and start time, with everything they started."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import psutil

from include.runtime import processes
from include.runtime.processes import Process

CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("up", flush=True)
time.sleep(60)
"""


def started(tmp_path: Path, code: str = CHILD, name: str = "worker") -> Process:
    process = Process(name, tmp_path)
    process.start([sys.executable, "-c", code], os.environ, tmp_path)
    return process


def test_stop_ends_the_process_and_its_children(tmp_path: Path) -> None:
    first, second = started(tmp_path), started(tmp_path, name="second")
    deadline = time.monotonic() + 20
    while "up" not in first.tail() or "up" not in second.tail():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [first.find(), *first.find().children(recursive=True), second.find()]
    assert len(family) == 3
    assert processes.stop([first, second, Process("never", tmp_path)]) == ["worker", "second"]
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert first.find() is None
    assert processes.stop([first]) == []


def test_a_reused_process_id_is_not_ours(tmp_path: Path) -> None:
    process = Process("worker", tmp_path)
    record = tmp_path / "run" / "worker.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"pid": os.getpid(), "started": 1.0}))
    assert process.find() is None
    assert processes.stop([process]) == []


def test_a_process_that_ended_leaves_its_log(tmp_path: Path) -> None:
    process = started(tmp_path, "print('last words')")
    found = process.find()
    if found is not None:
        psutil.wait_procs([found], timeout=20)
    assert process.find() is None
    assert process.tail() == "last words"
