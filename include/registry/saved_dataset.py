"""Lineage in Feast's own registry: which rows, tables and feature service a model version was made of."""

from __future__ import annotations

from feast import FeatureStore
from feast.saved_dataset import SavedDataset

from feast_delta.source import SavedDatasetDeltaStorage
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import TRAINING_SET, TRAINING_SETS
from include.registry.versions import Version
from include.training.training_set import TrainingSetRef


def dataset_name(spec: ModelSpec, version: str) -> str:
    """Name of the saved dataset that stands for a model version's training set."""
    return f"{spec.name}_version_{version}"


def record(store: FeatureStore, spec: ModelSpec, version: Version, ref: TrainingSetRef) -> SavedDataset:
    """Register the training set of a model version as a Feast dataset. The rows stay where they are; repeatable.

    Feast reads them back, also after the training set was built again: ``store.get_saved_dataset(name).to_df()``.
    """
    table = TRAINING_SETS.of(spec).name
    dataset = SavedDataset(
        name=dataset_name(spec, version.version),
        features=_references(store, ref),
        join_keys=list(spec.entity.keys),
        storage=SavedDatasetDeltaStorage(
            f"{store.config.offline_store.lakehouse_uri}/{table}", ref.table_version, {TRAINING_SET: ref.training_set}
        ),
        feature_service_name=ref.feature_service,
        tags={
            "model": spec.name,
            "model.version": version.version,
            "mlflow.run_id": version.run_id,
            "feature_service": ref.feature_service,
            "feature_table": ref.feature_table,
            "data.version": ref.data_version,
            "training_set": ref.training_set,
            "training_set.table": f"{table}@{ref.table_version}",
        },
    )
    dataset.min_event_timestamp, dataset.max_event_timestamp = (
        Partition.parse(key, spec.grain).start for key in (ref.first_partition, ref.last_partition)
    )
    store.registry.apply_saved_dataset(dataset, store.project)
    return dataset


def _references(store: FeatureStore, ref: TrainingSetRef) -> list[str]:
    service = store.get_feature_service(ref.feature_service)
    return [
        f"{view.name}:{feature.name}"
        for view in service.feature_view_projections
        for feature in view.features
        if feature.name in set(ref.features)
    ]
