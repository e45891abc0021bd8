"""features.sql that reads back in time: the same features in whatever order days come, and none of a later day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.features import lookback, query, skew, steps
from include.features import store as feature_store
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP, FEATURES, METRICS
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.orchestration import lineage
from tests.tables import day, put

FIRST = day("2025-01-02")
DAYS = tuple(FIRST.shift(number) for number in range(7))
DAYS_BACK = 3
SQL = """
SELECT listing_id, event_timestamp,
    lag(median_income) OVER (PARTITION BY listing_id ORDER BY event_timestamp) AS last_income,
    avg(median_income) OVER before AS avg_income_3d_listing
FROM clean_california_housing
WINDOW before AS (
    PARTITION BY listing_id ORDER BY event_timestamp
    RANGE BETWEEN INTERVAL 3 DAYS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
)
"""
Incomes = Mapping[int, float]
Features = dict[int, tuple[float | None, float | None]]
changes = st.lists(
    st.tuples(
        st.sampled_from(DAYS),
        st.dictionaries(st.integers(1, 3), st.floats(0.5, 15.0, width=32)),
    ),
    min_size=1,
    max_size=8,
)
"""A day comes, comes again with other rows, or is withdrawn (of none); in any order."""


@pytest.fixture
def make_back(make_spec: Callable[..., ModelSpec]) -> Callable[..., ModelSpec]:
    """Return a function that makes a model that looks back."""
    return lambda sql=SQL, length="3 days": make_spec(sql, **{"ttl_days: 400": f"ttl_days: 400\n  lookback: {length}"})


@pytest.fixture
def back(make_back: Callable[..., ModelSpec]) -> ModelSpec:
    return make_back()


def rows_of(incomes: Incomes, of: Partition) -> pa.Table:
    times = pa.repeat(pa.scalar(of.start), len(incomes))
    return pa.table({"listing_id": list(incomes), "median_income": list(incomes.values()), EVENT_TIMESTAMP: times})


def accept(spec: ModelSpec, lake: Lakehouse, of: Partition, incomes: Incomes) -> list[Partition]:
    """Take in a day's rows, and compute what has to be; which later days that were."""
    put(lake, CLEAN.of(spec), rows_of(incomes, of), of)
    for partition in ([of] if incomes else []) + (again := lookback.stale(spec, lake, of)):
        query.write(spec, lake, partition)
    return again


@pytest.fixture
def take_in(back: ModelSpec, lake: Lakehouse) -> Callable[..., list[Partition]]:
    return partial(accept, back, lake)


def features_of(lake: Lakehouse, spec: ModelSpec, of: Partition) -> Features:
    rows = lake.read(FEATURES.of(spec, query.feature_schema(spec)), where=within(of)).to_pylist()
    return {row["listing_id"]: (row["last_income"], row["avg_income_3d_listing"]) for row in rows}


def looked_up(accepted: Mapping[Partition, Incomes], of: Partition) -> Features:
    """The same by a loop over days."""
    found: Features = {}
    for key in accepted[of]:
        before = [of.shift(-number) for number in range(DAYS_BACK, 0, -1)]
        incomes = [accepted[earlier][key] for earlier in before if key in accepted.get(earlier, {})]
        found[key] = (incomes[-1], sum(incomes) / len(incomes)) if incomes else (None, None)
    return found


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=changes)
def test_after_any_changes_features_are_those_of_a_loop_over_the_rows_of_now(back, changes):
    accepted: dict[Partition, Incomes] = {}
    with TemporaryDirectory() as folder:
        lake = Lakehouse(folder)
        for of, incomes in changes:
            accept(back, lake, of, incomes)
            accepted[of] = incomes
        for of in (of for of, incomes in accepted.items() if incomes):
            found, expected = features_of(lake, back, of), looked_up(accepted, of)
            assert found.keys() == expected.keys()
            for key, (last, mean) in expected.items():
                assert found[key] == (last, mean and pytest.approx(mean, rel=1e-12)), f"{key} of {of}"
            assert lookback.stale(back, lake, of) == []


@pytest.mark.slow
def test_in_whatever_order_days_come_their_features_are_the_same_to_the_last_digit(make_back, tmp_path):
    spec = make_back(
        "SELECT listing_id, event_timestamp, sum(median_income) OVER () AS all_income FROM clean_california_housing"
    )
    incomes = {of: {key: 1 / (3 + number + key) for key in range(9)} for number, of in enumerate(DAYS)}
    found = []
    for number, order in enumerate((DAYS, DAYS[::-1], DAYS[3:] + DAYS[:3])):
        lake = Lakehouse(str(tmp_path / f"order_{number}"))
        for of in order:
            accept(spec, lake, of, incomes[of])
        rows = lake.read(FEATURES.of(spec, query.feature_schema(spec)))
        found.append(rows.sort_by([("event_timestamp", "ascending"), ("listing_id", "ascending")]).to_pylist())
    assert found[0] == found[1] == found[2]


def test_a_backfilled_day_does_not_see_the_next_one(lake, back, take_in):
    for number, of in enumerate(DAYS[:3]):
        take_in(of, {1: float(number)})
    in_order = features_of(lake, back, DAYS[2])
    take_in(DAYS[3], {1: 99.0})
    query.write(back, lake, DAYS[2])
    assert features_of(lake, back, DAYS[2]) == in_order == {1: (1.0, 0.5)}


def test_the_first_day_has_nulls_and_no_row_of_an_earlier_day_is_written(lake, back, take_in):
    take_in(DAYS[0], {1: 5.0, 2: 6.0})
    assert features_of(lake, back, DAYS[0]) == {1: (None, None), 2: (None, None)}
    take_in(DAYS[1], {2: 7.0})
    assert features_of(lake, back, DAYS[1]) == {2: (6.0, 6.0)}


def test_what_is_wrong_with_earlier_rows_alone_stops_no_later_day(lake, make_back, put_clean):
    spec = make_back(
        "SELECT listing_id, event_timestamp, 1 / (households - 2) AS x FROM clean_california_housing", "3 days"
    )
    put_clean(spec, [1], DAYS[0], households=[2])  # gives infinity
    put_clean(spec, [1], DAYS[1], households=[3])
    assert query.compute(spec, lake, DAYS[1])["x"].to_pylist() == [1.0]


def test_a_text_of_an_earlier_row_that_nobody_named_stops_no_later_day(lake, make_spec, put_clean):
    spec = make_spec(
        "SELECT listing_id, event_timestamp, ocean_proximity FROM clean_california_housing",
        categories="{ocean_proximity: {values: [INLAND], unseen: fail}}",
        **{"ttl_days: 400": "ttl_days: 400\n  lookback: 3 days"},
    )
    put_clean(spec, [1], DAYS[0], ocean_proximity=["MARS"])
    put_clean(spec, [1], DAYS[1])
    assert query.compute(spec, lake, DAYS[1])["ocean_proximity"].to_pylist() == [1]
    with pytest.raises(DataError, match="ocean_proximity has texts that are not among its values"):
        query.compute(spec, lake, DAYS[0])


def test_a_lookback_need_be_no_whole_number_of_partitions(lake, make_back):
    spec = make_back(
        "SELECT listing_id, event_timestamp, count(*) OVER () AS seen FROM clean_california_housing", "30 hours"
    )
    for of in DAYS[:3]:
        put(lake, CLEAN.of(spec), at_hours(spec, of, [0, 12, 23]), of)
    assert query.compute(spec, lake, DAYS[2])["seen"].to_pylist() == [7, 7, 7]  # 18:00 of the first day on
    query.write(spec, lake, DAYS[2])
    put(lake, CLEAN.of(spec), at_hours(spec, DAYS[0], [1, 13, 23]), DAYS[0])
    assert lookback.stale(spec, lake, DAYS[0]) == [], "what changed is before the 30 hours"
    put(lake, CLEAN.of(spec), at_hours(spec, DAYS[0], [1, 20, 23]), DAYS[0])
    assert lookback.stale(spec, lake, DAYS[0]) == [DAYS[2]]


def at_hours(spec: ModelSpec, of: Partition, hours: list[int]) -> pa.Table:
    times = [of.start + timedelta(hours=hour) for hour in hours]
    return pa.table({spec.entity.keys[0]: range(len(hours)), EVENT_TIMESTAMP: pa.array(times)})


def test_files_before_the_lookback_are_not_read(lake, back, take_in, tmp_path: Path):
    for of in DAYS:
        take_in(of, {1: 5.0})
    for of in DAYS[:3]:
        rmtree(tmp_path / "lake" / CLEAN.of(back).name / f"partition_key={of}")
    query.write(back, lake, DAYS[6])  # sees the days from the fourth on
    with pytest.raises(FileNotFoundError):
        query.write(back, lake, DAYS[5])


def test_a_day_that_changes_names_the_later_days_that_saw_other_rows(lake, back, take_in, put_clean):
    for of in (DAYS[0], *DAYS[2:]):
        take_in(of, {1: 5.0, 2: 6.0})
    assert take_in(DAYS[1], {1: 7.0}) == list(DAYS[2:5]), "it came late"
    assert take_in(DAYS[1], {1: 7.0}) == [], "it came again as it was"
    assert take_in(DAYS[1], {1: 8.0}) == list(DAYS[2:5])
    put_clean(back, [], DAYS[3])
    assert take_in(DAYS[1], {}) == [DAYS[2], DAYS[4]], "it is withdrawn; of the fourth day nothing is accepted"


def test_what_is_computed_again_is_computed_once(lake, back, take_in):
    for of in (DAYS[0], DAYS[3]):
        take_in(of, {1: 5.0})
    run = Run(back, Settings(landing_uri="unused"), lake, "run", DAYS[3])
    assert steps.compute_features(run, if_stale=True) is None
    for of in DAYS[1:3]:  # both announce the fourth day
        put(lake, CLEAN.of(back), rows_of({1: 7.0}, of), of)
        assert steps.find_stale(replace(run, asked_for=of)) == [DAYS[3].key]
    assert steps.compute_features(run, if_stale=True) is not None
    assert steps.compute_features(run, if_stale=True) is None
    assert features_of(lake, back, DAYS[3]) == {1: (7.0, 19 / 3)}
    assert steps.compute_features(run) is not None
    put(lake, CLEAN.of(back), rows_of({1: 8.0}, DAYS[2]), DAYS[2])
    put(lake, CLEAN.of(back), rows_of({}, DAYS[3]), DAYS[3])
    assert steps.compute_features(run, if_stale=True) is None, "it was withdrawn meanwhile"


def test_features_of_which_nothing_says_what_they_saw_are_stale(lake, spec, back, put_clean):
    put_clean(spec, [1], DAYS[0])
    query.write(spec, lake, DAYS[0])
    assert lookback.is_stale(back, lake, DAYS[0])
    query.write(back, lake, DAYS[0])
    assert not lookback.is_stale(back, lake, DAYS[0])


def test_a_model_that_does_not_look_back_keeps_nothing_and_names_nothing(lake, spec, put_clean):
    for of in (DAYS[1], DAYS[0]):
        put_clean(spec, [1], of)
        query.write(spec, lake, of)
    assert not lake.exists(METRICS.of(spec))
    assert lookback.stale(spec, lake, DAYS[0]) == []


def test_a_day_that_comes_while_a_later_one_is_computed_is_in_its_features(lake, back, take_in, put_clean, monkeypatch):
    take_in(DAYS[1], {1: 5.0})
    of_rows = query.of_rows

    def meanwhile(*given):
        found = of_rows(*given)
        monkeypatch.setattr(query, "of_rows", of_rows)
        put_clean(back, [1], DAYS[0], median_income=[4.0])
        return found

    monkeypatch.setattr(query, "of_rows", meanwhile)
    query.write(back, lake, DAYS[1])
    assert features_of(lake, back, DAYS[1]) == {1: (4.0, 4.0)}
    assert lookback.stale(back, lake, DAYS[0]) == []


@pytest.mark.slow
def test_a_late_day_is_online_in_the_values_of_the_days_after_it(lake, back, store):
    def build(of: Partition) -> None:
        query.write(back, lake, of)
        feature_store.materialize(store, back, of)

    def online() -> list[tuple[float | None, float | None]]:
        found = feature_store.read_online(store, back.feature_service, [{"listing_id": 1}, {"listing_id": 2}])
        return list(zip(found["last_income"], found["avg_income_3d_listing"], strict=True))

    feature_store.apply(store, back)
    assert store.get_feature_view(back.feature_view).tags["source.lookback"] == "3 days"
    for of, incomes in ((DAYS[0], {1: 4.0, 2: 5.0}), (DAYS[2], {1: 6.0, 2: 7.0})):
        accept(back, lake, of, incomes)
        build(of)
        assert skew.check_skew(store, back, lake, of).mismatches == 0, "nulls of the first day, too"
    assert online() == [(4.0, 4.0), (5.0, 5.0)]
    put(lake, CLEAN.of(back), rows_of({1: 8.0}, DAYS[1]), DAYS[1])
    build(DAYS[1])
    assert online() == [(4.0, 4.0), (5.0, 5.0)], "an older day never replaces a newer value"
    for of in lookback.stale(back, lake, DAYS[1]):
        build(of)
    assert online() == [(8.0, 6.0), (5.0, 5.0)]
    assert [skew.check_skew(store, back, lake, of).mismatches for of in DAYS[:3]] == [0, 0, 0]


def test_lineage_counts_the_rows_that_were_looked_back_on(lake, back, take_in, monkeypatch):
    for number, of in enumerate(DAYS[:6]):
        take_in(of, dict.fromkeys(range(number + 1), 5.0))
    run = Run(back, Settings(landing_uri="unused"), lake, "run", DAYS[5])
    monkeypatch.setattr(lineage, "open_run", lambda model, partition: run)
    read, written = lineage.of_task(back.name, "build_features", "compute_features", DAYS[5])
    assert [(item.name.rsplit("/")[-1], item.rows) for item in read] == [(CLEAN.of(back).name, 3 + 4 + 5 + 6)]
    assert [(item.name.rsplit("/")[-1], item.rows) for item in written] == [
        (FEATURES.of(back).name, 6),
        (METRICS.of(back).name, 3),
    ]


def test_partitions_that_are_longer_than_the_lookback_see_the_end_of_the_one_before(make_spec):
    spec = make_spec(**{"grain: day": "grain: month", "ttl_days: 400": "ttl_days: 400\n  lookback: 2 weeks"})
    march = Partition.parse("2025-03", spec.grain)
    assert lookback.first_partition(spec, march) == march.shift(-1)
    assert lookback.first_partition(spec, spec.first_partition) == spec.first_partition
