"""Drift: corrections and distances against slow references, error rates by simulation, the real file."""

from __future__ import annotations

import os
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.spec import Drift
from include.evaluation import drift
from include.models.california_housing import sample

CONFIG = Drift(test="kolmogorov_smirnov", correction="holm", alpha=0.05, min_effect=0.1)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)
samples = st.lists(st.integers(-3, 3).map(float) | st.just(float("nan")), min_size=1, max_size=30)


def config(**changes: object) -> Drift:
    return Drift.model_validate(CONFIG.model_dump() | changes)


def slow_holm(values: list[float]) -> list[float]:
    """Reject step by step: the adjusted p-value is the smallest alpha at which a test is still rejected."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for step, index in enumerate(order):
        highest = max(highest, (len(values) - step) * values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted


def slow_benjamini_hochberg(values: list[float]) -> list[float]:
    ranked = sorted(values)
    return [
        min(1.0, min(ranked[k] * len(ranked) / (k + 1) for k in range(len(ranked)) if ranked[k] >= value))
        for value in values
    ]


def slow_distance(reference: list[float], current: list[float]) -> float:
    """Largest difference between the two shares of values at or below any value; null is below all."""

    def share(values: list[float], bound: float) -> float:
        return sum(np.isnan(value) or value <= bound for value in values) / len(values)

    return max(abs(share(reference, bound) - share(current, bound)) for bound in [-99.0, *range(-3, 4)])


@given(p_values)
@settings(deadline=None, max_examples=50)
def test_holm_is_the_step_down_procedure(values: list[float]) -> None:
    assert drift.holm(np.array(values)) == pytest.approx(slow_holm(values))


@given(p_values)
@settings(deadline=None, max_examples=50)
def test_benjamini_hochberg_is_the_step_up_procedure(values: list[float]) -> None:
    assert drift.benjamini_hochberg(np.array(values)) == pytest.approx(slow_benjamini_hochberg(values))


@given(samples, samples)
@settings(deadline=None, max_examples=40)
def test_distance_is_the_largest_gap_between_distributions(reference: list[float], current: list[float]) -> None:
    (found,) = drift.detect(pd.DataFrame({"x": reference}), pd.DataFrame({"x": current}), CONFIG)
    assert found.statistic == pytest.approx(slow_distance(reference, current))
    assert 0 <= found.p_value <= found.adjusted_p <= 1


def test_every_configurable_name_has_a_function() -> None:
    fields = Drift.model_fields
    assert set(drift.TESTS) == set(get_args(fields["test"].annotation))
    assert set(drift.CORRECTIONS) == set(get_args(fields["correction"].annotation))


def test_drift_needs_both_a_small_p_value_and_an_effect() -> None:
    rng = np.random.default_rng(1)
    reference = pd.DataFrame({"x": rng.normal(size=20_000)})
    shifted = pd.DataFrame({"x": rng.normal(0.1, 1, 20_000)})
    (small,) = drift.detect(reference, shifted, CONFIG)
    assert small.adjusted_p < 0.001
    assert small.statistic < CONFIG.min_effect
    assert not small.drifted
    assert drift.detect(reference, shifted, config(min_effect=0.01))[0].drifted
    (unsure,) = drift.detect(reference, pd.DataFrame({"x": [2.0, -0.1, 0.6]}), CONFIG)
    assert unsure.statistic > CONFIG.min_effect
    assert not unsure.drifted


def test_constant_columns_and_an_empty_window_do_not_drift() -> None:
    reference = pd.DataFrame({"x": [1.0, 2.0, 3.0] * 50, "same": 7})
    assert not drift.detect(reference, reference, CONFIG)[1].drifted
    for found in drift.detect(reference, reference.iloc[:0], CONFIG):
        assert (found.statistic, found.p_value, found.adjusted_p, found.drifted) == (0.0, 1.0, 1.0, False)


def test_a_column_that_arrives_empty_is_drift() -> None:
    reference = pd.DataFrame({"x": np.arange(500.0)})
    assert drift.detect(reference, pd.DataFrame({"x": [None] * 50}), CONFIG)[0].drifted
    some = pd.DataFrame({"x": np.where(np.arange(500) % 4 == 0, np.nan, np.arange(500.0))})
    assert drift.detect(reference, some, CONFIG)[0].statistic == pytest.approx(0.25)


def test_one_row_is_drift_only_far_outside() -> None:
    reference = pd.DataFrame({"x": np.arange(1000.0)})
    assert not drift.detect(reference, pd.DataFrame({"x": [950.0]}), CONFIG)[0].drifted
    assert drift.detect(reference, pd.DataFrame({"x": [5000.0]}), CONFIG)[0].drifted


def test_a_two_valued_column_is_tested_as_shares() -> None:
    reference = pd.DataFrame({"x": [True] * 300 + [False] * 700})
    current = pd.DataFrame({"x": [1] * 41 + [0] * 59})
    (found,) = drift.detect(reference, current, CONFIG)
    assert found.statistic == pytest.approx(0.11)
    # Fisher's exact p-value is 0.030; Kolmogorov-Smirnov with these ties would say 0.20 and miss it.
    assert 0.02 < found.p_value < 0.04
    assert found.drifted


def test_the_reference_decides_the_columns() -> None:
    reference = pd.DataFrame({"b": [1.0, 2.0], "a": [1.0, 2.0]})
    current = reference.assign(c="new")
    assert [found.feature for found in drift.detect(reference, current, CONFIG)] == ["b", "a"]
    assert drift.detect(reference[[]], current, CONFIG) == []
    with pytest.raises(DataError, match="columns a of the reference"):
        drift.detect(reference, current[["b"]], CONFIG)
    with pytest.raises(DataError, match="no rows"):
        drift.detect(reference.iloc[:0], current, CONFIG)
    with pytest.raises(DataError, match="column c is not numeric"):
        drift.detect(current, current, CONFIG)


def test_false_alarms_stay_within_alpha() -> None:
    """60 windows of 12 columns without drift: uncorrected, almost half of them hold a false alarm."""
    rng = np.random.default_rng(20640)
    uncorrected = 0
    alarms = dict.fromkeys(drift.CORRECTIONS, 0)
    for _ in range(60):
        frame = pd.DataFrame(rng.normal(size=(1500, 12)))
        found = drift.detect(frame.iloc[:1000], frame.iloc[1000:], config(min_effect=0.0))
        p_values = np.array([item.p_value for item in found])
        uncorrected += bool(np.min(p_values) < CONFIG.alpha)
        for name, correct in drift.CORRECTIONS.items():
            alarms[name] += bool(np.min(correct(p_values)) < CONFIG.alpha)
        assert any(item.drifted for item in found) == bool(np.min(drift.holm(p_values)) < CONFIG.alpha)
    # At a true rate of 5 %, 9 or more of 60 have a probability of 0.3 %.
    assert max(alarms.values()) < 9
    assert uncorrected > 15


def test_scaled_income_is_found_alone_and_a_small_scaling_is_not_called_drift() -> None:
    frame = _housing()
    reference, rest = frame.iloc[413:], frame.iloc[:413]
    assert _drifted(reference, rest) == []
    assert _drifted(reference, rest.assign(median_income=rest["median_income"] * 1.5)) == ["median_income"]
    assert _drifted(reference, rest.assign(median_income=rest["median_income"] * 1.05)) == []


def test_min_effect_is_what_keeps_a_small_scaling_of_many_rows_from_being_drift() -> None:
    frame = _housing()
    reference, rest = frame.iloc[8000:], frame.iloc[:8000]
    scaled = rest.assign(median_income=rest["median_income"] * 1.05)
    assert _drifted(reference, scaled, config(min_effect=0.0)) == ["median_income"]
    assert _drifted(reference, scaled) == []


def _housing() -> pd.DataFrame:
    path = os.environ.get("HOUSING_CSV")
    frame = pd.read_csv(path) if path else sample.generate()
    frame = frame.drop(columns="median_house_value").sample(frac=1, random_state=20640)
    return pd.get_dummies(frame, columns=["ocean_proximity"])


def _drifted(reference: pd.DataFrame, current: pd.DataFrame, rule: Drift = CONFIG) -> list[str]:
    return [found.feature for found in drift.detect(reference, current, rule) if found.drifted]
