"""The training set: labels that had arrived, joined point in time to features, split and weighted.

Split: a row's part depends on its entity's key alone. SHA-256 of ``<seed>:<key>`` gives a number in [0, 1):
below ``test_share`` the row is test; of the rest the lowest `VALIDATION_SHARE` is validation, the rest train.
So a key is in the same part in every training set that is ever built, and no model has been fitted to a row
that another one is tested on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features.store import answering
from include.lakehouse import windows
from include.lakehouse.schemas import (
    ARRIVED_AT,
    EVENT_TIMESTAMP,
    FEATURES,
    LABELS,
    PARTITION,
    RECENT,
    SPLIT,
    TRAINING_SET,
    TRAINING_SETS,
    WEIGHT,
)
from include.lakehouse.tables import Lakehouse
from include.training import leakage

VALIDATION_SHARE = 0.15
"""Share of the rows that are not test on which hyperparameters and the number of trees are chosen."""

Part = str
"""``train``, ``validation`` or ``test``."""


@dataclass(frozen=True)
class TrainingSetRef:
    """Names one training set exactly; small enough to be handed from task to task."""

    training_set: str
    """The partition after which it was built, e.g. ``2025-01-03``."""
    known_at: str
    """UTC time, ISO 8601, up to which labels were seen."""
    table_version: int
    """Version of ``training_sets_<model>`` that holds it."""
    rows: int
    train_rows: int
    validation_rows: int
    test_rows: int
    without_features: int
    """Labels whose row has no features: it was quarantined, or is older than the features' time to live."""
    partitions: int
    first_partition: str
    last_partition: str
    recent: Sequence[str]
    """The drifted partitions, whose rows weigh more and are judged apart, oldest first; empty where nothing drifted."""
    features: Sequence[str]
    feature_service: str
    data_version: str
    """Versions of the tables it was built from, e.g. ``features_x@3 labels_x@2``."""

    @property
    def feature_table(self) -> str:
        """The feature table and its version, e.g. ``features_x@3``."""
        return self.data_version.split()[0]


def build(spec: ModelSpec, lake: Lakehouse, store: FeatureStore, partition: Partition) -> TrainingSetRef:
    """Write the training set of all labels that have arrived with those of a partition; a repetition replaces it.

    Args:
        store: Feast's; it must serve ``spec.features.service``.
        partition: labels that arrive after its own are not seen.

    Raises:
        DataError: no label had arrived, a label is null, no label has features, or a feature determines the label.
    """
    known_at = partition.labels_available_at(spec.deliveries.label_delay)
    labels_version, features_version = (lake.version(table.of(spec)) for table in (LABELS, FEATURES))
    labels, named = latest_labels(spec, lake, known_at, labels_version), [*spec.entity.keys, EVENT_TIMESTAMP]
    names, joined, read_versions = _retrieve(spec, store, spec.features.service, labels[named])
    # What our offline store read; a store that does not say so read what was there before the join.
    features_version = read_versions.get(spec.table("features"), features_version)
    frame = labels.merge(joined, on=named, how="left", validate="one_to_one")
    found = frame[names].notna().any(axis=1)
    without_features = int((~found).sum())
    frame = frame[found].reset_index(drop=True)
    if frame.empty:
        raise DataError(
            f"none of {len(labels)} labels has features by {known_at.isoformat()}",
            where=spec.table("features"),
            fix=f"Run {spec.name}.build_features for the labelled partitions",
        )
    leakage.refuse(frame, frame[spec.target], names, f"{spec.name}/features.sql")

    keys = sorted(frame[PARTITION].unique())
    recent = recent_partitions(spec, lake, keys)
    frame[SPLIT] = parts(frame[list(spec.entity.keys)], spec.training.split.seed, spec.training.split.test_share)
    frame[RECENT] = frame[PARTITION].isin(recent)
    frame[WEIGHT] = np.where(frame[RECENT], spec.training.recent_weight, 1.0)
    frame[TRAINING_SET] = partition.key
    frame = frame.sort_values([PARTITION, *spec.entity.keys], ignore_index=True)
    declared = TRAINING_SETS.of(spec, dict.fromkeys(names, pa.float64()))
    version = lake.replace(
        declared,
        pa.Table.from_pandas(frame[declared.schema.names], preserve_index=False),
        {TRAINING_SET: partition.key},
    )
    count = frame[SPLIT].value_counts()
    return TrainingSetRef(
        training_set=partition.key,
        known_at=known_at.isoformat(),
        table_version=version,
        rows=len(frame),
        train_rows=int(count.get("train", 0)),
        validation_rows=int(count.get("validation", 0)),
        test_rows=int(count.get("test", 0)),
        without_features=without_features,
        partitions=len(keys),
        first_partition=keys[0],
        last_partition=keys[-1],
        recent=tuple(recent),
        features=tuple(names),
        feature_service=spec.features.service,
        data_version=f"{spec.table('features')}@{features_version} {spec.table('labels')}@{labels_version}",
    )


def read(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef) -> pd.DataFrame:
    """The rows of a training set, features as float64."""
    return stored(spec, lake, ref.training_set, ref.table_version)


def stored(
    spec: ModelSpec, lake: Lakehouse, training_set: str, table_version: int, columns: list[str] | None = None
) -> pd.DataFrame:
    """The rows, or some columns of them, of the training set that a model version's tags name.

    Raises:
        DataError: the table does not exist, or has no such training set.
    """
    table = lake.read(
        TRAINING_SETS.of(spec), where=[(TRAINING_SET, "=", training_set)], version=table_version, columns=columns
    )
    if table.num_rows == 0:
        raise DataError(
            f"there is no training set {training_set!r} in version {table_version}",
            where=spec.table("training_sets"),
            fix=f"Run {spec.name}.train_model",
        )
    return table.to_pandas()


def latest_labels(spec: ModelSpec, lake: Lakehouse, known_at: datetime, version: int | None = None) -> pd.DataFrame:
    """Labels known at a moment, one per entity and event time: key, event_timestamp, target, partition_key.

    A label that was delivered again counts as last delivered.
    """
    if known_at.tzinfo is None:
        raise DataError(f"{known_at.isoformat()} has no time zone", fix="Hand in a UTC time")
    table = lake.read(LABELS.of(spec), where=[(ARRIVED_AT, "<=", known_at)], version=version)
    if table.num_rows == 0:
        raise DataError(
            f"no label had arrived by {known_at.isoformat()}",
            where=spec.table("labels"),
            fix=f"Run {spec.name}.ingest_labels first",
        )
    named = [*spec.entity.keys, EVENT_TIMESTAMP]
    labels = _utc_microseconds(table.to_pandas())
    labels = labels.sort_values(ARRIVED_AT, kind="stable").drop_duplicates(named, keep="last")
    if labels[spec.target].isna().any():
        raise DataError(f"{int(labels[spec.target].isna().sum())} labels are null", where=spec.table("labels"))
    return labels[[*named, spec.target, PARTITION]].reset_index(drop=True)


def point_in_time(
    spec: ModelSpec, store: FeatureStore, service_name: str, rows: pd.DataFrame
) -> tuple[list[str], pd.DataFrame]:
    """Join features to rows of (entity's key, event_timestamp), each as of its own time, through Feast.

    Returns:
        The feature names in the service's order, and a frame of key, event_timestamp and features as float64;
        a row without features has nulls.
    """
    names, joined, _ = _retrieve(spec, store, service_name, rows)
    return names, joined


def _retrieve(
    spec: ModelSpec, store: FeatureStore, service_name: str, rows: pd.DataFrame
) -> tuple[list[str], pd.DataFrame, Mapping[str, int]]:
    """As `point_in_time`, and the version of each Delta table that was read."""
    service = store.get_feature_service(service_name)
    names = [feature.name for view in service.feature_view_projections for feature in view.features]
    with answering():
        job = store.get_historical_features(entity_df=rows, features=service)
        joined = job.to_df()
    if len(joined) != len(rows):
        raise DataError(f"Feast returned {len(joined)} rows for {len(rows)}", where=service_name)
    for name in names:
        if not (pd.api.types.is_numeric_dtype(joined[name]) or joined[name].isna().all()):
            raise DataError(
                f"feature {name} is not a number but {joined[name].dtype}",
                where=f"{spec.name}/features.sql",
                fix="Encode it as numbers in SQL",
            )
    joined = joined[[*spec.entity.keys, EVENT_TIMESTAMP, *names]].astype(dict.fromkeys(names, "float64"))
    joined = joined.astype({key: rows[key].dtype for key in spec.entity.keys})
    return names, _utc_microseconds(joined), getattr(job, "table_versions", {})


def parts(keys: pd.DataFrame, seed: int, test_share: float) -> npt.NDArray[np.str_]:
    """The part of each row's key (one column or several); the rule is in the module's docstring."""
    texts = keys.astype(str).agg("|".join, axis=1) if len(keys.columns) > 1 else keys.iloc[:, 0]
    place = np.fromiter((_unit_hash(f"{seed}:{key}") for key in texts), dtype=np.float64, count=len(keys))
    validation_end = test_share + (1 - test_share) * VALIDATION_SHARE
    return np.where(place < test_share, "test", np.where(place < validation_end, "validation", "train"))


def recent_partitions(spec: ModelSpec, lake: Lakehouse, keys: Sequence[str]) -> list[str]:
    """Of the newest ``recent_windows`` partitions those that drifted, oldest first; never the first, the history.

    Partitions from before the drift say nothing about the world after it, however new they are: they would hide in an
    average whether a version works now.
    """
    newest = [Partition.parse(key, spec.grain) for key in keys[1:][-spec.training.recent_windows :]]
    return [item.key for item in windows.drifted(spec, lake, newest[0], newest[-1]) if item in newest] if newest else []


def _unit_hash(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _utc_microseconds(frame: pd.DataFrame) -> pd.DataFrame:
    times = pd.to_datetime(frame[EVENT_TIMESTAMP], utc=True).dt.as_unit("us")
    return frame.assign(**{EVENT_TIMESTAMP: times})
