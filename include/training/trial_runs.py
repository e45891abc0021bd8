"""The trials of a search as nested runs in MLflow: what people compare, and what a killed search goes on from."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from include.lakehouse import decisions
from include.training.algorithms import ALGORITHMS
from include.training.trial import Trial

log = logging.getLogger(__name__)
T = TypeVar("T")

WAITS = (1, 2, 4, 8)
"""Seconds before the next try, beside those that MLflow's client waits by itself."""
KIND = "trial"
"""Tag ``kind`` of their runs."""
LOSS = "validation_loss"
"""Metric: the curve, by rounds."""
MOST_ROUNDS = 1_000_000


Finite = Annotated[float, Field(gt=-1e300, lt=1e300)]
"""MLflow keeps an infinite number as the largest one."""


class _Kept(BaseModel):
    """What parameters and metrics of MLflow, which are texts and numbers, do not hold as it is: the tag ``trial``."""

    model_config = ConfigDict(strict=True, extra="forbid")

    number: int = Field(ge=0)
    params: dict[str, int | float | str]
    asked: dict[str, int | float | str]
    pruned: bool
    folds: tuple[Finite, ...]


class _Figures(BaseModel):
    model_config = ConfigDict(extra="ignore")

    validation: Finite
    seconds: float = Field(ge=0, lt=1e9)


class TrialRuns:
    """A journal whose trials are runs below one run.

    A trial is there once its run has ended; one that was killed in between is deleted when the search goes on. Where
    MLflow does not answer, or breaks off, what was asked is asked again: nothing of it is there twice.

    Whoever can write to MLflow can write such a run, too: one that does not say what a trial says is passed over, and
    that point is fitted again.
    """

    def __init__(self, parent: Run) -> None:
        self._parent, self._client = parent, MlflowClient()

    def known(self) -> Mapping[int, Trial]:
        found: list[Trial] = []
        for run in of(self._client, self._parent):
            if run.info.status == RunStatus.to_string(RunStatus.FINISHED) and (trial := self._read(run)):
                found.append(trial)
        self.tidy()
        # Of two that say they are the same trial, one is none of ours, and nothing says which.
        doubled = {number for number, times in Counter(trial.number for trial in found).items() if times > 1}
        for number in sorted(doubled):
            log.warning("Several runs in MLflow say that they are trial %s: it is fitted again", number)
        return {trial.number: trial for trial in found if trial.number not in doubled}

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
        kept = {name: getattr(trial, name) for name in _Kept.model_fields}
        tag = RunTag("trial", decisions.canonical_json(kept))
        _again(lambda: self._client.log_batch(run_id, metrics=metrics, params=params, tags=[tag]))
        _again(lambda: self._client.set_terminated(run_id, end_time=ended))

    def _read(self, run: Run) -> Trial | None:
        """The trial that a run keeps; None where it does not say what a trial says."""
        history = self._client.get_metric_history(run.info.run_id, LOSS)
        try:
            kept = _Kept.model_validate_json(run.data.tags.get("trial", ""))
            figures = _Figures.model_validate(run.data.metrics)
            curve = TypeAdapter(list[Finite]).validate_python([point.value for point in history])
        except ValidationError as error:
            log.warning("Run %s in MLflow is no trial (%s): it is passed over", run.info.run_id, _first(error))
            return None
        if not self._fits(kept):
            log.warning("Run %s in MLflow has not the parameters that it was asked for: passed over", run.info.run_id)
            return None
        steps = (point.step for point in history)
        told = {name: getattr(kept, name) for name in _Kept.model_fields}
        return Trial(**told, **figures.model_dump(), curve=tuple(sorted(zip(steps, curve, strict=True))))

    def _fits(self, kept: _Kept) -> bool:
        """Whether its parameters are those that were asked for, and but for these the rounds that it came to."""
        same = {name: kept.params.get(name) for name in kept.asked}
        found = {name: value for name, value in kept.params.items() if name not in kept.asked}
        algorithm = ALGORITHMS.get(self._parent.data.tags.get("algorithm", ""))
        named = len(found) <= 1 if algorithm is None else found.keys() <= {algorithm.rounds}
        counted = all(isinstance(value, int) and 0 < value <= MOST_ROUNDS for value in found.values())
        return named and counted and decisions.canonical_json(same) == decisions.canonical_json(kept.asked)


def of(client: MlflowClient, parent: Run) -> list[Run]:
    """The runs of the trials below a run."""
    where = f"tags.kind = '{KIND}' AND tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
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


def _first(error: ValidationError) -> str:
    """What is wrong first, without what was written there."""
    found = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'tag trial'}: {found['type']}"
