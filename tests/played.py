"""One real stack for all end-to-end tests: PostgreSQL, MLflow and Airflow, in which the demo has been played."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page

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
"""A second model in the same stack, the same but for its name, a deadline of seconds, and features of a few weeks."""
BACKFILLED_MODEL = "backfilled_housing"
"""A third one, whose source still delivers: small days that begin some weeks ago, and gates that any version passes."""
UNPLAYED_MODEL = "bike_demand"
"""The package's other model, as it is: nobody plays it."""
BACKFILLED_DAYS = 40
"""So many days ago they began."""
PLAN = Plan(days=10, drift_day=4)
WAIT_SECONDS = 240
USERS = "ada:user,grace:user,mallory:user"
"""Who can log in beside the admin. In prod ada and grace have to approve, or the admin where somebody else asked."""
APPROVAL = (
    "prod: person, approvers: [ada, grace, admin], persons: 2, remind_after: 1 minute, times_out_after: 20 minutes}"
)
TOLD = "told"
"""The connection by which is told what happens, where a test has made it."""


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

    def as_user(self, name: str) -> AirflowApi:
        """Airflow's REST API for another than the admin, one of `USERS`."""
        return AirflowApi(self.stack.airflow_url, name, self.stack.password(name))

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
        environment.setenv("FLIGHTLINE_USERS", USERS)
        environment.setenv("FLIGHTLINE_MODELS", str(add_models(folder / "models")))
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


def logged_in(played: Played, browser: Browser, user: str = "admin") -> Page:
    """A tab of a browser of its own in which somebody is logged in."""
    tab = browser.new_page(base_url=played.stack.airflow_url, viewport={"width": 1400, "height": 1000})
    tab.goto("/auth/login")
    tab.fill("input[name=username]", user)
    tab.fill("input[name=password]", played.stack.password(user))
    tab.click("button[type=submit]")
    tab.wait_for_url(lambda url: "login" not in url)
    return tab


def add_models(models: Path) -> Path:
    """A folder of models: the package's own, and two that differ from the first in a few lines of model.yaml."""
    shutil.copytree(catalogue.MODELS / UNPLAYED_MODEL, models / UNPLAYED_MODEL)
    edits = {
        loop.MODEL: {
            "prod: person}": APPROVAL,
            "\nmonitoring:": f"\nnotify: [{{kind: webhook, connection: {TOLD}}}]\nmonitoring:",
        },
        LATE_MODEL: {
            "deadline_minutes: 720": "deadline_minutes: 0.4\n  warn_minutes: 0.1",
            "ttl_days: 400": "ttl_days: 40",
        },
        BACKFILLED_MODEL: {
            "first_day: 2025-01-01": f"first_day: {datetime.now(UTC).date() - timedelta(days=BACKFILLED_DAYS)}",
            "  last_day: 2025-12-31": "  #",
            "trials: 20": "trials: 1",
            "threshold: 0.8": "threshold: -1000000",
            "    - {check: drifted": "    # - {check: drifted",
            "    - better_than_linear": "    # - better_than_linear",  # of a few hundred rows nothing is surely better
        },
    }
    for name, changes in edits.items():
        shutil.copytree(catalogue.MODELS / loop.MODEL, models / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (models / name).iterdir():
            text = file.read_text().replace(loop.MODEL, name)
            for old, new in changes.items():
                assert old in text or file.name != "model.yaml", old
                text = text.replace(old, new)
            file.write_text(text)
    return models


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    pytest.fail(f"waited {seconds} s for {what}")
