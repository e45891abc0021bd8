"""The training set: labels that had arrived, joined point in time to features, split (`splits`) and weighted."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import fitted_categories
from include.features.store import answering
from include.lakehouse import windows
from include.lakehouse.schemas import (
    CLEAN,
    DRIFTED,
    EVENT_TIMESTAMP,
    FEATURES,
    LABELS,
    PARTITION,
    SPLIT,
    SUPERSEDED,
    TRAINING_SET,
    TRAINING_SETS,
    WEIGHT,
)
from include.lakehouse.tables import Lakehouse
from include.training import concept_drift, faulty_partitions, labelled_rows, leakage, splits
from include.training.algorithms import Sample
from include.training.places import Mask

log = logging.getLogger(__name__)


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
    """Those that a version is judged by: none of before a concept drift."""
    without_features: int
    """Labels whose row has no features, or none but nulls: it was quarantined, is withdrawn, is older than the time to
    live, or nothing is before it that its features could look back on."""
    left_out: int
    """Rows that the split leaves out: they are not in the set."""
    partitions: int
    first_partition: str
    last_partition: str
    drifted: Sequence[str]
    """The drifted partitions, whose rows weigh more and are judged apart, oldest first; empty where nothing drifted."""
    concept_drifts: Sequence[str]
    """What is said of each change of what is predicted (`training.concept_drift`)."""
    features: Sequence[str]
    categories: str
    """Which of them are categories, for `fitted_categories.read`."""
    split: str
    """What names each row's part, for `splits.held_out`."""
    feature_service: str
    data_version: str
    """Versions of the tables it was built from, e.g. ``features_x@3 labels_x@2``."""
    faulty: Sequence[str] = ()
    """The partitions whose rows are left out, since a mistake of who delivered them explains them, oldest first."""
    suspected: str = ""
    """Features that nearly determine the label together, for a person to confirm; empty where none do."""

    @property
    def feature_table(self) -> str:
        """The feature table and its version, e.g. ``features_x@3``."""
        return self.data_version.split()[0]


def build(spec: ModelSpec, lake: Lakehouse, store: FeatureStore, partition: Partition) -> TrainingSetRef:
    """Write the training set of all labels that have arrived with those of a partition; a repetition replaces it.

    Args:
        store: Feast's; it must serve ``spec.feature_service``.
        partition: labels that arrive after its own are not seen.

    Raises:
        DataError: no label had arrived, one is null or no class of the task, none or too few have features, a feature
            determines the label, or the rows cannot be split as model.yaml wants.
    """
    known_at = partition.labels_available_at(spec.deliveries.label_delay)
    labels_version, features_version = (lake.version(table.of(spec)) for table in (LABELS, FEATURES))
    labelled = labelled_rows.find(spec, lake, known_at, labels_version, features_version)
    named = [*spec.entity.keys, EVENT_TIMESTAMP]
    names, joined, read_versions = _retrieve(spec, store, spec.feature_service, labelled.rows[named])
    # What our offline store read; a store that does not say so read what was there before the join.
    features_version = read_versions.get(spec.table("features"), features_version)
    frame = labelled.rows.merge(joined, on=named, how="left", validate="one_to_one")
    found = frame[names].notna().any(axis=1)
    without_features = labelled.known - int(found.sum())
    faulty = faulty_partitions.find(spec, lake, sorted(frame[PARTITION].unique()))
    if faulty:
        log.warning("Nothing is learned from %s: their windows have faults that nobody has mended", ", ".join(faulty))
    frame = frame[found & ~frame[PARTITION].isin(faulty)].reset_index(drop=True)
    if frame.empty:
        raise DataError(
            f"none of {labelled.known} labelled rows has a feature that is not null"
            + (f", but for those of {', '.join(faulty)}, which have faults" if faulty else ""),
            where=spec.table("features"),
            fix=f"Look at what {spec.file('features.sql')} makes of them",
        )
    suspected = leakage.check(
        frame,
        frame[spec.target],
        names,
        f"{spec.name}/features.sql",
        keys=spec.entity.keys,
        known=leakage.known(spec, names),
    )
    if suspected:
        log.warning(
            "%s nearly determine %s together. Confirm in model.yaml, training.known_features, that they will be known "
            "when a prediction is asked for, or remove them from features.sql",
            suspected,
            spec.target,
        )

    frame = _with_split_columns(spec, lake, frame)
    split = splits.hold(spec, names, frame)
    frame[SPLIT] = splits.parts(spec, split, frame)
    left_out = (frame[SPLIT] == splits.LEFT_OUT).to_numpy()
    frame = frame[~left_out].reset_index(drop=True)
    keys = sorted(frame[PARTITION].unique())
    drifted = drifted_partitions(spec, lake, keys)
    frame[DRIFTED] = frame[PARTITION].isin(drifted)
    frame[WEIGHT] = np.where(frame[DRIFTED], spec.training.drifted_weight, 1.0)
    changes = concept_drift.find(spec, lake, partition)
    changed = concept_drift.supersede(spec, lake, frame, changes, len(names))
    frame[spec.target], frame[SUPERSEDED] = changed.labels, changed.rows
    frame[TRAINING_SET] = partition.key
    frame = frame.sort_values([PARTITION, *spec.entity.keys], ignore_index=True)
    declared = TRAINING_SETS.of(spec, dict.fromkeys(names, pa.float64()))
    version = lake.replace(
        declared,
        pa.Table.from_pandas(frame[declared.schema.names], preserve_index=False),
        {TRAINING_SET: partition.key},
    )
    count = frame[SPLIT].value_counts()
    test_rows = int(((frame[SPLIT] == splits.TEST) & ~frame[SUPERSEDED]).sum())
    return TrainingSetRef(
        training_set=partition.key,
        known_at=known_at.isoformat(),
        table_version=version,
        rows=len(frame),
        train_rows=int(count.get(splits.TRAIN, 0)),
        validation_rows=int(count.get(splits.VALIDATION, 0)),
        test_rows=test_rows,
        without_features=without_features,
        left_out=int(left_out.sum()),
        partitions=len(keys),
        first_partition=keys[0],
        last_partition=keys[-1],
        drifted=tuple(drifted),
        concept_drifts=changed.described,
        features=tuple(names),
        categories=fitted_categories.written(spec, names),
        split=split,
        feature_service=spec.feature_service,
        data_version=f"{spec.table('features')}@{features_version} {spec.table('labels')}@{labels_version}",
        faulty=tuple(faulty),
        suspected=str(suspected or ""),
    )


def read(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef) -> pd.DataFrame:
    """The rows of a training set, features as float64."""
    return stored(spec, lake, ref.training_set, ref.table_version, columns(spec, ref.features, ref.split))


def columns(spec: ModelSpec, features: Sequence[str], split: str) -> list[str]:
    """The columns that a training set was built with.

    Its table has those of all sets: a feature that features.sql selects no longer is null in the newer ones, which is
    no value to predict from.

    Args:
        features: of the set.
        split: what `splits.hold` said of it.
    """
    return list(dict.fromkeys([*TRAINING_SETS.of(spec).schema.names, *features, *splits.columns_of(split)]))


def stored(spec: ModelSpec, lake: Lakehouse, training_set: str, table_version: int, columns: list[str]) -> pd.DataFrame:
    """The rows of the training set that a model version's tags name.

    Args:
        columns: some of its `columns`.

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


def sample(
    spec: ModelSpec, frame: pd.DataFrame, chosen: pd.Series | Mask, features: Sequence[str], categories: Collection[str]
) -> Sample:
    """Some rows of a training set, to fit or to judge a model by.

    Args:
        chosen: which of its rows.
        categories: the features that are codes.
    """
    rows = frame[chosen]
    target, weight = (rows[name].to_numpy(dtype=np.float64) for name in (spec.target, WEIGHT))
    return Sample(rows[list(features)], target, weight, tuple(categories))


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
                fix=f"Name its texts in model.yaml, features.categories, and run {spec.name}.build_features",
            )
    joined = joined[[*spec.entity.keys, EVENT_TIMESTAMP, *names]].astype(dict.fromkeys(names, "float64"))
    joined = joined.astype({key: rows[key].dtype for key in spec.entity.keys})
    return names, _utc_microseconds(joined), getattr(job, "table_versions", {})


def drifted_partitions(spec: ModelSpec, lake: Lakehouse, keys: Sequence[str]) -> list[str]:
    """Of the newest ``drifted_windows`` partitions those that drifted, oldest first; never the first, the history.

    Partitions from before the drift say nothing about the world after it, however new they are: they would hide in an
    average whether a version works now.
    """
    newest = [Partition.parse(key, spec.grain) for key in keys[1:][-spec.training.drifted_windows :]]
    return [item.key for item in windows.drifted(spec, lake, newest[0], newest[-1]) if item in newest] if newest else []


def _with_split_columns(spec: ModelSpec, lake: Lakehouse, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the columns that the split goes by: those that are no features, as they were delivered."""
    named = [*spec.entity.keys, PARTITION]
    missing = [name for name in spec.training.split.columns if name not in frame and name in spec.columns]
    if not missing:
        return frame
    clean = lake.read(CLEAN.of(spec), columns=[*named, *missing]).to_pandas()
    return frame.merge(clean, on=named, how="left", validate="one_to_one")


def _utc_microseconds(frame: pd.DataFrame) -> pd.DataFrame:
    times = pd.to_datetime(frame[EVENT_TIMESTAMP], utc=True).dt.as_unit("us")
    return frame.assign(**{EVENT_TIMESTAMP: times})
