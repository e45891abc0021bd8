"""`make faults`: components and tasks are killed at random while days are played; then what has to hold is checked.

Another run with the seed that is printed draws the same kills; when each falls, the machine decides.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from include.lakehouse.schemas import CLEAN, FEATURES, PARTITION, QUARANTINE, RAW
from include.lakehouse.tables import Lakehouse
from include.runtime.stack import COMPONENTS
from tests.e2e.conftest import wait_for
from tests.faults.conftest import Running, started

TASK = "a task"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(
        f"seed {options.seed}, {options.kills} kills: ARGS='--seed {options.seed} --kills {options.kills}'", flush=True
    )
    folder = Path(tempfile.mkdtemp(prefix="flightline-faults-"))
    draw = random.Random(options.seed)
    try:
        with started(folder) as running:
            days = play(running, draw, options.kills)
            settle(running, days)
            broken = check(running, days)
            print("\n".join(broken) or f"{days} days are as if nothing had been killed")
            return 1 if broken else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(running: Running, draw: random.Random, kills: int) -> int:
    """Deliver day after day, and kill something every few seconds. Returns the days that were delivered."""
    days = 0
    for number in range(kills):
        if number % 10 == 0:
            days += 1
            deliver(running, days)
        time.sleep(draw.uniform(1, 12))
        victim = draw.choice([*COMPONENTS, TASK, TASK, TASK])
        print(f"{number + 1:4} {victim}: {'killed' if kill(running, victim, draw) else 'none runs'}", flush=True)
    return days


def deliver(running: Running, day: int) -> None:
    conf = {"file": str(running.file), "batch": day, "labels": None, "days": 60, "drift_day": None}
    running.trigger("replay_source", conf=conf)
    running.trigger("ingest_batch", partition=key(running, day))


def kill(running: Running, victim: str, draw: random.Random) -> bool:
    if victim != TASK:
        pid = running.service(victim).pid
    else:
        scheduler = running.service("scheduler").pid
        tasks = [p for p in psutil.process_iter() if scheduler and _is_task(p, scheduler)]
        pid = draw.choice(tasks).pid if tasks else None
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, signal.SIGKILL)
    return pid is not None


def _is_task(process: psutil.Process, scheduler: int) -> bool:
    """A task leads a group of its own in the scheduler's session."""
    try:
        return os.getsid(process.pid) == scheduler and os.getpgid(process.pid) == process.pid != scheduler
    except OSError:
        return False


def settle(running: Running, days: int) -> None:
    """No more kills: a day whose tasks were killed more often than they are tried is run again, as a person would."""
    for day in range(1, days + 1):
        running.deliver(day, days=60)
        running.finish(running.trigger("ingest_batch", partition=key(running, day)))
    wait_for(lambda: all(run.finished for run in running.airflow.runs("~")), "what follows to end", 3600)


def check(running: Running, days: int) -> list[str]:
    """What does not hold."""
    lake, spec, broken = Lakehouse(str(running.stack.home / "lakehouse")), running.spec, []
    for day in range(1, days + 1):
        found = {
            table.layer: lake.read(table.of(spec), where=[(PARTITION, "=", key(running, day))])
            for table in (RAW, CLEAN, QUARANTINE, FEATURES)
        }
        rows = {layer: content.num_rows for layer, content in found.items()}
        if not rows["raw"] or rows["raw"] != rows["clean"] + rows["quarantine"] or rows["features"] != rows["clean"]:
            broken.append(f"{key(running, day)}: {rows}")
        for layer in ("clean", "features"):
            if found[layer].group_by(spec.entity.keys).aggregate([]).num_rows != rows[layer]:
                broken.append(f"{key(running, day)}: {layer} has a key twice")
    return broken


def key(running: Running, day: int) -> str:
    return running.spec.first_partition.shift(day).key


if __name__ == "__main__":
    sys.exit(main())
