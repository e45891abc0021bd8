"""Which versions learned from a partition that is withdrawn: a fact about them that stays, also once it is back.

The record of their registration says it (`registration`). What MLflow has of it is for people, and is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlflow.exceptions import MlflowException

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse.schemas import FEATURES, PARTITION, TRAINING_SET, TRAINING_SETS
from include.lakehouse.tables import Lakehouse
from include.registry import registration, versions
from include.registry.versions import Version
from include.training.training_set import TrainingSetRef

TAG = "withdrawn"
"""Of a version: the keys of the partitions of its training set that were withdrawn afterwards."""
Learned = Mapping[str, set[str]]
"""By the number of a version, oldest first: the keys of the partitions of its training set."""


def learned_from(spec: ModelSpec, lake: Lakehouse, key: str) -> Learned:
    """The versions whose training set has rows of a partition; those that were deleted in MLflow, too."""
    made = {
        number: _partitions(spec, lake, known.tags["training_set"], int(known.tags["training_set.version"]))
        for number, known in registration.all_of(spec, lake).items()
    }
    return {number: partitions for number, partitions in made.items() if key in partitions}


def name_all(spec: ModelSpec, key: str, learned: Learned) -> None:
    """Say so in MLflow of each version that learned from a partition.

    Raises:
        DataError: MLflow did not take it of some; it is said of all others.
    """
    refused: dict[str, MlflowException] = {}
    for number, partitions in learned.items():
        try:
            _name(spec, number, partitions, [key])
        except MlflowException as error:
            refused[number] = error
    if refused:
        raise DataError(
            f"MLflow did not take the note on version {', '.join(refused)}: {next(iter(refused.values()))}",
            where=spec.name,
            fix="The decisions name it. Look at the version in MLflow, and clear this task",
        )


def name_one(spec: ModelSpec, lake: Lakehouse, version: Version, ref: TrainingSetRef) -> None:
    """Say so of a version that is registered after partitions of its training set were withdrawn."""
    there = lake.rows_by_partition(FEATURES.of(spec))
    partitions = _partitions(spec, lake, ref.training_set, ref.table_version)
    if gone := [key for key in partitions if not there.get(key)]:
        _name(spec, version.version, partitions, gone)


def _partitions(spec: ModelSpec, lake: Lakehouse, training_set: str, table_version: int) -> set[str]:
    where = [(TRAINING_SET, "=", training_set)]
    stored = lake.read_as_it_was(TRAINING_SETS.of(spec), table_version, where=where)
    return set(stored[PARTITION].unique().to_pylist())


def _name(spec: ModelSpec, number: str, partitions: set[str], keys: Iterable[str]) -> None:
    if found := versions.find(spec, number):
        known = partitions.intersection(found.tags.get(TAG, "").split(", "))
        text = ", ".join(sorted({*known, *keys}))
        versions.note(spec, number, "Withdrawn", f"learned from rows of {text}, withdrawn since", {TAG: text})
