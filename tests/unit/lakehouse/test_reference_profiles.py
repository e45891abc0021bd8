"""Quantiles of weighted values against the slow way, and what a test makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import DataError
from include.evaluation.drift import kolmogorov_smirnov
from include.lakehouse import reference_profiles
from include.lakehouse.reference_profiles import quantiles
from include.lakehouse.tables import Lakehouse

VALUES = st.one_of(st.floats(allow_nan=False), st.just(float("nan")), st.integers(-3, 3).map(float))


@given(st.lists(st.tuples(VALUES, st.integers(1, 9)), min_size=1, max_size=40), st.integers(1, 50))
def test_quantiles_are_those_of_each_value_as_often_as_it_weighs(rows: list[tuple[float, int]], most: int) -> None:
    values, weights = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_profiles, "MOST_QUANTILES", most)
        found = quantiles(values, weights.astype(float))
    repeated = sorted(
        (value for value, weight in rows for _ in range(weight)), key=lambda v: -np.inf if np.isnan(v) else v
    )
    worth = sum(weights) ** 2 / sum(weights**2)
    assert len(found) == min(most, round(worth))
    shares = (np.arange(len(found)) + 0.5) / len(found)
    places = np.ceil(shares * len(repeated) - 1e-9).astype(int) - 1
    expected = np.array(repeated)[places]
    nulls = np.where(np.isnan(expected), -np.inf, expected), np.where(np.isnan(found), -np.inf, found)
    np.testing.assert_array_equal(*nulls)


@given(st.lists(st.floats(allow_nan=False), max_size=60))
def test_of_equal_weights_they_are_the_values(values: list[float]) -> None:
    assert quantiles(np.array(values), np.full(len(values), 7.0)).tolist() == sorted(values)


def test_ten_thousand_stand_for_more_within_a_ten_thousandth() -> None:
    """The distance from any sample differs by no more than half a step of the quantiles."""
    draw = np.random.default_rng(1)
    many = draw.lognormal(size=300_000)
    few = quantiles(many, np.ones(len(many)))
    assert len(few) == 10_000
    for shift in (0.0, 0.1, 1.0):
        window = draw.lognormal(shift, size=400)
        assert kolmogorov_smirnov(few, window)[0] == pytest.approx(kolmogorov_smirnov(many, window)[0], abs=5e-5)


def test_of_unequal_weights_a_test_gives_no_more_false_alarms_than_it_says() -> None:
    """A quarter of the rows weighs ten times as much: so many rows that are worth fewer are not counted as all."""
    draw, alarms, repeated = np.random.default_rng(2), 0, 4000
    for _ in range(repeated):
        weights = np.where(np.arange(600) < 150, 10.0, 1.0)
        profile = quantiles(draw.normal(size=600), weights)
        alarms += kolmogorov_smirnov(profile, draw.normal(size=400))[1] < 0.05
    assert alarms / repeated == pytest.approx(0.05, abs=3.5 * (0.05 * 0.95 / repeated) ** 0.5)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    with pytest.raises(DataError, match="version 1 has no reference profile"):
        reference_profiles.read(spec, lake, "1")
    columns = {"a": np.array([np.nan, -np.inf, 1.0]), "b": np.array([2.0]), "none": np.empty(0)}
    for version in ("1", "2"):
        reference_profiles.write(spec, lake, version, columns)
    found = reference_profiles.read(spec, lake, "1")
    assert found.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)
    with pytest.raises(DataError, match="version 3"):
        reference_profiles.read(spec, lake, "3")
