"""Which versions learned from a partition that is withdrawn: a fact about them that stays, also once it is back."""

from __future__ import annotations

from collections.abc import Iterable

from include.core.spec import ModelSpec
from include.lakehouse.schemas import FEATURES, PARTITION, TRAINING_SET, TRAINING_SETS
from include.lakehouse.tables import Lakehouse
from include.registry import versions
from include.registry.versions import Version

TAG = "withdrawn"
"""Of a version: the keys of the partitions of its training set that were withdrawn afterwards."""


def name_all(spec: ModelSpec, lake: Lakehouse, key: str) -> list[Version]:
    """Say so of every version whose training set has rows of a partition; those versions, oldest first."""
    found = [version for version in versions.all_of(spec) if key in _partitions(spec, lake, version)]
    for version in found:
        _name(spec, version, [key])
    return found


def name_one(spec: ModelSpec, lake: Lakehouse, version: Version) -> None:
    """Say so of a version that is registered after partitions of its training set were withdrawn."""
    there = lake.rows_by_partition(FEATURES.of(spec))
    if gone := [key for key in sorted(_partitions(spec, lake, version)) if not there.get(key)]:
        _name(spec, version, gone)


def _partitions(spec: ModelSpec, lake: Lakehouse, version: Version) -> set[str]:
    """Those of a version's training set; none of one that somebody registered by hand."""
    if not {"training_set", "training_set.version"} <= set(version.tags):
        return set()
    where = [(TRAINING_SET, "=", version.tag("training_set"))]
    stored = lake.read_as_it_was(TRAINING_SETS.of(spec), int(version.tag("training_set.version")), where=where)
    return set(stored[PARTITION].unique().to_pylist())


def _name(spec: ModelSpec, version: Version, keys: Iterable[str]) -> None:
    known = [key for key in version.tags.get(TAG, "").split(", ") if key]
    text = ", ".join(sorted({*known, *keys}))
    versions.note(spec, version.version, "Withdrawn", f"learned from rows of {text}, withdrawn since", {TAG: text})
