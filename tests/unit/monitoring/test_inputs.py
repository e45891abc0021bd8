from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.ingestion import casting
from include.ingestion.profile import Profile
from include.lakehouse.tables import Lakehouse
from include.monitoring import inputs
from include.monitoring.inputs import InputShift

DAY = date(2025, 1, 5)
BEFORE = [DAY - timedelta(days=n) for n in (1, 2)]


@pytest.fixture
def spec() -> ModelSpec:
    return catalogue.load("california_housing")


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(Places("dev", str(tmp_path / "landing"), str(tmp_path / "lakehouse"), ""))


def profile(spec: ModelSpec, lake: Lakehouse, day: date, *, null_rooms: int = 0, places: Mapping[str, int]) -> None:
    """Write the profile of a batch, as ingestion does: so many rows of each place, the first ones without rooms."""
    rows = sum(places.values())
    delivered = pa.table(
        {
            "listing_id": [str(n) for n in range(rows)],
            "total_rooms": [None if n < null_rooms else "7" for n in range(rows)],
            "ocean_proximity": [name for name, n in places.items() for _ in range(n)],
        }
    )
    seen = Profile(spec)
    seen.see(casting.cast(delivered, casting.types(spec)).columns)
    lake.replace_partition(spec.table("profiles"), seen.table(day), {"batch_date": day})


def detect(spec: ModelSpec, lake: Lakehouse) -> dict[tuple[str, str], InputShift]:
    found = inputs.detect(spec, lake, DAY, BEFORE, spec.monitoring.drift)
    return {(item.column, item.statistic): item for item in found}


USUAL = {"INLAND": 120, "NEAR BAY": 80}


@pytest.fixture
def known(spec: ModelSpec, lake: Lakehouse) -> None:
    for day in BEFORE:
        profile(spec, lake, day, null_rooms=2, places=USUAL)


@pytest.mark.usefixtures("known")
def test_the_same_batch_has_not_shifted(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, null_rooms=2, places=USUAL)
    found = detect(spec, lake)
    assert {item.distance for item in found.values()} == {0.0}
    assert not any(item.shifted for item in found.values())
    assert {column for column, statistic in found if statistic == "nulls"} == set(spec.columns)
    assert [column for column, statistic in found if statistic == "categories"] == ["ocean_proximity"]


@pytest.mark.usefixtures("known")
def test_a_column_that_starts_to_arrive_empty_is_named(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, null_rooms=62, places=USUAL)
    found = detect(spec, lake)
    assert [key for key, item in found.items() if item.shifted] == [("total_rooms", "nulls")]
    assert found["total_rooms", "nulls"].distance == pytest.approx(60 / 200)


@pytest.mark.usefixtures("known")
def test_another_mix_of_categories_is_named(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, null_rooms=2, places={"INLAND": 80, "NEAR BAY": 80, "LAKE": 40})
    found = detect(spec, lake)
    assert [key for key, item in found.items() if item.shifted] == [("ocean_proximity", "categories")]
    assert found["ocean_proximity", "categories"].distance == pytest.approx(0.2)


@pytest.mark.usefixtures("known")
def test_a_few_rows_prove_nothing(spec: ModelSpec, lake: Lakehouse) -> None:
    profile(spec, lake, DAY, places={"NEAR BAY": 2})
    assert not any(item.shifted for item in detect(spec, lake).values())


def test_without_profiles_nothing_is_said(spec: ModelSpec, lake: Lakehouse) -> None:
    assert detect(spec, lake) == {}
    profile(spec, lake, DAY, places=USUAL)
    assert detect(spec, lake) == {}


@pytest.mark.usefixtures("known")
def test_personal_columns_are_judged_by_their_nulls_alone(spec: ModelSpec, lake: Lakehouse) -> None:
    tagged = spec.columns["ocean_proximity"].model_copy(update={"pii": True})
    spec = spec.model_copy(update={"columns": {**spec.columns, "ocean_proximity": tagged}})
    for day in (DAY, *BEFORE):
        profile(spec, lake, day, places={"LAKE": 50})
    assert ("ocean_proximity", "categories") not in detect(spec, lake)
    assert ("ocean_proximity", "nulls") in detect(spec, lake)


def test_categories_that_a_profile_leaves_out_are_no_shift(
    spec: ModelSpec, lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.ingestion.profile.CATEGORIES", 2)
    for day in BEFORE:
        profile(spec, lake, day, places={"A": 100, "B": 60, "C": 50})
    profile(spec, lake, DAY, places={"A": 100, "C": 56, "B": 54})
    assert not detect(spec, lake)["ocean_proximity", "categories"].shifted


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 40), max_size=4)


@settings(max_examples=60, deadline=None)
@given(now=COUNTS, before=COUNTS)
def test_the_distance_is_the_total_variation_of_the_rows(now: dict[str, int], before: dict[str, int]) -> None:
    """Against the definition: the largest difference of the probability of any set of categories."""

    def counts(of: dict[str, int]) -> inputs._Counts:
        return inputs._Counts(sum(of.values()), 0, {name: float(n) for name, n in of.items() if n})

    def share(of: dict[str, int], names: set[str]) -> float:
        return sum(n for name, n in of.items() if name in names) / sum(of.values())

    distance, p_value = inputs._categories(counts(now), counts(before))
    assert 0 <= p_value <= 1
    if not (sum(now.values()) and sum(before.values())):
        assert distance == 0
        return
    sets = [{name for bit, name in enumerate("abcd") if mask >> bit & 1} for mask in range(16)]
    assert distance == pytest.approx(max(share(now, names) - share(before, names) for names in sets))
