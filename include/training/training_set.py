"""The training set: labels that had arrived, joined point in time to features, split and weighted.

Split: a row's part depends on its entity's key alone. SHA-256 of ``<seed>:<key>`` gives a number in [0, 1):
below ``test_share`` the row is test; of the rest the lowest `VALIDATION_SHARE` is validation, the rest train.
So a key is in the same part in every training set that is ever built, and no model has been fitted to a row
that another one is tested on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from include.errors import DataError
from include.features import leakage
from include.features.store import answering
from include.lakehouse.tables import Lakehouse
from include.models.spec import ModelSpec
from include.monitoring import window

VALIDATION_SHARE = 0.15
"""Share of the rows that are not test on which hyperparameters and the number of trees are chosen."""

Part = str
"""``train``, ``validation`` or ``test``."""


@dataclass(frozen=True)
class TrainingSetRef:
    """Names one training set exactly; small enough to be handed from task to task."""

    training_set: str
    """Partition: the day of ``as_of``, e.g. ``2025-01-04``."""
    table_version: int
    """Version of ``training_sets_<model>`` that holds it."""
    rows: int
    train_rows: int
    validation_rows: int
    test_rows: int
    without_features: int
    """Labels whose row has no features: it was quarantined, or is older than the features' time to live."""
    windows: int
    first_window: str
    last_window: str
    recent: Sequence[str]
    """The drifted windows, whose rows weigh more and are judged apart, oldest first; empty where nothing drifted."""
    features: Sequence[str]
    feature_service: str
    data_version: str
    """Versions of the tables it was built from, e.g. ``features_x@3 labels_x@2``."""

    @property
    def feature_table(self) -> str:
        """The feature table and its version, e.g. ``features_x@3``."""
        return self.data_version.split()[0]


def build(spec: ModelSpec, lake: Lakehouse, store: FeatureStore, as_of: datetime) -> TrainingSetRef:
    """Write the training set that could be known at ``as_of``; a repetition replaces it.

    Args:
        store: Feast's; it must serve ``spec.features.service``.
        as_of: UTC. Labels that arrived later are not seen.

    Raises:
        DataError: no label had arrived, a label is null, no label has features, or a feature determines the label.
    """
    labels_version = lake.version(spec.table("labels"))
    features_version = lake.version(spec.table("features"))
    labels = latest_labels(spec, lake, as_of, labels_version)
    names, joined, read_versions = _retrieve(
        spec, store, spec.features.service, labels[[spec.entity.key, "event_timestamp"]]
    )
    # What our offline store read; a store that does not say so read what was there before the join.
    features_version = read_versions.get(spec.table("features"), features_version)
    frame = labels.merge(joined, on=[spec.entity.key, "event_timestamp"], how="left", validate="one_to_one")
    found = frame[names].notna().any(axis=1)
    without_features = int((~found).sum())
    frame = frame[found].reset_index(drop=True)
    if frame.empty:
        raise DataError(
            f"none of {len(labels)} labels has features by {as_of.isoformat()}",
            where=spec.table("features"),
            fix=f"Run {spec.name}.build_features for the labelled days",
        )
    leakage.refuse(frame, frame[spec.target], names, f"{spec.name}/features.sql")

    drifted = window.drifted_windows(spec, lake, upto=frame["window"].max())
    recent = recent_windows(frame["window"], spec.training.recent_windows, drifted)
    frame["split"] = parts(frame[spec.entity.key], spec.training.seed, spec.training.test_share)
    frame["recent"] = frame["window"].isin(recent)
    frame["weight"] = row_weights(frame["window"], recent, spec.training.recent_weight)
    training_set = as_of.date().isoformat()
    frame["training_set"] = training_set
    frame = frame.sort_values(["window", spec.entity.key], ignore_index=True)
    version = lake.replace_partition(
        spec.table("training_sets"), _to_arrow(spec, frame, names), {"training_set": training_set}
    )
    count = frame["split"].value_counts()
    return TrainingSetRef(
        training_set=training_set,
        table_version=version,
        rows=len(frame),
        train_rows=int(count.get("train", 0)),
        validation_rows=int(count.get("validation", 0)),
        test_rows=int(count.get("test", 0)),
        without_features=without_features,
        windows=int(frame["window"].nunique()),
        first_window=frame["window"].min().isoformat(),
        last_window=frame["window"].max().isoformat(),
        recent=tuple(window.isoformat() for window in recent),
        features=tuple(names),
        feature_service=spec.features.service,
        data_version=f"{spec.table('features')}@{features_version} {spec.table('labels')}@{labels_version}",
    )


def read(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef) -> pd.DataFrame:
    """The rows of a training set, features as float64, ``window`` as `datetime.date`."""
    return stored(spec, lake, ref.training_set, ref.table_version)


def stored(spec: ModelSpec, lake: Lakehouse, training_set: str, table_version: int) -> pd.DataFrame:
    """The rows of the training set that a model version's tags name.

    Raises:
        DataError: the table does not exist, or has no such training set.
    """
    table = lake.read(spec.table("training_sets"), where=[("training_set", "=", training_set)], version=table_version)
    if table.num_rows == 0:
        raise DataError(
            f"there is no training set {training_set!r} in version {table_version}",
            where=spec.table("training_sets"),
            fix=f"Run {spec.name}.train_model",
        )
    return table.drop_columns(["training_set"]).to_pandas()


def latest_labels(spec: ModelSpec, lake: Lakehouse, as_of: datetime, version: int | None = None) -> pd.DataFrame:
    """Labels known at ``as_of``, one per key and event time: entity key, event_timestamp, target, window.

    A label that was delivered again counts as last delivered.
    """
    if as_of.tzinfo is None:
        raise DataError(f"as_of {as_of.isoformat()} has no time zone", fix="Hand in a UTC time")
    name = spec.table("labels")
    table = lake.read(name, where=[("arrived_at", "<=", as_of)], version=version)
    if table.num_rows == 0:
        raise DataError(
            f"no label had arrived by {as_of.isoformat()}",
            where=name,
            fix=f"Run {spec.name}.ingest_labels first",
        )
    key = spec.entity.key
    labels = _utc_microseconds(table.to_pandas())
    labels = labels.sort_values("arrived_at", kind="stable").drop_duplicates([key, "event_timestamp"], keep="last")
    if labels[spec.target].isna().any():
        raise DataError(f"{int(labels[spec.target].isna().sum())} labels are null", where=name)
    labels = labels.rename(columns={"batch_date": "window"})
    return labels[[key, "event_timestamp", spec.target, "window"]].reset_index(drop=True)


def point_in_time(
    spec: ModelSpec, store: FeatureStore, service_name: str, rows: pd.DataFrame
) -> tuple[list[str], pd.DataFrame]:
    """Join features to rows of (entity key, event_timestamp), each as of its own time, through Feast.

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
    joined = joined[[spec.entity.key, "event_timestamp", *names]].astype(dict.fromkeys(names, "float64"))
    joined = joined.astype({spec.entity.key: rows[spec.entity.key].dtype})
    return names, _utc_microseconds(joined), getattr(job, "table_versions", {})


def parts(keys: Iterable[Any], seed: int, test_share: float) -> npt.NDArray[np.str_]:
    """The part of each key; the rule is in the module's docstring."""
    place = np.fromiter((_unit_hash(f"{seed}:{key}") for key in keys), dtype=np.float64)
    validation_end = test_share + (1 - test_share) * VALIDATION_SHARE
    return np.where(place < test_share, "test", np.where(place < validation_end, "validation", "train"))


def recent_windows(windows: Iterable[date], count: int, drifted: Iterable[date]) -> list[date]:
    """Those of the newest ``count`` windows that drifted, oldest first; the first of all, the history, is never recent.

    Windows from before the drift say nothing about the world after it, however new they are: they would hide in an
    average whether a version works now.
    """
    return sorted(set(sorted(set(windows))[1:][-count:]) & set(drifted))


def row_weights(windows: Iterable[date], recent: Sequence[date], recent_weight: float) -> npt.NDArray[np.float64]:
    """Weight of each row in fitting: ``recent_weight`` in the recent windows, 1 elsewhere."""
    chosen = set(recent)
    return np.array([recent_weight if window in chosen else 1.0 for window in windows], dtype=np.float64)


def _unit_hash(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _utc_microseconds(frame: pd.DataFrame) -> pd.DataFrame:
    times = pd.to_datetime(frame["event_timestamp"], utc=True).dt.as_unit("us")
    return frame.assign(event_timestamp=times)


def _to_arrow(spec: ModelSpec, frame: pd.DataFrame, names: list[str]) -> pa.Table:
    key = spec.entity.key
    columns = [key, "event_timestamp", *names, spec.target, "split", "weight", "recent", "window", "training_set"]
    table = pa.Table.from_pandas(frame[columns], preserve_index=False)
    position = table.schema.get_field_index("window")
    return table.set_column(position, "window", table["window"].cast(pa.date32()))
