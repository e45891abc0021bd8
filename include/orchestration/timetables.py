"""A schedule of Airflow's that knows partitions: which one a run is for, and when one begins."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self

from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk import timezone
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable

from include.core.errors import UsageError
from include.core.partition import Grain, Partition


class EachPartition(CronPartitionTimetable):
    """A run at each time of a cron expression, in UTC, for the partition of then or of before.

    Airflow's own reads keys by ``strptime``, which knows no week, and takes the time of a run for that of its
    partition: so the last day of a backfill that is due at half past six was left out.

    Args:
        lag: how long before the run its partition is looked for.
        later: how many partitions after that one the run is.
    """

    def __init__(self, cron: str, grain: Grain, *, lag: timedelta = timedelta(0), later: int = 0) -> None:
        super().__init__(cron, timezone="UTC")
        self._grain, self._lag, self._later = grain, lag, later

    def runs_for(self, partition: Partition) -> tuple[datetime, datetime]:
        """The first and the last moment at which a run is for a partition."""
        at = partition.shift(self._later)
        return at.start + self._lag, at.last_moment + self._lag

    def _get_partition_info(self, run_date: datetime) -> tuple[Any, str]:
        partition = Partition.of(run_date - self._lag, self._grain).shift(-self._later)
        return timezone.coerce_datetime(partition.start), partition.key

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """The partitions that begin within a range."""
        first = Partition.of(earliest, self._grain)
        for partition in first.to(Partition.of(latest, self._grain)):
            if partition.start >= earliest:
                begin = timezone.coerce_datetime(partition.start)
                yield DagRunInfo(run_after=begin, data_interval=None, partition_date=begin, partition_key=partition.key)

    def _decode_partition_date(self, partition_key: str) -> datetime:
        try:
            partition = Partition.parse(partition_key, self._grain)
        except UsageError as error:
            raise InvalidPartitionKeyError(str(error)) from None
        if partition.key != partition_key:  # by another name it could run beside itself
            raise InvalidPartitionKeyError(f"{partition_key!r} is written {partition.key!r}")
        return partition.start

    def serialize(self) -> dict[str, Any]:
        own = {"grain": self._grain.value, "lag": self._lag.total_seconds(), "later": self._later}
        return {"expression": self._expression, **own}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        lag = timedelta(seconds=data["lag"])
        return cls(data["expression"], Grain(data["grain"]), lag=lag, later=data["later"])
