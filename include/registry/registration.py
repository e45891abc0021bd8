"""What was registered is what is loaded.

The training run hands on what its model's files were before they left it (`tracking.log_model`). With the version's
tags this is recorded in `decisions`, which no request to MLflow can change. Whoever loads a version asks here: its
files are fetched into a folder of ours, one by one, each is held against the record, and that copy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from include.core.errors import DataError, TamperedError
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.registry import versions
from include.registry.versions import Predictor, Version
from include.training import manifest, stored_files
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
    _require_fitted(run, candidate)
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


def _require_fitted(run: Run, candidate: RunRef) -> None:
    """Refuse what no training has recorded as its own: a task may be handed anything.

    Raises:
        TamperedError: so it is.
    """
    fitted = decisions.history(run.lake, run.spec.name, Kind.TRAINING, subject=f"model {candidate.model_id}")
    if not any(item.inputs["files"] == candidate.files for item in fitted):
        raise TamperedError(
            f"model {candidate.model_id} is not one that a training has recorded with these files",
            where=run.spec.name,
            fix=f"Run {run.spec.name}.request_training",
        )


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
    recorded = of(spec, lake, version).files
    return stored_files.fetch(version.uri, recorded, scratch, lambda name, how: _refused(spec, version, name, how))


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


def _refused(spec: ModelSpec, version: Version, name: str, how: str) -> DataError:
    return TamperedError(
        f"{name} of version {version.version} is {how}: it is not what was registered",
        where=spec.name,
        fix="Nothing of it was loaded. Find out who wrote to MLflow's artifacts, and put the file back; or roll back",
    )
