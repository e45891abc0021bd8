"""Whether rows teach something better: a change of the world does, labels of other rows do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.core.sections import Task
from include.evaluation import relearn
from include.evaluation.metrics import METRICS, Floats

ROWS = 413
Change = Callable[[np.random.Generator, Floats, pd.DataFrame], Floats]


def world(seed: int) -> tuple[np.random.Generator, pd.DataFrame, Floats, Floats]:
    """Features, the label, and a prediction that explains about .86 of it."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame(rng.normal(size=(ROWS, 6)), columns=list("abcdef"))
    features.loc[::7, "f"] = np.nan
    predicted = np.exp(0.5 * features["a"].to_numpy() + 0.3 * features["b"].to_numpy())
    return rng, features, predicted + rng.normal(0, 0.4 * predicted.std(), ROWS), predicted


LEARNABLE: dict[str, Change] = {
    "dearer everywhere": lambda rng, y, x: 1.5 * y,
    "a step": lambda rng, y, x: y + 2 * y.std(),
    "in one place": lambda rng, y, x: y + 2 * y.std() * (x["c"] > 0).to_numpy(),
}
NOT_LEARNABLE: dict[str, Change] = {
    "of other rows": lambda rng, y, x: rng.permutation(y),
    "noise": lambda rng, y, x: y + rng.normal(0, 3 * y.std(), ROWS),
    "constant but for one": lambda rng, y, x: np.where(np.arange(ROWS) == 5, 2.0, 1.0),
}


def found(change: Change, seed: int) -> bool:
    rng, features, y, p = world(seed)
    y, metric = change(rng, y, features), METRICS["adjusted_r2"]
    best = metric.measure(y, p, 6)
    return relearn.can_learn(metric, y, p, features, 6, best=best, threshold=0.8)


@pytest.mark.parametrize("change", LEARNABLE)
def test_a_change_of_the_world_can_be_learned(change: str) -> None:
    assert all(found(LEARNABLE[change], seed) for seed in range(20))


@pytest.mark.parametrize("change", NOT_LEARNABLE)
def test_labels_that_say_nothing_teach_nothing(change: str) -> None:
    assert not any(found(NOT_LEARNABLE[change], seed) for seed in range(20))


DEFAULTS = {"rmse": 0.0, "mae": 1.0, "log_loss": 0.0, "brier": 0.0, "accuracy": 0.0}


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("share", [1.0, 0.97])
def test_a_default_value_in_place_of_labels_teaches_nothing(name: str, share: float) -> None:
    rng, features, y, p = world(4)
    metric = METRICS[name]
    if metric.task is not Task.REGRESSION:
        y, p = (y > 1).astype(float), (p > 1).astype(float) if name == "accuracy" else 1 / (1 + np.exp(-4 * (p - 1)))
    threshold = metric.measure(y, p, 6) + (-0.05 if metric.higher_is_better else 0.05)
    faulty = np.where(rng.random(ROWS) < share, DEFAULTS[name], y)
    best = metric.measure(faulty, p, 6)
    assert not relearn.can_learn(metric, faulty, p, features, 6, best=best, threshold=threshold)


def test_a_power_of_ten_is_another_unit() -> None:
    _, _, y, p = world(5)
    for factor in (1e-3, 0.1, 10, 1e6):
        assert relearn.in_another_unit(factor * y, p)
    for factor in (1, 1.5, 0.3, 2, 5):
        assert not relearn.in_another_unit(factor * y, p)
    assert not relearn.in_another_unit(np.zeros(ROWS), p)


def test_sentinels_as_large_as_a_float_are_missing_values() -> None:
    _, features, y, p = world(6)
    features.loc[3, "a"] = 1.7e308
    assert relearn.corrected(METRICS["r2"], y, p, features, 6) is not None


@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy"])
def test_classes_that_are_turned_round_can_be_learned_and_shuffled_ones_cannot(name: str) -> None:
    rng, features, _, p = world(3)
    metric, odds = METRICS[name], 4 * (p - np.median(p))
    probability = 1 / (1 + np.exp(-odds))
    classes = (rng.random(ROWS) < probability).astype(float)
    said = (probability > 0.5).astype(float) if name == "accuracy" else probability
    threshold = metric.measure(classes, said, 6)
    for y, learned in ((1 - classes, True), (rng.permutation(classes), False)):
        best = metric.measure(y, said, 6)
        assert relearn.can_learn(metric, y, said, features, 6, best=best, threshold=threshold) is learned


def test_a_few_rows_teach_nothing() -> None:
    _, features, y, p = world(1)
    assert relearn.corrected(METRICS["r2"], y[:9], p[:9], features[:9], 6) is None


def test_of_many_rows_some_say_whether_it_can_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relearn, "MOST_ROWS", 100)
    assert found(LEARNABLE["dearer everywhere"], 1)
    assert not found(NOT_LEARNABLE["of other rows"], 1)
