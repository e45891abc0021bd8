from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk import Asset
from airflow.utils.types import DagRunType
from flightline.timetables import EachAssetPartition

from include.core import catalogue
from include.core.partition import CRONS, EXAMPLES, Grain, Partition
from include.orchestration.defaults import each_partition

FIRST, SECOND = Asset("first"), Asset("second")
SPEC = catalogue.load("california_housing")


def timetable(grain: Grain) -> EachAssetPartition:
    """As the scheduler has it: written by the DAG processor, and read back."""
    assert SPEC.deliveries.schedule is None, "the grain says when"
    made = EachAssetPartition(
        assets=FIRST | SECOND, partitions=each_partition(SPEC.model_copy(update={"grain": grain}))
    )
    return EachAssetPartition.deserialize(made.serialize())


@pytest.mark.parametrize("grain", CRONS)
def test_a_range_has_the_partitions_that_begin_in_it(grain: Grain) -> None:
    first = Partition.parse(EXAMPLES[grain], grain)
    wanted = [first.shift(number) for number in range(4)]
    infos = timetable(grain).iter_partition_dagrun_infos(earliest=first.start, latest=wanted[-1].start)
    assert [(info.partition_key, info.partition_date) for info in infos] == [(item.key, item.start) for item in wanted]


def test_it_may_be_backfilled_and_the_clock_starts_nothing() -> None:
    made = timetable(Grain.DAY)
    assert made.periodic
    assert made.next_dagrun_info_v2(last_dagrun_info=None, restriction=None) is None  # type: ignore[arg-type]
    assert {key.name for key, _ in made.asset_condition.iter_assets()} == {"first", "second"}


@pytest.mark.parametrize("grain", CRONS)
def test_a_key_has_its_date_and_a_wrong_one_is_refused_before_there_is_a_run(grain: Grain) -> None:
    assert timetable(grain).resolve_partition_date(EXAMPLES[grain]) == Partition.parse(EXAMPLES[grain], grain).start
    with pytest.raises(InvalidPartitionKeyError, match="A key looks like"):
        timetable(grain).resolve_partition_date("2025")


def test_a_day_that_is_backfilled_twice_has_two_runs() -> None:
    made, at = timetable(Grain.DAY), datetime(2025, 1, 31, tzinfo=UTC)
    given = {"run_type": DagRunType.BACKFILL_JOB, "run_after": at, "data_interval": None, "partition_key": "2025-01-31"}
    assert made.generate_run_id(**given) != made.generate_run_id(**given)
