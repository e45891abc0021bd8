"""The trials of a search as nested runs in MLflow: what people compare, and what a killed search goes on from."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from include.lakehouse import decisions
from include.training.trial import Trial

log = logging.getLogger(__name__)
T = TypeVar("T")

WAITS = (1, 2, 4, 8)
"""Seconds before the next try, beside those that MLflow's client waits by itself."""
KIND = "trial"
"""Tag ``kind`` of their runs."""
LOSS = "validation_loss"
"""Metric: the curve, by rounds."""


class TrialRuns:
    """A journal whose trials are runs below one run.

    A trial is there once its run has ended; one that was killed in between is deleted when the search goes on. Where
    MLflow does not answer, or breaks off, what was asked is asked again: nothing of it is there twice.
    """

    def __init__(self, parent: Run) -> None:
        self._parent, self._client = parent, MlflowClient()

    def known(self) -> Mapping[int, Trial]:
        found: dict[int, Trial] = {}
        for run in of(self._client, self._parent):
            if run.info.status == RunStatus.to_string(RunStatus.FINISHED):
                trial = self._read(run)
                found[trial.number] = trial
        self.tidy()
        return found

    def tidy(self) -> None:
        """Delete what is no trial: runs that were not ended, or that MLflow made twice as its answer did not arrive."""
        for run in _again(lambda: of(self._client, self._parent)):
            if run.info.status != RunStatus.to_string(RunStatus.FINISHED):
                self._client.delete_run(run.info.run_id)

    def record(self, trial: Trial) -> None:
        ended = int(time.time() * 1000)
        tags = {"kind": KIND, MLFLOW_PARENT_RUN_ID: self._parent.info.run_id}
        made = _again(
            lambda: self._client.create_run(
                self._parent.info.experiment_id,
                start_time=ended - int(1000 * trial.seconds),
                tags=tags,
                run_name=f"trial {trial.number}" + (" (given up)" if trial.pruned else ""),
            )
        )
        run_id = made.info.run_id
        metrics = [
            Metric("validation", trial.validation, ended, 0),
            Metric("seconds", trial.seconds, ended, 0),
            *(Metric(LOSS, loss, ended, rounds) for rounds, loss in trial.curve),
        ]
        params = [Param(name, str(value)) for name, value in trial.params.items()]
        kept = [RunTag("trial", decisions.canonical_json(_kept(trial)))]
        _again(lambda: self._client.log_batch(run_id, metrics=metrics, params=params, tags=kept))
        _again(lambda: self._client.set_terminated(run_id, end_time=ended))

    def _read(self, run: Run) -> Trial:
        kept: dict[str, Any] = json.loads(run.data.tags["trial"])
        kept["folds"] = tuple(kept["folds"])
        history = self._client.get_metric_history(run.info.run_id, LOSS)
        curve = tuple(sorted((point.step, point.value) for point in history))
        metrics = run.data.metrics
        return Trial(validation=metrics["validation"], seconds=metrics["seconds"], curve=curve, **kept)


def of(client: MlflowClient, parent: Run) -> list[Run]:
    """The runs of the trials below a run."""
    where = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([parent.info.experiment_id], where, max_results=1000, page_token=token)
        found += page
        if not (token := page.token):
            return found


def _again(ask: Callable[[], T]) -> T:
    """Ask MLflow, and again while it is away. Its client does so where it cannot connect, and not where an answer
    breaks off."""
    for seconds in WAITS:
        try:
            return ask()
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(INTERNAL_ERROR):
                raise
            log.warning("MLflow does not answer, next try in %s s: %s", seconds, error)
            time.sleep(seconds)
    return ask()


def _kept(trial: Trial) -> dict[str, Any]:
    """What parameters and metrics of MLflow, which are texts and numbers, do not hold as it is."""
    kept = {"number": trial.number, "params": trial.params, "asked": trial.asked}
    return {**kept, "pruned": trial.pruned, "folds": list(trial.folds)}
