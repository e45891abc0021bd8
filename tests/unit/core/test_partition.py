from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core.errors import DataError, UsageError
from include.core.partition import EXAMPLES, Grain, Partition

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
partitions = st.builds(Partition.of, moments, st.sampled_from(Grain))


@given(partitions)
def test_a_key_names_one_partition(partition: Partition) -> None:
    assert Partition.parse(partition.key, partition.grain) == partition
    assert Partition.parse(partition.start.isoformat(), partition.grain) == partition
    assert str(partition) == partition.key


@given(moments, st.sampled_from(Grain))
def test_each_moment_is_in_one_partition(moment: datetime, grain: Grain) -> None:
    partition = Partition.of(moment, grain)
    assert partition.start <= moment < partition.end
    assert partition.last_moment + timedelta(microseconds=1) == partition.end == partition.shift(1).start
    assert Partition.of(partition.last_moment, grain) == partition


@given(partitions, st.integers(-500, 500), st.integers(-500, 500))
def test_shifts_add_up_and_keys_sort_as_partitions_do(partition: Partition, first: int, second: int) -> None:
    assert partition.shift(first).shift(second) == partition.shift(first + second)
    other = partition.shift(first)
    assert (partition < other) == (partition.key < other.key) == (first > 0)


@given(partitions, partitions)
def test_partitions_of_two_grains_have_no_order(one: Partition, other: Partition) -> None:
    if one.grain is other.grain:
        assert [one < other, one <= other] == [one.start < other.start, one.start <= other.start]
        return
    assert one != other
    for compare in (lambda: one < other, lambda: one >= other, lambda: max(one, other), lambda: next(one.to(other))):
        with pytest.raises(DataError, match=f"a {one.grain}, .* a {other.grain}|a {other.grain}, .* a {one.grain}"):
            compare()


@given(partitions, st.integers(0, 40))
def test_a_range_has_every_partition_once(partition: Partition, count: int) -> None:
    found = list(partition.to(partition.shift(count)))
    assert found == [partition.shift(number) for number in range(count + 1)]
    assert list(partition.shift(1).to(partition)) == []


def test_labels_arrive_so_many_partitions_later() -> None:
    assert Partition.parse("2025-01-31", Grain.DAY).labels_available_at(1) == datetime(2025, 2, 1, tzinfo=UTC)
    assert Partition.parse("2025-01", Grain.MONTH).labels_available_at(2) == datetime(2025, 3, 1, tzinfo=UTC)
    assert Partition.parse("2025-W01", Grain.WEEK).start == datetime(2024, 12, 30, tzinfo=UTC)
    assert Partition.parse("2025-01-31T23", Grain.HOUR).end == datetime(2025, 2, 1, tzinfo=UTC)


def test_a_moment_in_another_zone_counts_in_utc() -> None:
    late = datetime(2025, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert Partition.of(late, Grain.DAY).key == "2024-12-31"


@pytest.mark.parametrize("grain", Grain)
@pytest.mark.parametrize(
    "key",
    [
        "",
        "3",
        "2025",
        "2025-13-01",
        "2025-01-01T05:30:00",
        "today",
        "2025-W54",
        "2025-1-1",
        "2021-W53",
        "\u0662025-01-01",
    ],
)
def test_what_is_no_key_is_refused_with_an_example(grain: Grain, key: str) -> None:
    with pytest.raises(DataError, match=EXAMPLES[grain]):
        Partition.parse(key, grain)


@pytest.mark.parametrize(("key", "grain"), [(EXAMPLES[one], other) for one in Grain for other in Grain if one != other])
def test_a_key_of_one_grain_is_none_of_another(key: str, grain: Grain) -> None:
    with pytest.raises(DataError, match=EXAMPLES[grain]):
        Partition.parse(key, grain)


@pytest.mark.parametrize("key", ["2025-01-06", "20250106", "2025-W02"])
def test_a_date_that_a_partition_of_another_grain_starts_at_is_no_key(key: str) -> None:
    grain = {"2025-W02": Grain.DAY}.get(key, Grain.WEEK)
    with pytest.raises(DataError, match=EXAMPLES[grain]):
        Partition.parse(key, grain)


@pytest.mark.parametrize("grain", Grain)
@pytest.mark.parametrize("key", ["0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00"])
def test_a_time_beyond_the_years_is_no_key(key: str, grain: Grain) -> None:
    with pytest.raises(UsageError, match="is not the key of a"):
        Partition.parse(key, grain)


@pytest.mark.parametrize("grain", Grain)
def test_there_is_no_partition_after_the_last_and_before_the_first(grain: Grain) -> None:
    for at, count in ((datetime(9999, 12, 31, 23), 1), (datetime(1, 1, 1), -1)):
        with pytest.raises(UsageError, match=f"there is no {grain} "):
            Partition.of(at, grain).shift(count)
    with pytest.raises(UsageError):
        _ = Partition.of(datetime(9999, 12, 31, 23), grain).end
