"""The feature store on real servers: the registry in PostgreSQL, the online store there and in Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pandas as pd
import pytest

from include.errors import ConfigError
from include.features import parity, query
from include.features import store as feature_store
from include.models import catalogue
from include.places import PROJECT_ROOT

DAY, NEXT_DAY = date(2025, 1, 2), date(2025, 1, 3)


def online_income(store, keys):
    rows = [{"listing_id": key} for key in keys]
    return store.get_online_features(features=["listing_features:median_income"], entity_rows=rows).to_dict()[
        "median_income"
    ]


@pytest.mark.parametrize("variable", feature_store.VARIABLES)
def test_a_missing_variable_is_named(feast_environment, variable):
    environ = {name: value for name, value in os.environ.items() if name != variable}
    with pytest.raises(ConfigError, match=variable):
        feature_store.open_store(environ)


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
    assert store.get_feature_view("listing_features").ttl.days == 500
    assert len(store.get_feature_view("listing_features").materialization_intervals) == 1
    assert not feature_store.apply(feature_store.open_store(), longer)


def test_apply_refuses_the_names_of_a_registered_model(store, make_spec):
    with pytest.raises(ConfigError, match="also the one of model"):
        feature_store.apply(store, make_spec(name="rents"))


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
    for day in (DAY, NEXT_DAY):
        assert parity.check_parity(store, spec, lake, day) == parity.Parity(
            keys=2 if day == DAY else 3, mismatches=0, expired=0, features=(), compared=6 if day == DAY else 9
        )


def test_overlapping_intervals_materialised_at_once_leave_the_newest_values(store, spec, build):
    build(DAY, [1, 2], 5.0, materialize=False)
    build(NEXT_DAY, [2, 3], 6.0, materialize=False)

    def run(number):
        own = feature_store.open_store()
        if number % 3 == 0:  # as a person may do by hand, over both days
            start, end = query.day_start(DAY), query.day_end(NEXT_DAY)
            own.materialize(start, end, feature_views=["listing_features"])
        else:
            feature_store.materialize(own, spec, DAY if number % 3 == 1 else NEXT_DAY)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(9)))
    assert online_income(store, [1, 2, 3]) == [5.0, 6.0, 6.0]


def test_days_materialised_at_once_are_all_in_the_registry(store, spec, build):
    days = [date(2025, 1, day) for day in range(2, 8)]
    for day in days:
        build(day, [1], 5.0, materialize=False)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda day: feature_store.materialize(feature_store.open_store(), spec, day), days))
    store.refresh_registry()
    intervals = store.get_feature_view("listing_features").materialization_intervals
    assert sorted(start.date() for start, _ in intervals) == days


def test_a_day_computed_anew_replaces_its_values(store, spec, build):
    build(DAY, [1], 5.0)
    build(DAY, [1], 7.0)
    assert online_income(store, [1]) == [7.0]


def test_materializing_an_empty_day_changes_nothing(store, build):
    build(DAY, [1], 5.0)
    build(NEXT_DAY, [], 0.0)
    assert online_income(store, [1]) == [5.0]


FEAST = """
import sys
from feast.cli.cli import cli
for command in sys.argv[1:]:
    print(f"$ feast {command}", flush=True)
    cli(command.split(), standalone_mode=False)
"""
"""Several commands of Feast in one process: to import it takes longer than each of them."""


def test_feast_works_in_the_repository(feast_environment, put_clean, lake):
    done = subprocess.run(
        [sys.executable, "-c", FEAST, "apply", "plan", "feature-views list"],
        cwd=PROJECT_ROOT / "feature_repo",
        env={**os.environ, "PYTHONPATH": ".."},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    _, _, planned, listed = done.stdout.split("$ feast ")
    assert "No changes to registry" in planned
    assert "listing_features" in listed
    _request_time_features_are_the_same_offline_and_online(put_clean, lake)


def _request_time_features_are_the_same_offline_and_online(put_clean, lake):
    spec, store = catalogue.load("california_housing"), feature_store.open_store()
    put_clean(spec, [1, 2], median_income=[5.0, 8.0])
    query.write(spec, lake, DAY)
    feature_store.materialize(store, spec, DAY)
    asked = ["listing_features:median_income", "listing_request_features:price_to_income"]
    rows = [{"listing_id": 1, "asking_price": 250_000.0}, {"listing_id": 2, "asking_price": 400_000.0}]
    online = store.get_online_features(features=asked, entity_rows=rows).to_dict()
    assert online["price_to_income"] == [5.0, 5.0]
    frame = pd.DataFrame(rows).assign(event_timestamp=query.day_end(DAY))
    offline = store.get_historical_features(entity_df=frame, features=asked).to_df()
    assert offline["price_to_income"].tolist() == [5.0, 5.0]
