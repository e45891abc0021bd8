"""The bound of a metric: as sure as it says, and the same by both ways."""

from __future__ import annotations

import numpy as np
import pytest

from include.evaluation import interval
from include.evaluation.metrics import METRICS, Floats


def rows(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    predicted = rng.lognormal(0, 0.5, count)
    return predicted + rng.normal(0, 0.25, count), predicted


@pytest.mark.parametrize("name", ["r2", "rmse", "mae"])
@pytest.mark.parametrize("count", [60, 413])
def test_the_value_on_all_rows_is_beyond_the_bound_as_seldom_as_promised(name: str, count: int) -> None:
    """Of 400 samples at 95 %; more than 9 % would be 4 standard errors off."""
    rng, metric = np.random.default_rng(7), METRICS[name]
    true = metric.measure(*rows(rng, 1_000_000), 0)
    bounds = [interval.best_bound(metric, *rows(rng, count), 0, 0.95) for _ in range(400)]
    beyond = np.mean([bound is None or metric.clears(true, bound) for bound in bounds])
    assert 0.01 <= beyond <= 0.09


def test_sums_say_what_the_rows_say() -> None:
    y, p = rows(np.random.default_rng(1), 203)
    group = np.arange(203) % interval.GROUPS
    for name in ("adjusted_r2", "rmse", "mae"):
        metric = METRICS[name]
        both = [way(metric, y, p, 5, group) for way in (interval._by_terms, interval._by_rows)]
        np.testing.assert_allclose(*both, rtol=1e-12)


def test_a_lower_value_is_better_where_the_metric_says_so() -> None:
    y, p = rows(np.random.default_rng(1), 100)
    for name in ("rmse", "r2"):
        metric = METRICS[name]
        bound = interval.best_bound(metric, y, p, 0, 0.95)
        assert bound is not None
        assert metric.clears(bound, metric.measure(y, p, 0))


def test_where_one_group_decides_nothing_is_said() -> None:
    """Without its one row of class 1 the area under the curve is undefined."""
    y = np.array([1.0, *np.zeros(59)])
    assert interval.best_bound(METRICS["auc"], y, np.linspace(0, 1, 60), 1, 0.95) is None


@pytest.mark.parametrize("others", [1, 2, 3, 5])
def test_labels_that_hardly_differ_leave_everything_open(others: int) -> None:
    """A bound would be far beyond a perfect prediction."""
    rng = np.random.default_rng(others)
    y = np.full(413, 200_000.0)
    y[:others] += rng.normal(0, 50_000, others)
    assert interval.best_bound(METRICS["r2"], y, rng.normal(200_000, 80_000, 413), 5, 0.95) is None


def test_one_label_that_is_far_off_leaves_everything_open() -> None:
    y, p = rows(np.random.default_rng(2), 413)
    y[7] *= 1000
    assert interval.best_bound(METRICS["r2"], y, p, 5, 0.95) is None


def test_the_error_of_many_rows_is_that_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, metric = np.random.default_rng(5), METRICS["auc"]
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(float)
    reach = []
    for most in (20_000, 2_000):
        monkeypatch.setattr(interval, "MOST_ROWS", most)
        bound = interval.best_bound(metric, y, p, 1, 0.95)
        assert bound is not None
        reach.append(bound - metric.measure(y, p, 1))
    assert 0.6 < reach[1] / reach[0] < 1.6
