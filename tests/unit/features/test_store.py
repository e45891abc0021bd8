"""The feature store on real servers: the registry in PostgreSQL, the online store there and in Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core.errors import ConfigError
from include.core.settings import Settings
from include.features import freshness, skew
from include.features import store as feature_store
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from tests.tables import day

pytestmark = pytest.mark.slow

DAY, NEXT_DAY = day("2025-01-02"), day("2025-01-03")


def online_income(store, keys):
    rows = [{"listing_id": key} for key in keys]
    features = ["california_housing_features:median_income"]
    return store.get_online_features(features=features, entity_rows=rows).to_dict()["median_income"]


@pytest.mark.parametrize("field", feature_store.NEEDED)
def test_a_missing_variable_is_named(feast_environment, field, monkeypatch):
    variable = Settings.model_fields[field].validation_alias
    monkeypatch.delenv(variable)
    with pytest.raises(ConfigError, match=variable):
        feature_store.open_store()


def test_a_registry_elsewhere_is_refused(feast_environment, monkeypatch, tmp_path):
    monkeypatch.setenv("FLIGHTLINE_FEAST_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
    with pytest.raises(ConfigError, match="is a sqlite database"):
        feature_store.open_store()


def test_apply_changes_only_what_differs(store, spec, make_spec, build):
    assert not feature_store.apply(store, spec)
    build(DAY, [1], 5.0)
    assert not feature_store.apply(store, spec)
    longer = make_spec(**{"ttl_days: 400": "ttl_days: 500"})
    assert feature_store.apply(store, longer)
    assert store.get_feature_view("california_housing_features").ttl.days == 500
    assert len(store.get_feature_view("california_housing_features").materialization_intervals) == 1
    assert not feature_store.apply(feature_store.open_store(), longer)


def test_many_may_open_and_apply_at_once(feast_environment, spec):
    def run(_):
        return feature_store.apply(feature_store.open_store(), spec)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [False, False, False, True]


def test_materialize_takes_that_day_alone_and_can_be_repeated(store, spec, build):
    build(DAY, [1, 2], 5.0, materialize=False)
    build(NEXT_DAY, [2, 3], 6.0, materialize=False)
    for _ in range(2):
        feature_store.materialize(store, spec, DAY)
        assert online_income(store, [1, 2, 3, 4]) == [5.0, 5.0, None, None]
    feature_store.materialize(store, spec, NEXT_DAY)
    assert online_income(store, [1, 2, 3]) == [5.0, 6.0, 6.0]


def test_an_older_day_never_replaces_a_newer_value(store, spec, build, lake):
    build(NEXT_DAY, [2, 3], 6.0)
    build(DAY, [1, 2], 5.0)
    assert online_income(store, [1, 2, 3]) == [5.0, 6.0, 6.0]
    for one, keys in ((DAY, 2), (NEXT_DAY, 3)):
        assert skew.check_skew(store, spec, lake, one) == skew.Skew(
            keys=keys, mismatches=0, expired=0, features=(), compared=3 * keys
        )


def test_overlapping_intervals_materialised_at_once_leave_the_newest_values(store, spec, build):
    build(DAY, [1, 2], 5.0, materialize=False)
    build(NEXT_DAY, [2, 3], 6.0, materialize=False)

    def run(number):
        own = feature_store.open_store()
        if number % 3 == 0:  # as a person may do by hand, over both days
            start, end = DAY.start, NEXT_DAY.last_moment
            own.materialize(start, end, feature_views=["california_housing_features"])
        else:
            feature_store.materialize(own, spec, DAY if number % 3 == 1 else NEXT_DAY)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(9)))
    assert online_income(store, [1, 2, 3]) == [5.0, 6.0, 6.0]


def test_days_materialised_at_once_are_all_in_the_registry(store, spec, build):
    days = list(DAY.to(DAY.shift(5)))
    for one in days:
        build(one, [1], 5.0, materialize=False)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: feature_store.materialize(feature_store.open_store(), spec, one), days))
    store.refresh_registry()
    intervals = store.get_feature_view("california_housing_features").materialization_intervals
    assert intervals == [(days[0].start, days[-1].last_moment)]


def test_days_that_adjoin_are_one_interval_also_in_a_registry_of_before(store, spec, build):
    days = list(DAY.to(DAY.shift(3)))
    for one in days:
        build(one, [1], 5.0, materialize=False)
    for one in days[:2]:  # as it was kept before
        store.materialize(one.start, one.last_moment, feature_views=["california_housing_features"])
    assert len(store.get_feature_view("california_housing_features").materialization_intervals) == 2
    feature_store.materialize(store, spec, days[3])
    intervals = store.get_feature_view("california_housing_features").materialization_intervals
    assert intervals == [(days[0].start, days[1].last_moment), (days[3].start, days[3].last_moment)]
    settings = Settings.load()
    lake = Lakehouse(settings.lakehouse_uri)
    found = [freshness.missing(Run(spec, settings, lake, "run", one)) is None for one in days]
    assert found == [True, True, False, True]


@given(st.lists(st.integers(0, 20), max_size=25))
def test_merged_intervals_are_the_set_of_their_days(numbers):
    intervals = []
    for number in numbers:
        one = DAY.shift(number)
        intervals = feature_store.merged([*intervals, (one.start, one.last_moment)])
    spans = [((start - DAY.start).days, (end - DAY.start).days) for start, end in intervals]
    found = [number for first, last in spans for number in range(first, last + 1)]
    assert found == sorted(set(numbers))
    assert len(intervals) == sum(number - 1 not in numbers for number in set(numbers))
    assert all(DAY.shift(first).start == start for (first, _), (start, _) in zip(spans, intervals, strict=True))
    assert all(DAY.shift(last).last_moment == end for (_, last), (_, end) in zip(spans, intervals, strict=True))


def test_intervals_that_overlap_or_lie_within_one_are_merged():
    def at(hour):
        return DAY.start + timedelta(hours=hour)

    apart = [(at(0), at(1)), (at(2), at(3))]
    assert feature_store.merged(apart) == apart
    assert feature_store.merged([(at(4), at(9)), (at(0), at(8)), (at(5), at(6))]) == [(at(0), at(9))]


def test_a_day_computed_anew_replaces_its_values(store, spec, build):
    build(DAY, [1], 5.0)
    build(DAY, [1], 7.0)
    assert online_income(store, [1]) == [7.0]


def test_materializing_an_empty_day_changes_nothing(store, build):
    build(DAY, [1], 5.0)
    build(NEXT_DAY, [], 0.0)
    assert online_income(store, [1]) == [5.0]
