from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.evaluation.drift import ColumnDrift, ColumnKind, Samples, compare
from include.lakehouse.schemas import PROFILES
from include.lakehouse.tables import Lakehouse
from include.monitoring import input_drift
from include.monitoring.input_drift import spread
from tests.tables import day, put

DAY = day("2025-01-05")
BEFORE = [DAY.shift(-2), DAY.shift(-1)]


@pytest.fixture
def spec() -> ModelSpec:
    return catalogue.load("california_housing")


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path))


def profile(
    spec: ModelSpec,
    lake: Lakehouse,
    partition: Partition,
    *,
    null_rooms: int = 0,
    places: Mapping[str, int],
    kept: int = 50,
) -> None:
    """Write the profile of a batch, as ingestion does: so many rows of each place, the most frequent ones kept."""
    lines: list[tuple[str, str, str | None, float]] = []
    for name in spec.columns:
        lines += [(name, "count", None, sum(places.values())), (name, "nulls", None, 0.0), (name, "mean", None, 7.0)]
    lines[lines.index(("total_rooms", "nulls", None, 0.0))] = ("total_rooms", "nulls", None, null_rooms)
    if not spec.columns["ocean_proximity"].pii:
        most = sorted(places, key=lambda name: -places[name])[:kept]
        lines += [("ocean_proximity", "frequency", name, places[name]) for name in most]
    frame = pd.DataFrame(lines, columns=["column", "statistic", "category", "value"]).astype({"value": float})
    put(lake, PROFILES.of(spec), frame, partition)


def detect(spec: ModelSpec, lake: Lakehouse) -> dict[tuple[str, str], ColumnDrift]:
    found = input_drift.detect(spec, lake, [DAY.key], [partition.key for partition in BEFORE])
    return {(item.column, item.kind.value): item for item in found}


USUAL = {"INLAND": 120, "NEAR BAY": 80}


@pytest.fixture
def known(spec: ModelSpec, lake: Lakehouse) -> None:
    for partition in BEFORE:
        profile(spec, lake, partition, null_rooms=2, places=USUAL)


@pytest.mark.usefixtures("known")
def test_the_same_batch_has_not_drifted(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, null_rooms=2, places=USUAL)
    found = detect(spec, lake)
    assert {item.distance for item in found.values()} == {0.0}
    assert not any(item.drifted for item in found.values())
    assert {column for column, statistic in found if statistic == "nulls"} == set(spec.columns)
    assert [column for column, statistic in found if statistic == "category"] == ["ocean_proximity"]


@pytest.mark.usefixtures("known")
def test_a_column_that_starts_to_arrive_empty_is_named(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, null_rooms=62, places=USUAL)
    found = detect(spec, lake)
    assert [key for key, item in found.items() if item.drifted] == [("total_rooms", "nulls")]
    assert found["total_rooms", "nulls"].distance == pytest.approx(60 / 200)


@pytest.mark.usefixtures("known")
def test_another_mix_of_categories_is_named(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, null_rooms=2, places={"INLAND": 80, "NEAR BAY": 80, "LAKE": 40})
    found = detect(spec, lake)
    assert [key for key, item in found.items() if item.drifted] == [("ocean_proximity", "category")]
    assert found["ocean_proximity", "category"].distance == pytest.approx(0.2)


@pytest.mark.usefixtures("known")
def test_a_few_rows_prove_nothing(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, places={"NEAR BAY": 2})
    assert not any(item.drifted for item in detect(spec, lake).values())


def test_without_profiles_nothing_is_said(spec: ModelSpec, lake: Lakehouse) -> None:
    assert detect(spec, lake) == {}
    profile(spec, lake, DAY, places=USUAL)
    assert detect(spec, lake) == {}


@pytest.mark.usefixtures("known")
def test_personal_columns_are_judged_by_their_nulls_alone(spec: ModelSpec, lake: Lakehouse) -> None:
    tagged = spec.columns["ocean_proximity"].model_copy(update={"pii": True})
    spec = spec.model_copy(update={"columns": {**spec.columns, "ocean_proximity": tagged}})
    for partition in (DAY, *BEFORE):
        profile(spec, lake, partition, places={"LAKE": 50})
    assert ("ocean_proximity", "category") not in detect(spec, lake)
    assert ("ocean_proximity", "nulls") in detect(spec, lake)


def test_categories_that_a_profile_leaves_out_are_no_drift(spec: ModelSpec, lake: Lakehouse) -> None:
    for partition in BEFORE:
        profile(spec, lake, partition, places={"A": 100, "B": 60, "C": 50}, kept=2)
    profile(spec, lake, DAY, places={"A": 100, "C": 56, "B": 54}, kept=2)
    assert not detect(spec, lake)["ocean_proximity", "category"].drifted


def test_other_categories_are_drift_also_where_profiles_leave_some_out(spec: ModelSpec, lake: Lakehouse) -> None:
    rare = {f"rare {n}": 1 for n in range(20)}
    for partition in BEFORE:
        profile(spec, lake, partition, places={**{f"old {n}": 20 for n in range(10)}, **rare}, kept=10)
    profile(spec, lake, DAY, places={**{f"new {n}": 20 for n in range(10)}, **rare}, kept=10)
    found = detect(spec, lake)["ocean_proximity", "category"]
    assert found.drifted
    assert found.distance >= 0.8  # 20 of 220 rows can be of any category


def test_a_category_that_is_named_some_days_only_is_no_drift(spec: ModelSpec, lake: Lakehouse) -> None:
    """Not named on most days, it had at most as many rows as the rarest that was, on each of them."""
    for number, partition in enumerate(BEFORE):
        place = "X" if number else "Y"
        profile(spec, lake, partition, places={"A": 100, "B": 60, place: 41, "C": 40}, kept=3)
    profile(spec, lake, DAY, places={"A": 100, "B": 60, "C": 41, "X": 40}, kept=3)
    assert not detect(spec, lake)["ocean_proximity", "category"].drifted


def test_a_long_training_set_is_compared_with_in_part(spec: ModelSpec, lake: Lakehouse) -> None:
    """Evenly spread, first and last among them, the partition itself never."""
    places = spread(336, 16)
    assert (len(places), places[0], places[-1]) == (16, 0, 335)
    assert set(np.diff(places)) <= {22, 23}
    assert spread(5, 16).tolist() == [0, 1, 2, 3, 4]
    assert spread(0, 16).tolist() == []
    for number in range(30):
        profile(spec, lake, DAY.shift(-30 + number), places={"INLAND": 100} if number else {"ISLAND": 1500})
    profile(spec, lake, DAY, places={"INLAND": 50, "ISLAND": 50})
    keys = [DAY.shift(-30 + number).key for number in range(30)]
    (found,) = [item for item in input_drift.detect(spec, lake, [DAY.key], [*keys, DAY.key]) if item.kind == "category"]
    assert found.distance == pytest.approx(0)  # of 16 partitions one, the first, has 1,500 rows of another place


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 40), max_size=4)


@settings(max_examples=60, deadline=None)
@given(now=COUNTS, before=COUNTS)
def test_the_distance_is_the_total_variation_of_the_rows(now: dict[str, int], before: dict[str, int]) -> None:
    """Against the definition: the largest difference of the probability of any set of categories."""

    def counts(of: dict[str, int]) -> input_drift._Counts:
        return input_drift._Counts(sum(of.values()), 0, {name: float(n) for name, n in of.items() if n})

    def share(of: dict[str, int], names: set[str]) -> float:
        return sum(n for name, n in of.items() if name in names) / sum(of.values())

    sides = [np.array(side) for side in input_drift._categories(counts(before), counts(now))]
    rule = catalogue.load("california_housing").monitoring.drift
    (found,) = compare([Samples("x", ColumnKind.CATEGORY, *sides)], rule)
    if not (sum(now.values()) and sum(before.values())):
        assert found.distance == 0
        return
    sets = [{name for bit, name in enumerate("abcd") if mask >> bit & 1} for mask in range(16)]
    assert found.distance == pytest.approx(max(share(now, names) - share(before, names) for names in sets))
