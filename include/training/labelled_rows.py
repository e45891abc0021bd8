"""The rows whose label had arrived by a moment, each at the event time that its features have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from include.core.errors import DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.lakehouse.schemas import ARRIVED_AT, EVENT_TIMESTAMP, FEATURES, LABELS, PARTITION
from include.lakehouse.tables import Lakehouse

MOST_CLASSES = 1_000
"""Each takes its trees, those below the largest label that no row has, too."""


@dataclass(frozen=True)
class LabelledRows:
    """What there is to learn from."""

    rows: pd.DataFrame
    """Entity's key, event_timestamp (UTC), target and partition_key, a row a label."""
    known: int
    """Labels that had arrived; those without features are not among the rows."""


def find(
    spec: ModelSpec, lake: Lakehouse, known_at: datetime, labels_version: int, features_version: int
) -> LabelledRows:
    """Join labels to the event times of their rows.

    A label belongs to the row of its key in its own partition, and to no other that its key had before or after: where
    that row is quarantined, or its batch withdrawn, it is left out.

    Args:
        known_at: labels that arrive later are not seen; with a time zone.

    Raises:
        DataError: no label had arrived, one is null or no class of the task, none has features, or fewer than
            ``training.max_without_features`` allows.
    """
    labels = _arrived(spec, lake, known_at, labels_version)
    named = [*spec.entity.keys, PARTITION]
    times = lake.read(FEATURES.of(spec), columns=[*named, EVENT_TIMESTAMP], version=features_version)
    there = set(pc.unique(times[PARTITION]).to_pylist())
    # Of several moments of an entity in one partition the last one is what its label came after.
    last = times.group_by(named).aggregate([(EVENT_TIMESTAMP, "max")]).to_pandas()
    last = last.rename(columns={f"{EVENT_TIMESTAMP}_max": EVENT_TIMESTAMP})
    last[EVENT_TIMESTAMP] = pd.to_datetime(last[EVENT_TIMESTAMP], utc=True).dt.as_unit("us")
    rows = labels.merge(last, on=named, how="inner", validate="one_to_one")
    of_built = int(labels[PARTITION].isin(there).sum())
    _check_found(spec, len(labels), of_built, len(rows), known_at)
    return LabelledRows(rows[[*spec.entity.keys, EVENT_TIMESTAMP, spec.target, PARTITION]], len(labels))


def _arrived(spec: ModelSpec, lake: Lakehouse, known_at: datetime, version: int) -> pd.DataFrame:
    if known_at.tzinfo is None:
        raise DataError(f"{known_at.isoformat()} has no time zone", fix="Hand in a UTC time")
    wanted = [*spec.entity.keys, spec.target, PARTITION]
    labels = lake.read(LABELS.of(spec), where=[(ARRIVED_AT, "<=", known_at)], version=version, columns=wanted)
    if labels.num_rows == 0:
        raise DataError(
            f"no label had arrived by {known_at.isoformat()}",
            where=spec.table("labels"),
            fix=f"Run {spec.name}.ingest_labels first",
        )
    if labels[spec.target].null_count:
        raise DataError(f"{labels[spec.target].null_count} labels are null", where=spec.table("labels"))
    found = labels.to_pandas()
    if infinite := int((~np.isfinite(found[spec.target].to_numpy(dtype=np.float64))).sum()):
        raise DataError(
            f"{infinite} labels are infinite or not a number",
            where=spec.table("labels"),
            fix=f"Deliver them anew, and run {spec.name}.ingest_labels for their partitions",
        )
    _check_classes(spec, found[spec.target])
    return found


def _check_found(spec: ModelSpec, known: int, of_built: int, found: int, known_at: datetime) -> None:
    """Refuse to learn from what happens to be left: labels without features are more than a quarantine explains.

    Args:
        of_built: labels of partitions that have features.
        found: those of them whose own row has features.
    """
    if not found:
        raise DataError(
            f"none of {known} labels has features by {known_at.isoformat()}",
            where=spec.table("features"),
            fix=f"Run {spec.name}.build_features for the labelled partitions",
        )
    without, limit = of_built - found, spec.training.max_without_features
    if without > limit * of_built:
        raise DataError(
            f"{without} of {of_built} labels ({without / of_built:.0%}) have no features, though their partitions have",
            where=f"{spec.table('labels')} and {spec.table('features')}",
            fix="Look whether batches and labels name the same keys, what is in quarantine, and which rows "
            f"{spec.file('features.sql')} leaves out. If so many are right, "
            f"raise training.max_without_features ({limit:g}) in {spec.file()}",
        )


def _check_classes(spec: ModelSpec, labels: pd.Series) -> None:
    """Refuse labels that are no classes, where the task has classes."""
    if spec.task is Task.REGRESSION:
        return
    most = 1 if spec.task is Task.BINARY else MOST_CLASSES - 1
    classes = "0 and 1" if most == 1 else f"whole numbers from 0 to {most}"
    wrong = labels[(labels < 0) | (labels > most) | (labels % 1 != 0)]
    if len(wrong):
        raise DataError(
            f"{len(wrong)} labels are no class of a {spec.task} task, e.g. {wrong.iloc[0]:g}",
            where=spec.table("labels"),
            fix=f"Classes are {classes}. Have `labels` in expectations.yaml say so",
        )
