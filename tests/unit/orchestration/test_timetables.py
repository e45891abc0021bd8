"""Which partition a run is for, at any grain: by the clock, by hand and by a backfill."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from airflow import plugins_manager
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk import DAG
from airflow.sdk.timezone import coerce_datetime
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, TimeRestriction
from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue
from include.core.partition import EXAMPLES, Grain, Partition
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.orchestration.defaults import each_partition, source_dates, weekly
from include.orchestration.timetables import EachPartition

SPEC = catalogue.load("california_housing")
SCHEDULES = {
    Grain.HOUR: ("0 * * * *", "45 * * * *"),
    Grain.DAY: ("0 0 * * *", "30 6 * * *", "59 23 * * *"),
    Grain.WEEK: ("0 0 * * 1", "0 7 * * 0", "30 6 * * 3"),
    Grain.MONTH: ("0 0 1 * *", "15 5 28 * *"),
}
EVERY = [(grain, schedule) for grain, schedules in SCHEDULES.items() for schedule in schedules]


def spec_of(grain: Grain, schedule: str, first: str = "2025-01-30", last: str = "2025-03-05") -> ModelSpec:
    made = SPEC.model_dump()
    days = {"first_day": date.fromisoformat(first), "last_day": date.fromisoformat(last)}
    return ModelSpec.model_validate(
        made | {"grain": grain, "deliveries": made["deliveries"] | {"schedule": schedule} | days}
    )


def runs(schedule: EachPartition, start: datetime, end: datetime) -> list[DagRunInfo]:
    """What the scheduler makes of a timetable that it has read back."""
    read = EachPartition.deserialize(schedule.serialize())
    within, found = TimeRestriction(coerce_datetime(start), coerce_datetime(end), catchup=True), [None]  # type: ignore[arg-type, var-annotated]
    while info := read.next_dagrun_info_v2(last_dagrun_info=found[-1], restriction=within):
        found.append(info)
    return found[1:]


@pytest.mark.parametrize("later", [0, 1, 3])
@pytest.mark.parametrize(("grain", "schedule"), EVERY)
def test_the_clock_runs_each_partition_of_the_source_once(grain: Grain, schedule: str, later: int) -> None:
    spec = spec_of(grain, schedule)
    timetable = each_partition(spec, later=later)
    made = runs(timetable, **dict(zip(("start", "end"), source_dates(spec, timetable).values(), strict=True)))
    last = Partition.of(datetime(2025, 3, 5, 23), grain)
    assert spec.first_partition.start <= datetime(2025, 1, 30, tzinfo=UTC) < spec.first_partition.end
    assert [info.partition_key for info in made] == [own.key for own in spec.first_partition.to(last)]
    for info in made:
        partition = Partition.parse(str(info.partition_key), grain)
        assert info.run_after == partition.shift(later).start + spec.due_after
        assert info.partition_date == partition.start


@pytest.mark.parametrize("minutes", [1, 720, 60 * 24 * 2])
@pytest.mark.parametrize(("grain", "schedule"), EVERY)
def test_a_weekly_training_is_asked_for_on_the_newest_partition_that_has_to_be_there(
    grain: Grain, schedule: str, minutes: float
) -> None:
    spec = spec_of(grain, schedule)
    spec = spec.model_copy(
        update={"deliveries": spec.deliveries.model_copy(update={"deadline_minutes": float(minutes)})}
    )
    timetable = weekly(spec)
    made = runs(timetable, **dict(zip(("start", "end"), source_dates(spec, timetable).values(), strict=True)))
    assert made
    for info in made:
        asked = Partition.parse(str(info.partition_key), grain)
        deadline = spec.due_after + timedelta(minutes=minutes)
        assert asked.start + deadline <= info.run_after < asked.shift(1).start + deadline
        assert spec.first_partition <= asked <= Partition.of(datetime(2025, 3, 5, 23), grain)


@pytest.fixture
def with_our_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes that Airflow finds in our folder of plugins."""
    found, errors = plugins_manager._load_plugins_from_plugin_directory(str(PROJECT_ROOT / "plugins"), False, None)
    assert not errors
    classes = {f"{own.__module__}.{own.__qualname__}": own for plugin in found for own in plugin.timetables}
    monkeypatch.setattr(plugins_manager, "get_timetables_plugins", lambda: classes)


@pytest.mark.usefixtures("with_our_plugins")
@pytest.mark.parametrize(("grain", "schedule"), EVERY)
def test_a_run_by_hand_is_taken_with_its_key_and_with_no_other(grain: Grain, schedule: str) -> None:
    """What page, API and command line do with a key, on a DAG as it is in the database."""
    made = DAG(
        "any.dag", schedule=each_partition(spec_of(grain, schedule)), start_date=datetime(2025, 1, 1, tzinfo=UTC)
    )
    dag = DagSerialization.from_dict(DagSerialization.to_dict(made))
    partition = Partition.parse(EXAMPLES[grain], grain)
    asked = TriggerDAGRunPostBody(logical_date=None, partition_key=partition.key).validate_context(dag)
    assert (asked["partition_key"], asked["partition_date"]) == (partition.key, partition.start)
    for key in ("2025", "nonsense", partition.start.isoformat()):
        with pytest.raises(InvalidPartitionKeyError):
            dag.timetable.resolve_partition_date(key)


@given(st.sampled_from(EVERY), st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.integers(0, 400))
def test_a_backfill_has_the_partitions_that_begin_in_its_range(
    case: tuple[Grain, str], earliest: datetime, hours: int
) -> None:
    grain, schedule = case
    earliest = earliest.replace(tzinfo=UTC)
    latest = earliest + timedelta(hours=hours)
    infos = list(each_partition(spec_of(grain, schedule)).iter_partition_dagrun_infos(earliest=earliest, latest=latest))
    keys = [str(info.partition_key) for info in infos]
    for info, key in zip(infos, keys, strict=True):
        assert info.partition_date == info.run_after == Partition.parse(key, grain).start
        assert earliest <= info.run_after <= latest
    around = Partition.of(earliest, grain).shift(-1).to(Partition.of(latest, grain).shift(1))
    assert keys == [each.key for each in around if earliest <= each.start <= latest]
