"""The skew gate on real servers: online values against the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.partition import Grain, Partition
from include.core.settings import Settings
from include.features import query, skew
from include.features import store as feature_store
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import FEATURES
from tests.stores import on_one_store
from tests.tables import day

pytestmark = pytest.mark.slow

DAY, NEXT_DAY, LATER = day("2025-01-02"), day("2025-01-03"), day("2025-03-01")


@pytest.fixture
def gate(store, lake):
    """Return a function that asks the gate about a partition."""
    return lambda spec, partition: skew.gate(Run(spec, Settings(landing_uri="unused"), lake, "a run", partition), store)


def test_it_counts_and_names_what_differs(store, spec, build, lake):
    build(DAY, [1, 2, 3], 5.0)
    build(DAY, [1, 2, 3, 4], 5.5, materialize=False)
    found = skew.check_skew(store, spec, lake, DAY)
    # Three keys with another income, and all three features of the key that is not online.
    assert (found.keys, found.mismatches, found.expired) == (4, 6, 0)
    assert found.features == ("median_income", "rooms_per_household", "inland")


@on_one_store
def test_a_key_may_be_named_order(store, make_spec, lake, put_clean):
    sql = 'SELECT "order", event_timestamp, median_income FROM clean_california_housing'
    spec = make_spec(sql, **{"keys: [listing_id]": "keys: [order]", "  listing_id:": "  order:"})
    feature_store.apply(store, spec)
    for income, materialize in ((5.0, True), (5.5, False)):
        put_clean(spec, [1, 2, 3], DAY, median_income=[income] * 3)
        query.write(spec, lake, DAY)
        if materialize:
            feature_store.materialize(store, spec, DAY)
    assert skew.check_skew(store, spec, lake, DAY).mismatches == 3


def test_it_counts_keys_that_are_served_beyond_their_time(store, make_spec, build, lake):
    build(DAY, [1, 2], 5.0)
    build(LATER.shift(-1), [1, 2], 5.0, materialize=False)
    build(LATER, [3], 5.0)
    short = make_spec(**{"ttl_days: 400": "ttl_days: 30"})
    feature_store.apply(store, short)
    found = skew.check_skew(store, short, lake, LATER)
    assert (found.keys, found.mismatches, found.expired) == (3, 0, 2)


def test_keys_that_a_materialisation_removed_as_expired_are_missed_where_the_table_has_younger_rows(
    store, make_spec, build, lake
):
    short = make_spec(**{"ttl_days: 400": "ttl_days: 30"})
    feature_store.apply(store, short)
    build(DAY, [1, 2], 5.0)
    build(LATER.shift(-1), [1], 5.0, materialize=False)
    build(LATER, [3], 5.0)
    found = skew.check_skew(store, short, lake, LATER)
    assert (found.keys, found.mismatches, found.expired) == (2, 3, 0)


@given(st.sampled_from(Grain), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(1, 800))
def test_no_value_of_a_sampled_partition_has_expired_and_no_other_one_is_left_out(grain, at, ttl_days):
    partition = Partition.of(at.replace(tzinfo=UTC), grain)
    first, ttl = skew.first_unexpired(partition, ttl_days), timedelta(days=ttl_days)
    assert partition.last_moment - first.start <= ttl < partition.last_moment - first.shift(-1).start
    if ttl_days >= 31:
        assert first <= partition, "its own values never have"


@on_one_store
def test_the_sample_is_of_the_day_and_of_before(store, spec, build, lake):
    build(DAY, list(range(100)), 5.0)
    build(NEXT_DAY, list(range(100, 200)), 5.0)
    sample = skew._sample(spec, lake, NEXT_DAY, 20)
    assert sample == skew._sample(spec, lake, NEXT_DAY, 20)
    keys = [entity["listing_id"] for entity in sample]
    assert sum(key >= 100 for key in keys) == 10
    assert len(set(keys)) == 20
    assert keys[:10] != sorted(keys[:10])
    with pytest.raises(DataError, match="has no rows of 2025-01-04"):
        skew.check_skew(store, spec, lake, day("2025-01-04"))


def test_a_day_that_agrees_passes_and_is_recorded(gate, spec, build, lake):
    build(DAY, [1, 2, 3], 5.0)
    found = gate(spec, DAY)
    assert (found.keys, found.compared, found.share) == (3, 9, 0.0)
    gate(spec, DAY)
    rows = lake.read("skew_california_housing").to_pydict()
    assert rows["feature"] == ["median_income", "rooms_per_household", "inland"]
    assert rows["skew"] == [0.0] * 3
    (decided,) = decisions.history(lake, spec.name, Kind.SKEW_GATE)
    assert (decided.subject, decided.outcome, decided.reasons) == (DAY.key, Outcome.PASSED, [])


def test_skew_beyond_the_limit_stops_the_day_and_names_the_features(gate, spec, make_spec, build, lake):
    build(DAY, [1, 2, 3], 5.0)
    build(DAY, [1, 2, 3], 5.5, materialize=False)
    with pytest.raises(DataError) as caught:
        gate(spec, DAY)
    said = "33.33% of the values served online differ from the table, limit 0.00%: median_income (3 of 3 keys)"
    assert said in str(caught.value)
    (decided,) = decisions.history(lake, spec.name, Kind.SKEW_GATE)
    assert (decided.outcome, decided.reasons) == (Outcome.FAILED, ["skewed_feature:median_income"])
    # The number is there all the same.
    rows = lake.read("skew_california_housing").to_pydict()
    assert (rows["mismatches"], rows["skew"][0]) == ([3, 0, 0], pytest.approx(1 / 3))
    tolerant = make_spec(**{"max_skew: 0.0 ": "max_skew: 0.34 "})
    assert gate(tolerant, DAY).features == ("median_income",)


@on_one_store
def test_too_many_expired_values_stop_the_day(gate, store, make_spec, build, lake):
    build(DAY, [1, 2], 5.0)
    build(LATER.shift(-1), [1, 2], 5.0, materialize=False)
    build(LATER, [3], 5.0)
    short = make_spec(**{"ttl_days: 400": "ttl_days: 30"})
    feature_store.apply(store, short)
    with pytest.raises(DataError, match=r"2 of 3 keys are served values older than 30 days \(66.67%, limit 5.00%\)"):
        gate(short, LATER)


@pytest.fixture
def many_days(store, spec, lake):
    """500 days of four keys each that are never delivered again, all of them online; and the last of the days."""
    feature_store.apply(store, spec)
    days = [DAY.shift(number) for number in range(500) for _ in range(4)]
    features = query.feature_schema(spec)
    table = FEATURES.of(spec, features)
    values = {"median_income": 5.0, "rooms_per_household": 1.0, "inland": 1}
    columns = {
        "listing_id": list(range(len(days))),
        "event_timestamp": [one.start for one in days],
        "partition_key": [one.key for one in days],
        **{name: [value] * len(days) for name, value in values.items()},
    }
    rows = pa.table({name: pa.array(columns[name], table.schema.field(name).type) for name in table.schema.names})
    write_deltalake(lake.uri(table), rows, partition_by=["partition_key"])
    store.materialize(days[0].start, days[-1].last_moment, feature_views=["california_housing_features"])
    return days[-1]


@on_one_store
def test_the_gate_passes_when_most_keys_ever_seen_are_beyond_their_time(many_days, gate, spec):
    assert spec.features.ttl_days == 400
    found = gate(spec, many_days)
    assert (found.keys, found.mismatches, found.expired) == (4 + 4 * skew.SAMPLED_PARTITIONS, 0, 0)


@on_one_store
def test_the_sample_reads_a_bounded_number_of_days_within_the_time_to_live(many_days, spec, lake):
    sample = skew._sample(spec, lake, many_days, 200)
    days = {DAY.shift(entity["listing_id"] // 4) for entity in sample}
    assert many_days in days
    assert len(days) == 1 + skew.SAMPLED_PARTITIONS
    assert min(days) > many_days.shift(-400)
    assert max(days - {many_days}) > min(days).shift(200)  # from all of the time
