"""One real stack for all end-to-end tests: PostgreSQL, MLflow and Airflow, in which the demo has been played."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.demo import loop
from include.demo.loop import Plan
from include.ingestion.delivery import Delivery, Kind
from include.lakehouse.schemas import PARTITION, Table
from include.lakehouse.tables import Lakehouse
from include.runtime.airflow_api import AirflowApi, Run
from include.runtime.ports import free_port
from include.runtime.stack import Stack

LATE_MODEL = "late_housing"
"""A second model in the same stack, the same but for its name and a deadline of seconds."""
PLAN = Plan(days=10, drift_day=4)
WAIT_SECONDS = 240


@dataclass(frozen=True)
class Played:
    """A stack in which the demo was played, and what it reported."""

    stack: Stack
    airflow: AirflowApi
    spec: ModelSpec
    lake: Lakehouse
    summary: dict[str, Any]
    said: list[str]

    @property
    def is_real_file(self) -> bool:
        return bool(self.summary["data"]["verified"])

    def day(self, number: int) -> str:
        return self.spec.first_partition.shift(number).key

    def trigger(self, verb_noun: str, **arguments: Any) -> Run:
        return self.airflow.trigger(f"{self.spec.name}.{verb_noun}", **arguments)

    def backfill(self, verb_noun: str, first: str, last: str) -> None:
        """Start a backfill once none of the DAG is running: Airflow refuses a second one."""
        dag = f"{self.spec.name}.{verb_noun}"
        wait_for(lambda: not self.airflow.runs_backfill(dag), f"the last backfill of {dag} to end")
        self.airflow.backfill(dag, first, last)

    def finish(self, run: Run, seconds: float = WAIT_SECONDS) -> Run:
        """Wait for a run's end, which has to be a success."""
        wait_for(lambda: self.airflow.run(run.dag_id, run.run_id).finished, f"{run.dag_id} to end", seconds)
        ended = self.airflow.run(run.dag_id, run.run_id)
        assert ended.state == "success", self.airflow.task_states(ended)
        return ended

    def rows(self, table: Table, key: str) -> pa.Table:
        """The rows of a partition."""
        return self.lake.read(table.of(self.spec), where=[(PARTITION, "=", key)])

    def delivery(self, kind: Kind, key: str) -> Delivery:
        settings = Settings(landing_uri=str(self.stack.home / "landing"))
        return Delivery.expected(settings, self.spec, kind, Partition.parse(key, self.spec.grain))

    def environment(self) -> dict[str, str]:
        return self.stack.environment()


@pytest.fixture(scope="session")
def played() -> Iterator[Played]:
    folder = Path(tempfile.mkdtemp(prefix="flightline-e2e-"))
    ports = {"airflow": free_port(), "mlflow": free_port()}
    stack = Stack(folder / "var", ports)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(line, flush=True)

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLIGHTLINE_MODELS", str(add_late_model(folder / "models")))
        try:
            summary = loop.run(stack, PLAN, say)
            for name, value in stack.environment().items():
                if name.startswith(("FLIGHTLINE", "MLFLOW")):
                    environment.setenv(name, value)
            spec = catalogue.load(loop.MODEL)
            airflow = AirflowApi(stack.airflow_url, "admin", stack.password())
            yield Played(stack, airflow, spec, Lakehouse(str(stack.home / "lakehouse")), summary, said)
        finally:
            stack.down()
            shutil.rmtree(folder, ignore_errors=True)


def add_late_model(models: Path) -> Path:
    """A folder of models: the package's own, and one whose deliveries are late within seconds."""
    for name in (loop.MODEL, LATE_MODEL):
        shutil.copytree(catalogue.MODELS / loop.MODEL, models / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (models / LATE_MODEL).iterdir():
        text = file.read_text().replace(loop.MODEL, LATE_MODEL)
        text = text.replace("deadline_minutes: 720", "deadline_minutes: 0.4\n  warn_minutes: 0.1")
        file.write_text(text.replace(f"service: {LATE_MODEL}_v1", f"service: {LATE_MODEL}_v1\n  view: {LATE_MODEL}"))
    return models


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    pytest.fail(f"waited {seconds} s for {what}")
