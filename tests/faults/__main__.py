"""`make faults`: what is killed while days are played; then what has to hold is checked.

First the demo is played, and each component of the stack is killed once in the middle of it. Then components, tasks
and jobs are killed at random while further days go through. Another run with the seed that is printed draws the same
kills; when each falls, the machine decides.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from mlflow import MlflowClient

from include.core.settings import PROJECT_ROOT
from include.demo import loop
from include.lakehouse import alias_history
from include.lakehouse.schemas import CLEAN, FEATURES, PARTITION, PREDICTIONS, QUARANTINE, RAW
from include.lakehouse.tables import Lakehouse
from include.runtime.airflow_api import Run
from include.runtime.stack import COMPONENTS
from tests.faults.conftest import Running, started
from tests.played import wait_for

TASK, JOB = "a task", "a job"
JOBS = (
    "ingestion.validate_batch",
    "ingestion.load_batch",
    "features.compute_features",
    "features.materialize_features",
    "scoring.score_rows",
)
DEMO_DAYS, LAST_DAY = 3, 20
"""The batches of the demo; and of those days that are delivered after it: few, so that each has rows enough for the
budget of the quarantine, and run again and again."""
KILLS_A_RUN = 3


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
            demo(running, draw)
            days = play(running, draw, options.kills)
            settle(running, days)
            broken = [
                *check_production(running),
                *(problem for day in range(days + 1) for problem in check(running, day)),
            ]
            print("\n".join(broken) or f"{days} days are as if nothing had been killed")
            return 1 if broken else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def demo(running: Running, draw: random.Random) -> None:
    """Play the demo to its end while each component is killed once; it fails where one of them is missed."""
    over = threading.Event()

    def kill_each() -> None:
        for name in draw.sample(COMPONENTS, len(COMPONENTS)):
            if over.wait(draw.uniform(8, 18)):
                break
            print(f"     {name}: {'killed' if kill(running, name, draw) else 'none runs'}", flush=True)

    killer = threading.Thread(target=kill_each)
    killer.start()
    try:
        loop.run(running.stack, loop.Plan(DEMO_DAYS, None))
    finally:
        over.set()
        killer.join()


def play(running: Running, draw: random.Random, kills: int) -> int:
    """Deliver day after day, then run old ones again, and kill something every few seconds. Returns the last day."""
    days = DEMO_DAYS
    for number in range(kills):
        if number % KILLS_A_RUN == 0:
            known, days = days, min(days + 1, LAST_DAY)
            ingest(running, days if days > known else draw.randint(DEMO_DAYS + 1, days))
        time.sleep(draw.uniform(1, 12))
        victim = draw.choice([*COMPONENTS, TASK, TASK, TASK, JOB, JOB, JOB])
        done = kill_job(running, days, draw) if victim == JOB else kill(running, victim, draw)
        print(f"{number + 1:4} {victim}: {'killed' if done else 'none runs'}", flush=True)
    return days


def ingest(running: Running, day: int) -> Run:
    """Deliver a day, and start its ingestion: both wait for no end, since something is killed meanwhile."""
    conf = {"file": running.file, "batch": day, "labels": None, "days": LAST_DAY, "drift_day": None}
    running.trigger("replay_source", conf=conf)
    return running.trigger("ingest_batch", partition=key(running, day))


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


def kill_job(running: Running, day: int, draw: random.Random) -> bool:
    """Run a step of a day as a person's shell does, beside its DAG, and kill it after some seconds."""
    words = [draw.choice(JOBS), "--model", running.spec.name, "--partition", key(running, day)]
    job = subprocess.Popen(
        [sys.executable, "-m", "include.jobs", *words],
        cwd=PROJECT_ROOT,
        env=running.stack.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(subprocess.TimeoutExpired):
        job.wait(draw.uniform(2, 12))
    ended = job.poll() is not None
    job.kill()
    job.wait()
    return not ended


def _is_task(process: psutil.Process, scheduler: int) -> bool:
    """A task leads a group of its own in the scheduler's session."""
    try:
        return os.getsid(process.pid) == scheduler and os.getpgid(process.pid) == process.pid != scheduler
    except OSError:
        return False


def settle(running: Running, days: int) -> None:
    """No more kills: what runs comes to its end; then each day is run again, as a person would whose run failed."""
    wait_for_all(running)
    for run in [ingest(running, day) for day in range(DEMO_DAYS + 1, days + 1)]:
        running.finish(run, 3600)
    wait_for_all(running)


def wait_for_all(running: Running) -> None:
    """Wait until nothing runs any more, nor starts."""
    airflow = running.airflow
    for _ in range(2):
        for dag in airflow.dag_ids(running.spec.name):
            wait_for(lambda dag=dag: all(run.finished for run in airflow.runs(dag)), f"what runs of {dag} to end", 3600)
        time.sleep(20)


def check(running: Running, day: int) -> list[str]:
    """What does not hold of a day: each row in one place, each key once."""
    lake, spec = Lakehouse(str(running.stack.home / "lakehouse")), running.spec
    found = {
        table.layer: lake.read(table.of(spec), where=[(PARTITION, "=", key(running, day))])
        for table in (RAW, CLEAN, QUARANTINE, FEATURES, PREDICTIONS)
    }
    rows = {layer: content.num_rows for layer, content in found.items()}
    broken = []
    if not rows["raw"] or rows["raw"] != rows["clean"] + rows["quarantine"] or rows["features"] != rows["clean"]:
        broken.append(f"{key(running, day)}: {rows}")
    if day and rows["predictions"] != rows["features"]:
        broken.append(f"{key(running, day)}: not all rows are scored, or some twice: {rows}")
    for layer in ("clean", "features", "predictions"):
        if found[layer].group_by(spec.entity.keys).aggregate([]).num_rows != rows[layer]:
            broken.append(f"{key(running, day)}: {layer} has a key twice")
    return broken


def check_production(running: Running) -> list[str]:
    """What does not hold of the version in production: one, the one that its history names."""
    tenures = alias_history.periods(Lakehouse(str(running.stack.home / "lakehouse")), running.spec.name)
    current = [tenure.version for tenure in tenures if tenure.valid_to is None]
    named = MlflowClient(running.stack.mlflow_url).get_registered_model(running.spec.name).aliases.get("production")
    return [] if current == [str(named)] else [f"in production are {current}, and MLflow names {named}"]


def key(running: Running, day: int) -> str:
    return running.spec.first_partition.shift(day).key


if __name__ == "__main__":
    sys.exit(main())
