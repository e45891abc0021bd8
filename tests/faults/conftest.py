"""One running stack of its own, whose components are killed; nothing was played in it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.core import catalogue
from include.core.spec import ModelSpec
from include.demo import loop, replay
from include.runtime.airflow_api import AirflowApi, Run
from include.runtime.ports import free_port
from include.runtime.stack import Service, Stack
from tests.played import wait_for


@dataclass(frozen=True)
class Running:
    """A stack, and who talks to it."""

    stack: Stack
    airflow: AirflowApi
    spec: ModelSpec
    file: str

    def service(self, name: str) -> Service:
        return next(service for service in self.stack.status() if service.name == name)

    def kill(self, name: str) -> Service:
        """End a component as a machine out of memory would; returns what it was."""
        wait_for(lambda: self.service(name).pid, f"{name}, which may have ended with another one, to run")
        before = self.service(name)
        os.kill(before.pid, signal.SIGKILL)
        return before

    def wait_for_start(self, before: Service) -> Service:
        wait_for(lambda: self.service(before.name).pid not in (None, before.pid), f"{before.name} to start again")
        return self.service(before.name)

    def trigger(self, verb_noun: str, **arguments: Any) -> Run:
        return self.airflow.trigger(f"{self.spec.name}.{verb_noun}", **arguments)

    def state(self, run: Run, task: str) -> str | None:
        return self.airflow.task_states(run).get(task)

    def deliver(self, number: int, days: int = 30) -> None:
        conf = {"file": self.file, "batch": number, "labels": None, "days": days, "drift_day": None}
        self.finish(self.trigger("replay_source", conf=conf))

    def finish(self, run: Run, seconds: float = 600) -> None:
        wait_for(lambda: self.airflow.run(run.dag_id, run.run_id).finished, f"{run.dag_id} to end", seconds)
        ended = self.airflow.run(run.dag_id, run.run_id)
        assert ended.state == "success", self.airflow.task_states(ended)


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="flightline-faults-"))
    try:
        with started(folder) as stack:
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(folder: Path) -> Iterator[Running]:
    """A stack in a folder, its DAGs switched on."""
    stack = Stack(folder / "var", {name: free_port() for name in ("airflow", "mlflow", "feast")})
    spec = catalogue.load(loop.MODEL)
    try:
        stack.up()
        airflow = AirflowApi(stack.airflow_url, "admin", stack.password())
        wait_for(lambda: len(airflow.dag_ids(spec.name)) == loop.DAGS, "the DAGs to be listed")
        for dag in airflow.dag_ids(spec.name):
            airflow.unpause(dag)
        cache = stack.home / "landing" / replay.CACHE  # another file is not played
        yield Running(stack, airflow, spec, replay.keep(replay.fetch(spec, cache), cache).path)
    finally:
        stack.down()
