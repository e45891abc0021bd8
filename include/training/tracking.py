"""One MLflow run per fitted candidate, in the experiment ``<model>/training``.

All calls go to the tracking server that the environment names (MLFLOW_TRACKING_URI).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.filesystem_dataset_source import FileSystemDatasetSource
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import LoggedModelOutput, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from include.core.errors import DataError
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome
from include.lakehouse.tables import Lakehouse
from include.training import (
    algorithms,
    manifest,
    own_listener,  # noqa: F401  (MLflow finds it then)
    trial_runs,
)
from include.training.algorithms import Fitted
from include.training.card import FILE as CARD
from include.training.manifest import Manifest
from include.training.search import SearchResult
from include.training.training_set import TrainingSetRef

REQUIREMENTS = ("mlflow", "numpy", "pandas")
"""Of every model, beside those of its algorithm."""
EXAMPLE_ROWS = 5
RULES = "training.rules"
"""Tag: task and metric, and a digest of the section ``training`` of model.yaml."""


@dataclass(frozen=True)
class RunRef:
    """Names a finished training run and repeats what was measured."""

    mlflow_run_id: str
    run_name: str
    model_id: str
    """The run's logged model; ``models:/<model_id>`` loads it."""
    metrics: Mapping[str, float]
    files: Manifest
    """The model's, as they were before they left the process that fitted it."""

    @property
    def model_uri(self) -> str:
        return f"models:/{self.model_id}"


def experiment_id(spec: ModelSpec) -> str:
    """The experiment that baseline and tuned candidates share; made when it is missing."""
    client, name = MlflowClient(), f"{spec.name}/training"
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, tags={"model": spec.name, "owner": spec.owner}))
        except MlflowException as error:
            # Two candidates may start at once: the other one has made it.
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise DataError(f"experiment {name!r} is deleted in MLflow", fix="Restore it in MLflow's web page")
    return str(found.experiment_id)


def finished(spec: ModelSpec, lake: Lakehouse, run_name: str, ref: TrainingSetRef, run_id: str) -> RunRef | None:
    """What an earlier attempt of the same Airflow run has finished on the same data.

    Runs of that name that were fitted to other data, or did not record their files, are deleted; not those that are
    versions by now, which may be in production, nor one that did not finish and can go on (`interrupted`).
    """
    client, files = MlflowClient(), _recorded_files(spec, lake, ref)
    kept: RunRef | None = None
    goes_on = interrupted(spec, run_name, ref, run_id)
    for run in _attempts(client, spec, run_name, run_id):
        if run.info.run_id == goes_on:
            continue
        same_data = all(run.data.tags.get(key) == value for key, value in _data_tags(ref).items())
        logged = next((model_id for model_id in _model_ids(run) if model_id in files), None)
        if kept is None and run.info.status == "FINISHED" and same_data and logged:
            kept = RunRef(run.info.run_id, run_name, logged, dict(run.data.metrics), files[logged])
        elif not client.search_model_versions(f"run_id = '{run.info.run_id}'", max_results=1):
            for trial in trial_runs.of(client, run):
                client.delete_run(trial.info.run_id)
            client.delete_run(run.info.run_id)
    return kept


def interrupted(spec: ModelSpec, run_name: str, ref: TrainingSetRef, run_id: str) -> str | None:
    """The run of an earlier attempt of the same Airflow run that did not finish, on the same data by the same rules."""
    wanted = {**_data_tags(ref), RULES: _rules(spec)}
    for run in _attempts(MlflowClient(), spec, run_name, run_id):
        if run.info.status != "FINISHED" and wanted.items() <= run.data.tags.items():
            return str(run.info.run_id)
    return None


@contextmanager
def started(
    spec: ModelSpec, run_name: str, ref: TrainingSetRef, run_id: str, origin: str
) -> Iterator[mlflow.ActiveRun]:
    """An open MLflow run with its tags; it ends FAILED if the block raises. One that was interrupted goes on.

    Args:
        run_name: what kind of a candidate it is. In MLflow the run is named by training set, kind and model.
        run_id: of the Airflow run.
        origin: names of the delivered files.
    """
    chosen = {"task": spec.task.value, "metric": spec.metric, "algorithm": spec.training.algorithm}
    tags = {
        "kind": run_name,
        "airflow.run_id": run_id,
        "model": spec.name,
        "data.origin": origin,
        RULES: _rules(spec),
        **chosen,
        **_data_tags(ref),
    }
    if ref.suspected:
        tags["leakage.suspected"] = ref.suspected
    if sha := _git_sha():
        tags["git.sha"] = sha
    title = f"{ref.training_set} {run_name} {spec.name}"  # MLflow's list cuts it
    former = interrupted(spec, run_name, ref, run_id)
    with mlflow.start_run(former, experiment_id=experiment_id(spec), run_name=title, tags=tags) as run:
        yield run


def log_dataset(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, frame: pd.DataFrame) -> None:
    """Name the training set, with the table version that holds it, as the run's input."""
    name = spec.table("training_sets")
    dataset = from_pandas(
        frame[[*ref.features, spec.target]],
        source=_TableSource(lake.uri(name)),
        targets=spec.target,
        name=name,
        digest=f"{ref.training_set}@{ref.table_version}"[:36],
    )
    mlflow.log_input(dataset, context="training")


def log_params(ref: TrainingSetRef, fitted: Fitted) -> None:
    """Log the hyperparameters, and which features it was fitted to."""
    mlflow.log_params({**fitted.params, "feature_service": ref.feature_service, "features": len(ref.features)})


def log_search(found: SearchResult) -> None:
    """How the search ended; its trials are runs of their own (`trial_runs`)."""
    mlflow.log_metrics({"search_trials": len(found.trials), "best_trial": found.best.number})
    mlflow.set_tag("search.ended_by", found.ended_by)


def log_model(
    spec: ModelSpec,
    lake: Lakehouse,
    ref: TrainingSetRef,
    run: Run,
    fitted: Fitted,
    features: pd.DataFrame,
    *,
    candidate: str,
    measured: Mapping[str, float],
    card: str,
) -> tuple[str, Manifest]:
    """Log the fitted model by its algorithm's flavor; its id, and what its files were before they left this process.

    That is recorded in the lakehouse: whoever changes a file in MLflow later does not change what was fitted. MLflow's
    ``log_model`` would hand in the files' names only once they are stored.

    The signature has float64 features only, since MLflow refuses a missing value in an integer column.
    The requirements are given because MLflow would find them by loading the model in another process.

    Args:
        features: of some rows, as an example of the input.
        measured: the metrics of the candidate, which are recorded, too.
        card: the page that says what it is, which is one of its files.
    """
    algorithm, client = algorithms.of(spec), MlflowClient()
    metadata = {
        "model": spec.name,
        "target": spec.target,
        "task": spec.task.value,
        "algorithm": spec.training.algorithm,
        "features": list(ref.features),
        "categories": json.loads(ref.categories),
        "feature_service": ref.feature_service,
        "training_set": ref.training_set,
        "data_version": ref.data_version,
        "feature_table": ref.feature_table,
        "params": fitted.params,
        "seed": spec.training.seed,
    }
    requirements = [f"{package}=={installed(package)}" for package in (*REQUIREMENTS, *algorithm.requirements)]
    run_id, example = run.info.run_id, features.head(EXAMPLE_ROWS)
    logged = mlflow.initialize_logged_model("model", source_run_id=run_id, params=client.get_run(run_id).data.params)
    named = {"artifact_path": logged.artifact_location, "run_id": run_id, "model_id": logged.model_id}
    described = Model(**named, model_uuid=logged.model_id, metadata=metadata)
    with TemporaryDirectory(prefix="flightline-") as scratch:
        folder = Path(scratch, "model")
        algorithm.save(fitted.model, spec.task, example, folder, mlflow_model=described, pip_requirements=requirements)
        (folder / CARD).write_text(card, encoding="utf-8")
        files = manifest.of(folder)
        client.log_model_artifacts(logged.model_id, str(folder))
    mlflow.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    kept = RunRef(run_id, candidate, logged.model_id, dict(measured), files)
    record_fitted(spec, lake, ref, kept, run.data.tags["airflow.run_id"])
    return logged.model_id, files


def record_fitted(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, fitted: RunRef, run_id: str) -> None:
    """Record what a training has fitted, where nobody who writes to MLflow changes it.

    Args:
        run_id: of the Airflow run.
    """
    decisions.record(
        lake,
        spec,
        kind=Kind.TRAINING,
        subject=f"model {fitted.model_id}",
        outcome=Outcome.FITTED,
        reasons=[],
        inputs={
            "candidate": fitted.run_name,
            "measured": fitted.metrics,
            "model_id": fitted.model_id,
            "files": fitted.files,
        },
        decided_at=datetime.fromisoformat(ref.known_at),
        actor=Actor.TRAINING,
        policy_hash=decisions.policy_hash(spec.training),
        run_id=run_id,
    )


class _TableSource(FileSystemDatasetSource):
    """The URI of a Delta table. (MLflow's own Delta source needs Spark.)"""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @property
    def uri(self) -> str:
        return self._uri

    @staticmethod
    def _get_source_type() -> str:
        return "delta_table_uri"

    def load(self, dst_path: str | None = None) -> str:
        return self._uri

    @staticmethod
    def _can_resolve(raw_source: object) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: object) -> _TableSource:
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, str]:
        return {"uri": self._uri}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> _TableSource:
        return cls(source_dict["uri"])


def _data_tags(ref: TrainingSetRef) -> dict[str, str]:
    return {
        "training_set": ref.training_set,
        "data.version": ref.data_version,
        "feature_service": ref.feature_service,
        "feature_table": ref.feature_table,
    }


def _rules(spec: ModelSpec) -> str:
    """What decides on the course of a training, beside the data: trials by another metric are none of its own."""
    return f"{spec.task} {spec.metric} {decisions.policy_hash(spec.training)}"


def _attempts(client: MlflowClient, spec: ModelSpec, run_name: str, run_id: str) -> list[Run]:
    """The runs of that name that an Airflow run has begun."""
    where = f"tags.`airflow.run_id` = '{run_id}' AND tags.kind = '{run_name}'"
    return list(client.search_runs([experiment_id(spec)], filter_string=where))


def _recorded_files(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef) -> Mapping[str, Manifest]:
    """By the id of a logged model; of those that knew as much."""
    since = datetime.fromisoformat(ref.known_at)
    fitted = decisions.history(lake, spec.name, Kind.TRAINING, since=since)
    return {str(item.inputs["model_id"]): item.inputs["files"] for item in fitted}


def _model_ids(run: Run) -> list[str]:
    return [output.model_id for output in run.outputs.model_outputs] if run.outputs else []


def _git_sha() -> str | None:
    """The commit of the package, or None where there is no git or no repository."""
    git = shutil.which("git")
    if git is None:
        return None
    answer = subprocess.run(
        [git, "-C", str(PROJECT_ROOT), "rev-parse", "--verify", "-q", "HEAD"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return answer.stdout.strip() or None
