"""Schedules that Airflow does not have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self, cast

from airflow.sdk.definitions.asset import BaseAsset
from airflow.serialization.decoders import decode_asset_like
from airflow.serialization.definitions.assets import SerializedAssetBase
from airflow.timetables.base import DagRunInfo
from airflow.timetables.simple import PartitionedAssetTimetable

from include.orchestration.timetables import EachPartition


class EachAssetPartition(PartitionedAssetTimetable):
    """A run for each partition of the assets, when its event comes; and a person may backfill a range of them.

    Airflow's own timetable does not know which partitions lie between two days, and its DAGs refuse a backfill: who
    wants a month scored again would have to trigger each day, and so would who had paused the DAG, which misses events.

    Args:
        assets: what a run waits for; its partition is that of their events.
        partitions: which partitions there are; it starts no run.
    """

    periodic = True

    def __init__(self, *, assets: BaseAsset | SerializedAssetBase, partitions: EachPartition) -> None:
        # Of the SDK in a DAG file, and of Airflow's core where they are read back.
        super().__init__(assets=cast("SerializedAssetBase", assets))
        self.partitions = partitions

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        return self.partitions.iter_partition_dagrun_infos(earliest=earliest, latest=latest)

    def localize_partition_datetime(self, dt: datetime) -> Any:
        return self.partitions.localize_partition_datetime(dt)

    def _decode_partition_date(self, partition_key: str) -> datetime | None:
        return self.partitions.resolve_partition_date(partition_key)

    def generate_run_id(self, **named: Any) -> str:
        """An id of its own for each run: a day may be backfilled twice."""
        return self.partitions.generate_run_id(**named)

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "partitions": self.partitions.serialize()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        partitions = EachPartition.deserialize(data["partitions"])
        return cls(assets=decode_asset_like(data["asset_condition"]), partitions=partitions)
