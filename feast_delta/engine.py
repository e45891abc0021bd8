"""Feast's materialisation, by its extension point for engines: Arrow batches from table to online store.

Feast's local engine makes Python objects of every value of the whole interval (1M keys x 12 features: minutes,
and more than 10 GB). Here batches stream from Delta through DuckDB into the store, one of them in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry

from feast_delta.offline_store import DeltaOfflineStore
from feast_delta.online.writer import RowWriter
from feast_delta.source import DeltaSource, source_column


class ArrowComputeEngineConfig(LocalComputeEngineConfig):
    """The section ``batch_engine`` of feature_store.yaml."""

    type: str = "feast_delta.engine.ArrowComputeEngine"  # type: ignore[assignment]


class ArrowComputeEngine(LocalComputeEngine):
    """Feast's local engine; what goes from a Delta table to an online store of ours as it is goes in batches."""

    def __init__(self, backend: str | None = None, type: str = "", **kwargs: Any) -> None:
        super().__init__(backend=backend or "pandas", **kwargs)

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        view, source = task.feature_view, task.feature_view.batch_source
        plain = type(view) is FeatureView and view.online and not view.offline and not view.source_views
        if not (
            plain
            and isinstance(source, DeltaSource)
            and isinstance(self.offline_store, DeltaOfflineStore)
            and isinstance(self.online_store, RowWriter)
        ):
            return super()._materialize_one(registry, task, **kwargs)
        bar = task.tqdm_builder(0) if task.tqdm_builder else None
        try:
            self.online_store.write_arrow(
                self.repo_config, view, self._latest(view, source, task), bar.update if bar is not None else None
            )
        finally:
            if bar is not None:
                bar.close()
        return LocalMaterializationJob(
            job_id=f"{view.name}-{task.start_time}-{task.end_time}", status=MaterializationJobStatus.SUCCEEDED
        )

    def _latest(self, view: FeatureView, source: DeltaSource, task: MaterializationTask) -> Iterator[pa.RecordBatch]:
        """The newest row of every key in the interval, with the names of the feature view."""
        created = source.created_timestamp_column
        keys = [name for name in view.join_keys if name != DUMMY_ENTITY_ID]
        job = DeltaOfflineStore.pull_latest_from_table_or_query(
            self.repo_config,
            source,
            [source_column(source, name) for name in keys],
            [source_column(source, feature.name) for feature in view.features],
            source_column(source, source.timestamp_field),
            source_column(source, created) if created else None,
            task.start_time,
            task.end_time,
        )
        for batch in job.batches():
            yield batch.rename_columns([source.field_mapping.get(name, name) for name in batch.schema.names])
