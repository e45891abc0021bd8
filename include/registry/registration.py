"""What was registered is what is loaded.

The training run hands on what its model's files were before they left it (`tracking.log_model`). With the version's
tags this is recorded in `decisions`, which no request to MLflow can change. Whoever loads a version asks here: its
files are fetched into a folder of ours, one by one, each is held against the record, and that copy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from include.core.errors import DataError, TamperedError
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.registry import versions
from include.registry.versions import Predictor, Version
from include.training import manifest
from include.training.manifest import Manifest
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef

_SUBJECT = "version "


@dataclass(frozen=True)
class Registration:
    """What is known of a version from outside of MLflow."""

    digest: str
    files: Manifest
    tags: Mapping[str, str]


def register(run: Run, candidate: RunRef, ref: TrainingSetRef) -> Version:
    """Make the run's model a version, and record what it is; repeated, the same version.

    No number is given twice: what was served, measured and decided names a version by it.
    """
    digest, facts = manifest.digest(candidate.files), versions.facts(run.spec, candidate, ref)
    registered = decisions.history(run.lake, run.spec.name, Kind.REGISTRATION)
    given = {item.subject for item in registered if item.inputs["digest"] != digest}
    version = versions.create(run.spec, candidate, ref, lambda made: subject(made) in given)
    known_at = datetime.fromisoformat(ref.known_at)
    run.decide(
        Kind.REGISTRATION,
        Outcome.REGISTERED,
        [],
        subject=subject(version),
        at=known_at,
        about=known_at,
        actor=Actor.TRAINING,
        inputs=vars(Registration(digest, candidate.files, facts)),
    )
    return version


def subject(version: Version) -> str:
    """What decisions on a version are about."""
    return subject_of(version.version)


def subject_of(number: str) -> str:
    return f"{_SUBJECT}{number}"


def all_of(spec: ModelSpec, lake: Lakehouse) -> dict[str, Registration]:
    """The record of every version that there ever was, by its number, oldest first."""
    made = sorted(decisions.history(lake, spec.name, Kind.REGISTRATION), key=lambda item: item.recorded_at)
    found = {item.subject.removeprefix(_SUBJECT): Registration(**item.inputs) for item in made}
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def of(spec: ModelSpec, lake: Lakehouse, version: Version) -> Registration:
    """The record of a version.

    Raises:
        TamperedError: there is none, or a tag is not the one that was registered; the message names it.
    """
    mine = decisions.history(lake, spec.name, Kind.REGISTRATION, subject=subject(version))
    if not mine:
        raise TamperedError(
            f"what the files of version {version.version} have to be is not recorded: it was registered by hand",
            where=spec.name,
            fix=f"Only {spec.name}.train_model registers what can be loaded: run request_training",
        )
    recorded = Registration(**max(mine, key=lambda item: item.recorded_at).inputs)
    for name, value in recorded.tags.items():
        if version.tags.get(name) != value:
            raise TamperedError(
                f"tag {name} of version {version.version} is not what was registered",
                where=spec.name,
                fix=f"Set it back in MLflow to {value!r}, and find out who changed it",
            )
    return recorded


def fetch(spec: ModelSpec, lake: Lakehouse, version: Version, scratch: Path) -> Path:
    """Copy a version's files into a new folder below ``scratch``, each as it was registered.

    Args:
        scratch: of the caller alone: what lies there afterwards is loaded.

    Raises:
        TamperedError: a file is changed, missing or additional, as the message says; or as `of`.
    """
    recorded, stored = of(spec, lake, version).files, _Stored(version)
    found = stored.sizes(recorded)
    for name in sorted({*recorded, *found}):
        if name not in recorded or name not in found or found[name] != recorded[name]["size"]:
            how = "additional" if name not in recorded else "missing" if name not in found else "changed"
            raise _refused(spec, version, name, how)
    folder = scratch / "model"
    folder.mkdir()
    for name in recorded:
        if manifest.of_file(stored.download(name, folder)) != recorded[name]:
            raise _refused(spec, version, name, "changed")
    return folder


def predictor(spec: ModelSpec, lake: Lakehouse, version: Version) -> Predictor:
    """Load a version as it was registered; errors as `fetch`."""
    with TemporaryDirectory(prefix="flightline-") as scratch:
        return versions.predictor(spec, version, fetch(spec, lake, version, Path(scratch)))


def predict(spec: ModelSpec, lake: Lakehouse, version: Version, rows: pd.DataFrame) -> Floats:
    """One prediction a row; the rows have the version's features among their columns. Errors as `fetch`."""
    return predictor(spec, lake, version)(rows[list(version.features)])


def require(spec: ModelSpec, lake: Lakehouse, version: Version) -> None:
    """Refuse a version that is not as it was registered; errors as `fetch`."""
    with TemporaryDirectory(prefix="flightline-") as scratch:
        fetch(spec, lake, version, Path(scratch))


class _Stored:
    """The files of a version in MLflow's artifact store."""

    def __init__(self, version: Version) -> None:
        self._repository: Any = None
        try:
            self._repository = get_artifact_repository(version.uri)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise

    def sizes(self, expected: Manifest) -> dict[str, int | None]:
        """The size of each file, by path. Of a folder in which none is expected its own name, without a size.

        Where no server stands before the files, MLflow's own ``load_model`` leaves a note among them: no part of them.
        """
        if self._repository is None:
            return {}
        parents = {folder for name in expected for folder in PurePosixPath(name).parents}
        folders = {"" if folder == PurePosixPath() else str(folder) for folder in parents}
        listed = [item for folder in folders for item in self._repository.list_artifacts(folder)]
        ignored = folders | {REGISTERED_MODEL_META_FILE_NAME}
        return {item.path: item.file_size for item in listed if item.path not in ignored}

    def download(self, name: str, folder: Path) -> Path:
        return Path(self._repository.download_artifacts(name, dst_path=str(folder)))


def _refused(spec: ModelSpec, version: Version, name: str, how: str) -> DataError:
    return TamperedError(
        f"{name} of version {version.version} is {how}: it is not what was registered",
        where=spec.name,
        fix="Nothing of it was loaded. Find out who wrote to MLflow's artifacts, and put the file back; or roll back",
    )
