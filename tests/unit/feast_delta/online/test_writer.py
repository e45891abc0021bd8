"""What every online store of ours promises, on both of them."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_delta.errors import DataError
from tests.unit.feast_delta.online.conftest import AT, FEATURES, VIEW, define, key, reopened

pytestmark = pytest.mark.slow

NUMBERS = itertools.count(1)
ALWAYS = datetime.min.replace(tzinfo=UTC)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))
# Few of them, so that many rows have the same; far ones, also before 1970; and any microsecond.
event_times = st.integers(-3, 3).map(lambda hours: AT + timedelta(hours=hours)) | moments
created_times = st.none() | st.integers(1, 3).map(lambda hours: AT + timedelta(hours=hours))


def test_the_newest_value_is_served_whatever_the_order(write):
    assert write((2, 2.0)) == (2.0, AT + timedelta(hours=2))
    assert write((1, 1.0)) == (2.0, AT + timedelta(hours=2))
    assert write((2, 2.5)) == (2.5, AT + timedelta(hours=2))
    assert write((3, 3.0), (5, 5.0), (4, 4.0)) == (5.0, AT + timedelta(hours=5))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.lists(st.tuples(event_times, created_times), min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_is_held_is_the_newest_by_event_time_then_created_time(online, writes):
    number = next(NUMBERS)
    income = 0.0
    held: tuple[datetime, datetime, set[float]] | None = None
    for rows in writes:
        batch = []
        for event, created in rows:
            income += 1.0
            batch.append((number, income, event, created))
        online.write(*batch)
        newest = max((event, created or ALWAYS) for _, _, event, created in batch)
        if held is None or newest >= held[:2]:
            # Of rows of one write that have the same times, either may stay.
            same = {value for _, value, event, created in batch if (event, created or ALWAYS) == newest}
            held = (*newest, same)
        at, found = online.read(number)[0]
        assert held is not None
        assert abs(at - held[0]) < timedelta(microseconds=5)  # Feast's reads go through a float
        assert found[0] in held[2]
        assert found == [found[0], found[0] * 2, found[0]]


def test_what_is_expired_as_seen_from_the_newest_row_is_removed(online):
    """The view's time to live is 400 days; a replayed source lives years before the clock."""

    def materialize(first: int, *days: int) -> None:
        at = [AT + timedelta(days=day) for day in days]
        numbers = range(first, first + len(days))
        rows = pa.table(
            {
                "listing_id": pa.array(numbers, pa.int64()),
                "event_timestamp": pa.array(at, pa.timestamp("us", tz="UTC")),
                "median_income": [float(number) for number in numbers],
                "rooms_per_household": [1.0] * len(days),
                "inland": pa.array([1] * len(days), pa.int32()),
            }
        )
        write_deltalake(f"{online.store.config.offline_store.lakehouse_uri}/listings", rows, mode="overwrite")
        online.store.materialize(min(at), max(at) + timedelta(days=3650), feature_views=[VIEW])

    def held() -> list[int]:
        return [number for number in range(1, 6) if online.served("median_income", number=number) != [None]]

    materialize(1, 0, 1, 2)
    assert held() == [1, 2, 3]
    materialize(4, 402)
    assert held() == [3, 4]
    assert online.read(3)[0][1] == [3.0, 1.0, 1]
    materialize(2, 1)  # an old day again: seen from there nothing is expired
    assert held() == [2, 3, 4]
    materialize(5, 900)
    assert held() == [5]


def test_a_row_that_is_written_again_meanwhile_is_not_removed(online):
    online.write((1, 1.0, AT, None), (2, 2.0, AT, None))
    online.write((2, 2.5, AT + timedelta(hours=1), None))
    online.stores.remove_older(online.store.config, online.view(), AT)
    assert [online.served("median_income", number=number) for number in (1, 2)] == [[1.0], [2.5]]
    online.stores.remove_older(online.store.config, online.view(), AT + timedelta(seconds=1))
    assert [online.served("median_income", number=number) for number in (1, 2)] == [[None], [2.5]]


def test_writers_at_once_leave_the_newest_row_of_each_key_whole(online):
    keys, hours = range(40), list(range(1, 61))

    def run(seed):
        own = reopened()
        shuffled = random.Random(seed)
        rows = [(number, float(hour), AT + timedelta(hours=hour), None) for number in keys for hour in hours[seed::6]]
        shuffled.shuffle(rows)
        for start in range(0, len(rows), 50):
            own.write(*rows[start : start + 50])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    assert online.read(*keys) == [(AT + timedelta(hours=60), [60.0, 120.0, 60])] * len(keys)


def test_a_row_is_whole_so_that_a_feature_it_lacks_is_null(online):
    online.write((1, 2.0, AT, None))
    row = {"median_income": online_value(3.0)}
    online.stores.online_write_batch(online.store.config, online.view(), [(key(1), row, AT, None)], None)
    assert online.served("median_income", "rooms_per_household", "inland") == [3.0, None, None]
    online.stores.online_write_batch(online.store.config, online.view(), [], None)
    assert online.served("median_income") == [3.0]


def online_value(number):
    from feast.protos.feast.types.Value_pb2 import Value

    return Value(double_val=number)


def test_a_feature_renamed_between_versions_is_null_until_it_is_materialised(write, online):
    assert write((2, 2.0))[0] == 2.0
    define(online.store, "income", "total_rooms")
    assert reopened().served("income", "total_rooms") == [None, None]
    day = AT + timedelta(days=1)
    row = {"listing_id": [1], "event_timestamp": pa.array([day], pa.timestamp("us", tz="UTC"))}
    write_deltalake(online.view().batch_source.path, pa.table({**row, "income": [7.0], "total_rooms": [3.0]}))
    online.store.materialize(day, day, feature_views=[VIEW])
    assert reopened().served("income", "total_rooms") == [7.0, 3.0]
    # Under its old name again: what was held under it then is no value of now.
    define(online.store, *FEATURES)
    assert reopened().served("median_income", "rooms_per_household") == [None, None]


def batch(**replaced):
    columns = {
        "listing_id": pa.array([1, None], pa.int64()),
        "median_income": [9.0, 9.0],
        "rooms_per_household": [9.0, 9.0],
        "inland": pa.array([1, 1], pa.int32()),
        "event_timestamp": pa.array([AT + timedelta(days=1)] * 2, pa.timestamp("us", tz="UTC")),
    }
    return pa.record_batch(columns | replaced)


def test_a_write_that_fails_leaves_no_row_in_part_and_is_completed_by_the_next(write, online, online_kind):
    assert write((2, 2.0))[0] == 2.0
    stores, config, view = online.stores, online.store.config, online.view()
    with pytest.raises(DataError, match="1 rows have no listing_id"):
        stores.write_arrow(config, view, iter([batch().slice(0, 1), batch()]), None)
    # PostgreSQL takes all of it back; in Redis the rows before the error are there, and right.
    assert online.served("median_income", "inland") in ([2.0, 1], [9.0, 1])
    if online_kind == "postgres":
        assert online.served("median_income") == [2.0]
    assert stores.write_arrow(config, view, iter([batch().slice(0, 1)]), None) == 1
    assert online.served("median_income") == [9.0]


def test_rows_are_counted_and_reported_as_they_are_written(online):
    told = []
    many = pa.table(
        {
            "listing_id": pa.array(range(25_000), pa.int64()),
            "median_income": pa.array([float(number) for number in range(25_000)]),
            "rooms_per_household": pa.nulls(25_000, pa.float64()),
            "inland": pa.array([1] * 25_000, pa.int32()),
            "event_timestamp": pa.array([AT] * 25_000, pa.timestamp("us", tz="UTC")),
        }
    )
    batches = many.to_batches(max_chunksize=11_000)
    assert online.stores.write_arrow(online.store.config, online.view(), iter(batches), told.append) == 25_000
    assert sum(told) == 25_000
    found = online.read(*range(25_000))
    assert [values for _, values in found[1:]] == [[float(number), None, 1] for number in range(1, 25_000)]


def test_an_unknown_entity_column_is_said_online_and_an_unknown_key_has_no_values(write, online):
    write((2, 2.0))
    with pytest.raises(KeyError, match="listing_id"):
        online.store.get_online_features(features=["listing_features:median_income"], entity_rows=[{"seller": 1}])
    assert online.served("median_income", number=99) == [None]
