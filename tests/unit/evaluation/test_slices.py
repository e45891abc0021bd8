from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.evaluation import slices

VALUES = st.lists(
    st.one_of(st.just(np.nan), st.integers(-5, 5).map(float), st.floats(-1e9, 1e9)), min_size=1, max_size=60
)


@given(VALUES, st.integers(2, 6))
def test_each_row_is_in_one_slice_and_equal_values_are_together(values: list[float], bands: int) -> None:
    column = np.array(values)
    found = list(slices.of("x", column, bands))
    assert (sum(part.rows.astype(int) for part in found) == 1).all()
    assert all(len(part) for part in found)
    assert len({part.title for part in found}) <= len(found) <= bands + 1
    for value in np.unique(column[~np.isnan(column)]):
        assert sum(part.rows[column == value].any() for part in found) == 1
    known = [part for part in found if not np.isnan(column[part.rows]).any()]
    for before, after in pairwise(known):
        assert column[before.rows].max() < column[after.rows].min()


def test_bands_have_about_as_many_rows() -> None:
    column = np.random.default_rng(1).lognormal(size=1001)
    assert [len(part) for part in slices.of("income", column, 4)] == pytest.approx([250] * 4, abs=1)


def test_what_slices_are_called() -> None:
    few, many = np.array([0.0, 1.0, 1.0, np.nan]), np.array([0.5, 1.25, 2.0, 3.0, 4.0, 5.0])
    assert [part.title for part in slices.of("inland", few, 4)] == ["inland = 0", "inland = 1", "inland is null"]
    assert [part.title for part in slices.of("income", many, 2)] == ["income 0.5 to 2", "income 3 to 5"]


def test_codes_are_called_by_their_texts_and_make_no_bands() -> None:
    codes = np.array([0.0, 1.0, 2.0, 2.0, 7.0, np.nan])
    found = slices.of("weather", codes, 2, {0: "other", 1: "clear", 2: "it's fog"})
    titles = ["weather = other", "weather = clear", "weather = it's fog", "weather = 7", "weather is null"]
    assert [(part.title, len(part)) for part in found] == list(zip(titles, [1, 1, 2, 1, 1], strict=True))
