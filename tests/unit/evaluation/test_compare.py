"""Which predictions are better, and how surely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from include.core.errors import DataError
from include.core.sections import Task
from include.evaluation import compare
from include.evaluation.compare import Gain
from include.evaluation.metrics import METRICS, Floats

RNG = np.random.default_rng(1)
GAINS = st.builds(
    Gain, st.floats(-1, 1), st.floats(1e-6, 1), st.floats(-3, 3, allow_subnormal=False), st.integers(2, 5000)
)
ALPHAS = st.floats(1e-6, 0.5)


def examples(task: Task, rows: int = 80) -> tuple[Floats, Floats, Floats]:
    """Actual values, good predictions and bad ones."""
    if task is Task.REGRESSION:
        actual = RNG.normal(1e6, 2e5, rows)
        return actual, actual + RNG.normal(0, 1e4, rows), actual + RNG.normal(0, 5e4, rows)
    if task is Task.BINARY:
        actual = RNG.integers(0, 2, rows).astype(float)
        good, bad = (
            np.clip(0.5 + (actual - 0.5) * size + RNG.normal(0, 0.15, rows), 0.01, 0.99) for size in (0.6, 0.1)
        )
        return actual, good, bad
    actual = RNG.integers(0, 3, rows).astype(float)
    other = RNG.integers(0, 3, rows).astype(float)
    return actual, *(np.where(RNG.random(rows) < right, actual, other) for right in (0.9, 0.4))


@pytest.mark.parametrize("name", METRICS)
def test_the_gain_is_that_of_the_metric_and_its_bounds_are_around_it(name: str) -> None:
    metric = METRICS[name]
    actual, good, bad = examples(metric.task)
    found = compare.gain(metric, actual, good, bad, (3, 7))
    assert found.value == pytest.approx(metric.gain(metric.measure(actual, good, 3), metric.measure(actual, bad, 7)))
    assert 0 < found.at_least(0.05) < found.value < found.at_most(0.05)
    other = compare.gain(metric, actual, bad, good, (7, 3))
    assert other.at_most(0.05) == pytest.approx(-found.at_least(0.05))


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.by_row])
def test_sums_and_rows_give_the_same_gain(name: str) -> None:
    metric = METRICS[name]
    actual, good, bad = examples(metric.task, 60)
    slow = compare.gain(replace(metric, by_row=None), actual, good, bad, (2, 5))
    found = compare.gain(metric, actual, good, bad, (2, 5))
    for part in ("value", "error", "skewness", "pieces"):
        assert getattr(found, part) == pytest.approx(getattr(slow, part), rel=1e-5, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_the_error_of_a_mean_is_the_one_of_the_textbook(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual, first, second = rng.normal(size=(3, rows))
    found = compare.gain(METRICS["mae"], actual, first, second, (1, 1))
    differences = np.abs(actual - second) - np.abs(actual - first)
    assert found.value == pytest.approx(differences.mean())
    assert found.error == pytest.approx(stats.sem(differences))
    assert found.skewness == pytest.approx(stats.skew(differences) / rows**0.5, abs=1e-9)


def test_groups_of_rows_tell_the_same_as_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = replace(METRICS["mae"], by_row=None)
    actual, good, bad = examples(Task.REGRESSION, 370)
    rows = compare.gain(metric, actual, good, bad, (1, 1))
    monkeypatch.setattr(compare, "GROUPS", 120)  # some of three rows, some of four
    groups = compare.gain(metric, actual, good, bad, (1, 1))
    assert (rows.pieces, groups.pieces) == (370, 120)
    assert groups.value == rows.value
    assert groups.error == pytest.approx(rows.error, rel=0.25)


@given(GAINS, ALPHAS)
def test_a_bound_is_never_nearer_than_students(gain: Gain, alpha: float) -> None:
    student = stats.t.ppf(1 - alpha, gain.pieces - 1) * gain.error
    tolerance = 1e-6 * (1 + student)
    assert gain.at_least(alpha) <= gain.value - student + tolerance
    assert gain.at_most(alpha) >= gain.value + student - tolerance
    if gain.skewness >= 0:
        assert gain.at_least(alpha) == pytest.approx(gain.value - student, abs=tolerance)
    smaller = Gain(gain.value, gain.error, gain.skewness, gain.pieces).at_least(alpha / 2)
    assert smaller <= gain.at_least(alpha)


@given(GAINS, ALPHAS, st.floats(0.5, 0.99))
def test_a_gain_that_is_detectable_has_its_bound_above_zero_with_that_power(
    gain: Gain, alpha: float, power: float
) -> None:
    needed = gain.detectable(alpha, power)
    missed = needed - stats.norm.ppf(power) * gain.error  # of the gains that are found, the least that is not missed
    assert replace(gain, value=missed).at_least(alpha) == pytest.approx(0, abs=1e-6 * (1 + needed))


@pytest.mark.parametrize("name", ["adjusted_r2", "brier"])
def test_coverage_of_the_bound(name: str) -> None:
    """The bound lies below the true gain in about 95 % of repetitions, and not always."""
    metric, rng, rows, repetitions = METRICS[name], np.random.default_rng(7), 250, 300

    def sample(rows: int) -> tuple[Floats, Floats, Floats]:
        """Two models of different error, whose errors have most of themselves in common."""
        shared, one, two, actual = rng.normal(size=(4, rows))
        errors = 0.40 * (0.8 * shared + 0.6 * one), 0.45 * (0.8 * shared + 0.6 * two)
        if metric.task is Task.REGRESSION:
            return actual, actual + errors[0], actual + errors[1]
        actual = (actual > 0).astype(float)
        return actual, *(np.clip(0.5 + 0.2 * (2 * actual - 1) + 0.3 * error, 0, 1) for error in errors)

    actual, good, bad = sample(300_000)
    truth = metric.gain(metric.measure(actual, good, 0), metric.measure(actual, bad, 0))
    below = sum(compare.gain(metric, *sample(rows), (0, 0)).at_least(0.05) < truth for _ in range(repetitions))
    assert 0.91 <= below / repetitions <= 0.985


def test_rows_that_speak_rarely_and_much_against_a_candidate_are_counted() -> None:
    """A loss that one row in 50 has: Student's bound is above the true gain too often, this one less so."""
    rng, rows, repetitions = np.random.default_rng(3), 400, 400
    misses = {"student": 0, "ours": 0}
    for _ in range(repetitions):
        losses = np.where(rng.random(rows) < 0.02, 49.0, -1.0) + rng.normal(size=rows)  # the true gain is 0
        found = compare.gain(METRICS["mae"], np.zeros(rows), losses + 100, np.full(rows, 100.0), (1, 1))
        misses["ours"] += found.at_least(0.01) > 0
        misses["student"] += replace(found, skewness=0.0).at_least(0.01) > 0
    assert misses["ours"] < 0.75 * misses["student"]


def test_what_cannot_be_compared_is_said() -> None:
    _, good, bad = examples(Task.BINARY, 40)
    with pytest.raises(DataError, match="one class only"):
        compare.gain(METRICS["auc"], np.zeros(40), good, bad, (1, 1))
    with pytest.raises(DataError, match="one value per row is needed"):
        compare.gain(METRICS["auc"], [1.0, 0, 0], good, bad, (1, 1))
    rare = np.eye(1, 40)[0]
    with pytest.raises(DataError, match="undefined without some of 40 rows"):
        compare.gain(METRICS["auc"], rare, good, bad, (1, 1))
    with pytest.raises(DataError, match="undefined without some of 13 rows"):
        compare.gain(METRICS["adjusted_r2"], *RNG.normal(size=(3, 13)), (11, 11))


def test_predictions_that_are_the_same_are_not_surely_better() -> None:
    actual, good, _ = examples(Task.REGRESSION)
    assert compare.gain(METRICS["rmse"], actual, good, good, (1, 1)) == Gain(0.0, 0.0, 0.0, 80)
    assert compare.gain(METRICS["rmse"], actual, good, good, (1, 1)).at_least(0.05) == 0
