"""Which predictions are better, and how surely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from include.core.errors import DataError
from include.core.spec import Task
from include.evaluation import compare
from include.evaluation.metrics import METRICS, Floats

RNG = np.random.default_rng(1)


def examples(task: Task, rows: int = 200) -> tuple[Floats, Floats, Floats]:
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
def test_the_gain_is_that_of_the_metric_and_the_bound_below_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "RESAMPLES", 100)
    metric = METRICS[name]
    actual, good, bad = examples(metric.task)
    observed, bound = compare.gain_interval(metric, actual, good, bad, (3, 7), 0.95)
    assert observed == pytest.approx(metric.gain(metric.measure(actual, good, 3), metric.measure(actual, bad, 7)))
    assert 0 < bound < observed
    assert compare.gain_interval(metric, actual, good, bad, (3, 7), 0.95) == (observed, bound)
    assert compare.gain_interval(metric, actual, bad, good, (7, 3), 0.95)[1] < 0


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.by_row])
def test_sums_and_rows_give_the_same_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortcut draws the same rows, and only adds them up in another way."""
    monkeypatch.setattr(compare, "RESAMPLES", 150)
    metric = METRICS[name]
    actual, good, bad = examples(metric.task, 60)
    slow = compare.gain_interval(replace(metric, by_row=None), actual, good, bad, (2, 5), 0.9)
    assert compare.gain_interval(metric, actual, good, bad, (2, 5), 0.9) == pytest.approx(slow, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", ["adjusted_r2", "brier"])
def test_coverage_of_the_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound lies below the true gain in about 95 % of repetitions, and not always."""
    monkeypatch.setattr(compare, "RESAMPLES", 400)
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
    below = sum(compare.gain_interval(metric, *sample(rows), (0, 0), 0.95)[1] < truth for _ in range(repetitions))
    assert 0.91 <= below / repetitions <= 0.985


def test_what_cannot_be_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "RESAMPLES", 200)
    _, good, bad = examples(Task.BINARY, 40)
    with pytest.raises(DataError, match="one class only"):
        compare.gain_interval(METRICS["auc"], np.zeros(40), good, bad, (1, 1), 0.95)
    with pytest.raises(DataError, match="one value per row is needed"):
        compare.gain_interval(METRICS["auc"], [1.0, 0, 0], good, bad, (1, 1), 0.95)
    rare = np.eye(1, 40)[0]  # a third of the resamples misses it
    assert compare.gain_interval(METRICS["auc"], rare, good, bad, (1, 1), 0.95)
    monkeypatch.setattr(compare, "_by_rows", lambda *_: np.full(compare.RESAMPLES, np.nan))
    with pytest.raises(DataError, match="undefined on most resamples of 40 rows"):
        compare.gain_interval(METRICS["auc"], rare, good, bad, (1, 1), 0.95)
