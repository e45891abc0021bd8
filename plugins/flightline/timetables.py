"""Schedules that Airflow does not have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self, cast

from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk import CronPartitionTimetable
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.definitions.asset import BaseAsset
from airflow.serialization.decoders import decode_asset_like, decode_timetable
from airflow.serialization.definitions.assets import SerializedAssetBase
from airflow.serialization.encoders import coerce_to_core_timetable, encode_timetable
from airflow.timetables.base import DagRunInfo, Timetable
from airflow.timetables.simple import PartitionedAssetTimetable

from include.core.errors import UsageError
from include.core.partition import KEY_FORMATS, Partition

_GRAINS = {format_: grain for grain, format_ in KEY_FORMATS.items()}


class EachAssetPartition(PartitionedAssetTimetable):
    """A run for each partition of the assets, when its event comes; and a person may backfill a range of them.

    Airflow's own timetable does not know which partitions lie between two days, and its DAGs refuse a backfill: who
    wants a month scored again would have to trigger each day, and so would who had paused the DAG, which misses events.

    Args:
        assets: what a run waits for; its partition is that of their events.
        partitions: which partitions there are; it starts no run.
    """

    periodic = True

    def __init__(
        self, *, assets: BaseAsset | SerializedAssetBase, partitions: CronPartitionTimetable | Timetable
    ) -> None:
        # Both are of the SDK in a DAG file, and of Airflow's core where they are read back.
        super().__init__(assets=cast("SerializedAssetBase", assets))
        self.partitions = coerce_to_core_timetable(cast("BaseTimetable", partitions))

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        return self.partitions.iter_partition_dagrun_infos(earliest=earliest, latest=latest)

    def localize_partition_datetime(self, dt: datetime) -> Any:
        return self.partitions.localize_partition_datetime(dt)

    def _decode_partition_date(self, partition_key: str) -> datetime | None:
        """When a partition begins: by our own reading of its key, since ``strptime`` reads no week."""
        try:
            return Partition.parse(partition_key, _GRAINS[self.partitions.serialize()["key_format"]]).start
        except UsageError as error:
            raise InvalidPartitionKeyError(str(error)) from None

    def generate_run_id(self, **named: Any) -> str:
        """An id of its own for each run: a day may be backfilled twice."""
        return self.partitions.generate_run_id(**named)

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "partitions": encode_timetable(self.partitions)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        return cls(assets=decode_asset_like(data["asset_condition"]), partitions=decode_timetable(data["partitions"]))
