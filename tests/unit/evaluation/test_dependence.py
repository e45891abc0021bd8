"""What columns show together: values of other rows, columns in each other's place, places that are moved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.evaluation import dependence
from include.evaluation.faults import FaultKind

ALPHA = 0.01
FIXED = ("east", "north")


def rows(seed: int, count: int = 413) -> pd.DataFrame:
    """Towns along a coast, their size, what depends on it, and noise of its own."""
    rng = np.random.default_rng(seed)
    east = rng.uniform(-5, 5, count)
    north = east + rng.normal(0, 0.3, count)
    size = rng.lognormal(0, 0.6, count)
    return pd.DataFrame(
        {
            "east": east,
            "north": north,
            "rooms": size * rng.lognormal(1, 0.15, count),
            "people": size * rng.lognormal(0, 0.15, count),
            "coastal": (north > 1).astype(float),
            "inland": (north < -1).astype(float),
            "noise": rng.normal(size=count),
        }
    )


REFERENCE = rows(0, 4000)


def shuffled(name: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda day: day.assign(**{name: day[name].sample(frac=1, random_state=1).to_numpy()})


def named(day: pd.DataFrame, fixed: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    return {(fault.kind.value, fault.column) for fault in dependence.find(REFERENCE, day, ALPHA, fixed)}


@pytest.mark.parametrize(
    "change",
    [
        lambda day: day,
        lambda day: day.assign(rooms=2 * day["rooms"]),
        lambda day: day.assign(people=day["people"] ** 2),
        lambda day: day.assign(noise=np.nan),
        lambda day: day[day["north"] > 0],
        lambda day: day[day["rooms"] > 3],
        lambda day: shuffled("noise")(day),
        lambda day: day.iloc[:5],
        lambda day: day.iloc[:0],
    ],
    ids=["nothing", "doubled", "squared", "empty", "half", "the large", "noise shuffled", "five rows", "no rows"],
)
def test_drift_and_a_selection_of_rows_are_no_fault(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    for seed in range(1, 6):
        assert named(change(rows(seed)), FIXED) == set()


@pytest.mark.parametrize("name", ["rooms", "people"])
def test_values_of_other_rows_are_named_beside_what_they_went_with(name: str) -> None:
    (fault,) = dependence.find(REFERENCE, shuffled(name)(rows(1)), ALPHA)
    assert fault.kind is FaultKind.APART
    assert {fault.column, fault.what} == {"rooms", "people"}
    assert 0.7 < fault.value < 1.3


def test_what_is_shuffled_is_told_from_what_it_went_with() -> None:
    assert named(shuffled("east")(rows(1))) == {("apart", "east")}


def test_labels_of_two_categories_in_each_others_place_are_named() -> None:
    day = rows(1)
    (fault,) = dependence.find(REFERENCE, day.assign(coastal=day["inland"], inland=day["coastal"]), ALPHA)
    assert (fault.kind, {fault.column, fault.what}) == (FaultKind.SWAPPED, {"coastal", "inland"})


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_a_place_that_is_moved_is_named_with_its_shift(shift: float) -> None:
    day = rows(1)
    (fault,) = dependence.find(REFERENCE, day.assign(north=day["north"] + shift), ALPHA, FIXED)
    assert (fault.kind, fault.column) == (FaultKind.MOVED, "north")
    assert fault.value == pytest.approx(shift, abs=0.1)


def test_nulls_are_values_like_others() -> None:
    day = rows(1)
    reference = REFERENCE.assign(north=REFERENCE["north"].where(REFERENCE["east"] < 4))
    usual = day.assign(north=day["north"].where(day["east"] < 4))
    assert dependence.find(reference, usual, ALPHA, FIXED) == []
    (fault,) = dependence.find(reference, usual.assign(north=usual["north"] + 0.3), ALPHA, FIXED)
    assert (fault.kind, fault.column) == (FaultKind.MOVED, "north")
    assert fault.value == pytest.approx(0.3, abs=0.1)


def test_a_column_whose_level_may_vary_is_not_moved() -> None:
    day = rows(1)
    assert named(day.assign(north=day["north"] + 0.3)) == set()


def test_a_reference_of_too_few_rows_or_columns_says_nothing() -> None:
    assert dependence.find(REFERENCE.iloc[:100], shuffled("east")(rows(1)), ALPHA) == []
    assert dependence.find(REFERENCE[["east"]], rows(1), ALPHA) == []


def test_the_same_rows_in_another_order_say_the_same() -> None:
    day = shuffled("east")(rows(1))
    one, other = (dependence.find(REFERENCE, some, ALPHA) for some in (day, day.sample(frac=1, random_state=2)))
    assert [(fault.column, fault.what) for fault in one] == [(fault.column, fault.what) for fault in other]
    assert one[0].value == pytest.approx(other[0].value)


def test_texts_of_one_category_alone_say_nothing_of_each_other() -> None:
    """The number beside them is elsewhere, and is left out."""
    rng = np.random.default_rng(1)
    texts = rng.integers(0, 3, 2_400)
    flags = {f"colour_{n}": (texts == n).astype(float) for n in range(3)}
    known = pd.DataFrame({"x": rng.normal(0, 1, 2_400), **flags})
    assert dependence.find(known[:2_000], known[2_000:].assign(x=lambda rows: rows["x"] + 3), 0.01) == []
