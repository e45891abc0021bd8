"""Quantiles that stand for a reference, against the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.evaluation import drift
from include.evaluation.drift import kolmogorov_smirnov, quantiles

VALUES = st.lists(st.one_of(st.floats(), st.integers(-3, 3).map(float)), max_size=60)


@given(VALUES)
@example([-np.inf, np.nan])
def test_as_many_as_there_are_values_are_the_values(values: list[float]) -> None:
    found = quantiles(np.array(values, dtype=float))
    nulls = sum(np.isnan(values))
    assert np.isnan(found[:nulls]).all()
    assert found[nulls:].tolist() == sorted(value for value in values if not np.isnan(value))


@given(VALUES.filter(len), st.integers(1, 50))
def test_the_distribution_function_of_fewer_is_off_by_half_a_step(values: list[float], most: int) -> None:
    known = np.array([value for value in values if not np.isnan(value)] or [0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drift, "MOST_QUANTILES", most)
        found = quantiles(known)
    assert len(found) == min(most, len(known))
    for at in known:
        assert (found <= at).mean() == pytest.approx((known <= at).mean(), abs=0.5 / len(found) + 1e-9)


def test_ten_thousand_stand_for_more_within_half_a_ten_thousandth() -> None:
    draw = np.random.default_rng(1)
    many = draw.lognormal(size=300_000)
    few = quantiles(many)
    assert len(few) == 10_000
    for shift in (0.0, 0.1, 1.0):
        window = draw.lognormal(shift, size=400)
        assert kolmogorov_smirnov(few, window)[0] == pytest.approx(kolmogorov_smirnov(many, window)[0], abs=5e-5)
