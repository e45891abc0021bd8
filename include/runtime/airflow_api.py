"""Airflow's REST API, as a person's browser would use it: log in, trigger, watch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from include.core.errors import StackError
from include.core.listeners import require_ours

FINISHED = ("success", "failed")
TOKEN_SECONDS = 1800
TIMEOUT_SECONDS = 30
"""For one answer."""
PATIENCE_SECONDS = 240
"""Longer than a component that died takes to be back on a busy machine."""


@dataclass(frozen=True)
class Run:
    """One run of a DAG."""

    dag_id: str
    run_id: str
    state: str
    partition: str | None
    ended_at: str
    """ISO 8601; empty while it runs."""
    seconds: float | None
    note: str
    """What its tasks said of it (`plugins/run_notes.py`), or a person; empty while it runs."""

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


class AirflowApi:
    """A logged-in client of one Airflow.

    Args:
        patience: seconds for which an Airflow that does not answer is asked again.
    """

    def __init__(self, url: str, user: str, password: str, patience: float = PATIENCE_SECONDS) -> None:
        self.url = url
        self.patience = patience
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS)
        self._token_since = float("-inf")

    def dag_ids(self, tag: str, **asked: bool) -> list[str]:
        """Args: asked: such as ``paused=True``."""
        found = self._call("GET", "/api/v2/dags", params={"tags": tag, "limit": 100, **asked})
        return sorted(dag["dag_id"] for dag in found["dags"])

    def import_errors(self) -> list[str]:
        return [error["stack_trace"] for error in self._call("GET", "/api/v2/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, *, partition: str | None = None, conf: dict[str, Any] | None = None) -> Run:
        run_id = f"manual__{datetime.now(UTC).isoformat()}"  # named by us: asked for again, it is not a second run
        body = {"dag_run_id": run_id, "logical_date": None, "partition_key": partition, "conf": conf or {}}
        self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body, there_already=True)
        return self.run(dag_id, run_id)

    def backfill(self, dag_id: str, first: str, last: str) -> int:
        """Backfill a range of days, also those that have run already; returns the backfill's id."""
        body = {
            "dag_id": dag_id,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "reprocess_behavior": "completed",
        }
        return int(self._call("POST", "/api/v2/backfills", json=body)["id"])

    def runs_backfill(self, dag_id: str) -> bool:
        """Whether a backfill of the DAG counts as running. The scheduler notes the end of one up to 30 s late."""
        found = self._call("GET", "/api/v2/backfills", params={"dag_id": dag_id, "order_by": "-id"})
        return any(backfill["completed_at"] is None for backfill in found["backfills"])

    def run(self, dag_id: str, run_id: str) -> Run:
        return _run(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}"))

    def runs(self, dag_id: str) -> list[Run]:
        """Runs of a DAG (``~`` for all DAGs), newest first, at most 100."""
        params = {"order_by": "-id", "limit": 100}  # a backfill's run is "after" its partition, whenever it is made
        return [_run(found) for found in self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=params)["dag_runs"]]

    def clear(self, run: Run, task_id: str) -> None:
        """Have a task of a run, and those after it, run again."""
        body = {"dag_run_id": run.run_id, "task_ids": [task_id], "include_downstream": True}
        path = f"/api/v2/dags/{run.dag_id}/clearTaskInstances"
        self._call("POST", path, json={**body, "only_failed": False, "dry_run": False})

    def task_states(self, run: Run) -> dict[str, str]:
        """Task id → state."""
        path = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances"
        return {task["task_id"]: task["state"] for task in self._call("GET", path)["task_instances"]}

    def assets_that_started(self, run: Run) -> set[str]:
        """Names of the assets whose events started a run."""
        path = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/upstreamAssetEvents"
        return {event["name"] for event in self._call("GET", path)["asset_events"]}

    def answer(self, run: Run, task_id: str, option: str, comment: str = "") -> None:
        """Answer a task that waits for a person.

        Raises:
            StackError: it was answered already, or this user is not among those whom it asks.
        """
        path = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        self._call(
            "PATCH", path, json={"chosen_options": [option], "params_input": {"comment": comment} if comment else {}}
        )

    def _call(self, method: str, path: str, *, there_already: bool = False, **arguments: Any) -> Any:
        """Ask, and ask again while Airflow is slow or being started again, if asking twice does no harm.

        Args:
            there_already: what is to be made has a name, so that a second time is refused as a conflict, and is fine.
        """
        harmless = there_already or method != "POST"
        try:
            response = self._send(harmless, method, path, headers=self._headers(), **arguments)
        except httpx.HTTPError as error:
            raise StackError(f"Airflow does not answer: {error}", where=self.url, fix="See `make status`") from None
        if response.is_error and not (there_already and response.status_code == httpx.codes.CONFLICT):
            raise StackError(f"Airflow refuses {method} {path}: {response.text[:300]}", where=self.url)
        return response.json()

    def _send(self, harmless: bool, method: str, path: str, **arguments: Any) -> httpx.Response:
        def is_passing(error: BaseException) -> bool:
            return isinstance(error, httpx.ConnectError) or (harmless and isinstance(error, httpx.HTTPError))

        def send() -> httpx.Response:
            require_ours(self.url, "airflow")
            response = self._client.request(method, path, **arguments)
            return response.raise_for_status() if harmless and response.is_server_error else response

        pauses = wait_exponential(multiplier=self.patience / 400, max=self.patience / 20)
        again = Retrying(
            retry=retry_if_exception(is_passing), stop=stop_after_delay(self.patience), wait=pauses, reraise=True
        )
        return again(send)

    def _headers(self) -> dict[str, str]:
        if time.monotonic() - self._token_since > TOKEN_SECONDS:
            response = self._send(True, "POST", "/auth/token", json=self._login)
            if response.is_error:
                raise StackError(f"Airflow refuses the log-in: {response.text[:200]}", where=self.url)
            self._authorization = {"Authorization": f"Bearer {response.json()['access_token']}"}
            self._token_since = time.monotonic()
        return self._authorization


def _run(found: dict[str, Any]) -> Run:
    return Run(
        dag_id=found["dag_id"],
        run_id=found["dag_run_id"],
        state=found["state"],
        partition=found["partition_key"],
        ended_at=found["end_date"] or "",
        seconds=found["duration"],
        note=found["note"] or "",
    )
