"""Versions of a model in MLflow's registry.

A version's stage is one of None, Staging, Production, Archived (was in production once) and Rejected, held as its tag
``stage`` and, for the two that others look up, as the aliases ``staging`` and ``production``. The alias decides; the
tag is for people.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)

from include.core.category import Category
from include.core.errors import DataError, UsageError
from include.core.spec import ModelSpec
from include.core.text import in_markdown, is_version, on_one_line
from include.evaluation import metrics
from include.evaluation.metrics import METRICS, Floats
from include.features import fitted_categories
from include.training import algorithms, splits
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef

Stage = Literal["None", "Staging", "Production", "Archived", "Rejected"]
STAGING, PRODUCTION = "staging", "production"
LARGEST = 2**31 - 1
"""Number of a version that MLflow's database holds."""
Predictor = Callable[[pd.DataFrame], Floats]
"""From rows of a version's features to one prediction a row, by the task's convention (`evaluation.metrics`)."""
DETAILS = "details"
"""The tag that holds, as JSON, those facts that code reads and people do not: they stand in nobody's way then."""
_FOR_CODE = (
    *("split", "training_set.version", "data.version", "features", "categories"),
    *("feature_service", "feature_table"),
)
_NOTES = "\n\n---\n"
"""Stands between what a version is described by and what the gates said of it."""


@dataclass(frozen=True)
class Version:
    """One version as the registry holds it."""

    model: str
    version: str
    stage: Stage
    description: str
    run_id: str
    """Of the MLflow run that made it."""
    tags: Mapping[str, str]
    """With those in the tag `DETAILS`. What was set at the registration is in the lakehouse, too (`registration`)."""
    created_at: datetime
    """By the clock, UTC."""

    @property
    def uri(self) -> str:
        return f"models:/{self.model}/{self.version}"

    @property
    def feature_service(self) -> str:
        return self.tag("feature_service")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that it was fitted to, in its order."""
        return tuple(json.loads(self.tag("features")))

    @property
    def categories(self) -> dict[str, Category]:
        """Those of its features that are codes, as they were declared when it was fitted."""
        return fitted_categories.read(self.tag("categories"))

    @property
    def known_at(self) -> datetime:
        """The moment, UTC, up to which it knew labels; of one whose tag says none, by hand, when it was registered."""
        try:
            told = datetime.fromisoformat(self.tags.get("known_at", ""))
            return told.astimezone(UTC) if told.tzinfo else self.created_at
        except (ValueError, OverflowError):
            return self.created_at

    @property
    def own_description(self) -> str:
        """The description without what the gates have said."""
        return self.description.partition(_NOTES)[0].strip()

    def tag(self, name: str) -> str:
        """The value of a tag.

        Raises:
            DataError: the version was not registered by this package, or the tag was removed.
        """
        if name not in self.tags:
            raise DataError(f"version {self.version} has no tag {name!r}", where=self.model, fix="Set it in MLflow")
        return self.tags[name]


def create(
    spec: ModelSpec, run_ref: RunRef, ref: TrainingSetRef, is_taken: Callable[[Version], bool] = lambda _: False
) -> Version:
    """Make the run's model a version of the registered model ``<model>``; repeated, the same version.

    Nothing loads it before `registration.register` has recorded what it is.

    Args:
        is_taken: whether another model had the version's number: MLflow counts from 1 again once the registered model
            was deleted. Such a number is passed over.
    """
    client = MlflowClient()
    _ensure_model(client, spec)
    found = client.search_model_versions(f"name = '{spec.name}' and run_id = '{run_ref.mlflow_run_id}'")
    made = sorted((_version(item) for item in found), key=lambda version: int(version.version))
    while True:
        for version in made:
            if not is_taken(version):
                return version
            client.delete_model_version(spec.name, version.version)
        created = client.create_model_version(
            spec.name,
            source=run_ref.model_uri,
            run_id=run_ref.mlflow_run_id,
            model_id=run_ref.model_id,
            description=describe(spec, run_ref, ref),
            tags={"stage": "None", **_as_tags(facts(spec, run_ref, ref))},
        )
        made = [_version(created)]


def get(spec: ModelSpec, version: str | int) -> Version:
    """One version.

    Raises:
        DataError: the registry has no such version.
    """
    if found := find(spec, version):
        return found
    raise UsageError(f"there is no version {version}", where=spec.name, fix="Look up its versions in MLflow")


def find(spec: ModelSpec, version: str | int) -> Version | None:
    """One version; None if there is none, or no more."""
    if not is_version(version) or int(version) > LARGEST:
        return None
    try:
        return _version(MlflowClient().get_model_version(spec.name, str(version)))
    except MlflowException as error:
        if error.error_code not in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            raise
        return None


def production(spec: ModelSpec) -> Version | None:
    """The version that the alias ``production`` names now; None if there is none.

    Which one is in production, the history says (`promotion.in_production`): the alias repeats it, for others.
    """
    return by_alias(spec, PRODUCTION)


def by_alias(spec: ModelSpec, alias: str) -> Version | None:
    """The version that an alias names now; None if there is none, or no such model yet."""
    named = number_of(spec, alias)
    return find(spec, named) if named else None


def number_of(spec: ModelSpec, alias: str) -> str | None:
    """The number that an alias names now."""
    try:
        found = MlflowClient().get_registered_model(spec.name).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None
    return str(found) if found else None


def owner(spec: ModelSpec) -> str:
    """Who answers for the registered model, by its tag; empty where it says nobody."""
    return str(MlflowClient().get_registered_model(spec.name).tags.get("owner", ""))


def in_stage(spec: ModelSpec, stage: Stage) -> list[Version]:
    """Versions whose tag ``stage`` has that value, oldest first."""
    found = MlflowClient().search_model_versions(f"name = '{spec.name}' and tag.stage = '{stage}'")
    return sorted((_version(item) for item in found), key=lambda item: int(item.version))


def set_stage(spec: ModelSpec, version: str | int, stage: Stage) -> Version:
    """Put a version into a stage: its tag, and the alias ``staging``; the former one goes back to None.

    The alias ``production`` is moved by `registry.promotion` alone.

    Raises:
        DataError: no such version or stage, Production is asked for, or the version is in production.
    """
    if stage not in get_args(Stage):
        raise DataError(f"there is no stage {stage!r}", fix=f"Use one of {', '.join(get_args(Stage))}")
    asked = get(spec, version)
    serving = production(spec)
    if stage == "Production" or (serving and serving.version == asked.version):
        raise DataError(
            f"version {asked.version} cannot be set to {stage}: production changes by promotion or roll-back",
            where=spec.name,
            fix=f"Use {spec.name}.promote_model or {spec.name}.roll_back_model",
        )
    client = MlflowClient()
    staged = by_alias(spec, STAGING)
    if stage == "Staging":
        client.set_registered_model_alias(spec.name, STAGING, asked.version)
        if staged and staged.version != asked.version and staged.stage == "Staging":
            client.set_model_version_tag(spec.name, staged.version, "stage", "None")
    elif staged and staged.version == asked.version:
        client.delete_registered_model_alias(spec.name, STAGING)
    client.set_model_version_tag(spec.name, asked.version, "stage", stage)
    return get(spec, asked.version)


def note(spec: ModelSpec, version: str, title: str, text: str, tags: Mapping[str, str]) -> None:
    """Say something of a version to whoever looks at it in MLflow: a line of its description, and tags.

    Args:
        title: begins the line; said again, the line of that title is replaced.
        text: may hold what others wrote: it is shown as text, and makes no line of its own.
    """
    client, found = MlflowClient(), get(spec, version)
    for name, value in tags.items():
        client.set_model_version_tag(spec.name, version, name, value)
    body, _, notes = found.description.partition(_NOTES)
    lines = [line for line in notes.splitlines() if line and not line.startswith(f"- **{title}:**")]
    lines.append(f"- **{title}:** {in_markdown(on_one_line(text))}")
    client.update_model_version(spec.name, version, description=body + _NOTES + "\n".join(lines))


def predictor(spec: ModelSpec, version: Version, folder: Path) -> Predictor:
    """Load a version by its algorithm, to predict with it.

    Args:
        folder: where `registration.fetch` has put its files.

    Raises:
        DataError: model.yaml gives its categories other codes than it was fitted to.
    """
    algorithm, categories = version.tag("algorithm"), version.categories
    fitted = fitted_categories.read_all(version.tag("categories"))
    fitted_categories.require_codes_kept(spec, fitted, version.features, version.version)
    model = algorithms.load(spec, algorithm, folder)
    return lambda rows: algorithms.predict(spec, algorithm, model, fitted_categories.known(categories, rows))


def held_out(spec: ModelSpec, version: Version, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows were test rows for a version, by the split that it was fitted with."""
    return splits.held_out(spec, version.tag("split"), rows)


def describe(spec: ModelSpec, run_ref: RunRef, ref: TrainingSetRef) -> str:
    """What a person should know of a version before anything else."""
    measured = run_ref.metrics
    drifted = f" ({', '.join(ref.drifted)} drifted and weigh more)" if ref.drifted else ""
    faulty = f" Nothing was learned from {', '.join(ref.faulty)}, which have faults." if ref.faulty else ""
    text = (
        f"{spec.training.algorithm}, {run_ref.run_name}. Fitted to {ref.train_rows + ref.validation_rows:,} rows of "
        f"training set {ref.training_set}: {spec.grain}s {ref.first_partition} to {ref.last_partition}{drifted}; "
        f"{len(ref.features)} features of {ref.feature_service}.{faulty}\n\n"
        + "".join(f"{said}.\n\n" for said in ref.concept_drifts)
        + f"On {ref.test_rows:,} test rows: {_figures(spec, measured, '')}."
    )
    if f"drifted_{spec.metric}" in measured:
        figures = _figures(spec, measured, "drifted_")
        text += f" On the {measured['drifted_rows']:,.0f} of them in drifted windows: {figures}."
    return f"{text} Its card and its figures are among the artifacts of its run in MLflow."


def facts(spec: ModelSpec, run_ref: RunRef, ref: TrainingSetRef) -> dict[str, str]:
    """The tags that never change: what it was made of, how it is loaded, what was measured."""
    measured = {prefix + name for name in (spec.metric, *METRICS) for prefix in ("", "drifted_")}
    return {
        "candidate": run_ref.run_name,
        "algorithm": spec.training.algorithm,
        "task": spec.task.value,
        "metric": spec.metric,
        "split": ref.split,
        "training_set": ref.training_set,
        "training_set.version": str(ref.table_version),
        "known_at": ref.known_at,
        "data.version": ref.data_version,
        "features": json.dumps(list(ref.features)),
        "categories": ref.categories,
        "feature_service": ref.feature_service,
        "feature_table": ref.feature_table,
        **{name: f"{value:.6g}" for name, value in run_ref.metrics.items() if name in measured},
    }


def _as_tags(told: Mapping[str, str]) -> dict[str, str]:
    """Facts as a version has them: a tag for each that people read, one for all others."""
    details = {name: told[name] for name in _FOR_CODE}
    return {name: value for name, value in told.items() if name not in details} | {DETAILS: json.dumps(details)}


def _told_by(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, with the facts of that one; a tag that somebody set beside it is taken, and so found to differ.

    Of what was written by hand and is no text by name nothing is taken: whoever needs it says that it is gone.
    """
    try:
        details = json.loads(tags.get(DETAILS, "{}"))
    except (ValueError, RecursionError):
        details = {}
    named = details if isinstance(details, dict) else {}
    return {**{name: value for name, value in named.items() if isinstance(value, str)}, **tags}


def _figures(spec: ModelSpec, measured: Mapping[str, float], prefix: str) -> str:
    """All metrics of the task that were measured, the model's own first."""
    found = [(item, prefix + name) for name, item in metrics.of_task(spec).items()]
    return ", ".join(f"{item.title} {item.shown(measured[name])}" for item, name in found if name in measured)


def _ensure_model(client: MlflowClient, spec: ModelSpec) -> None:
    try:
        client.create_registered_model(spec.name, tags={"owner": spec.owner}, description=spec.description)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _version(found: ModelVersion) -> Version:
    stages: tuple[Stage, ...] = get_args(Stage)
    tag = found.tags.get("stage")
    return Version(
        model=found.name,
        version=str(found.version),
        stage=next((stage for stage in stages if stage == tag), "None"),
        description=found.description or "",
        run_id=found.run_id or "",
        tags=_told_by(found.tags),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )
