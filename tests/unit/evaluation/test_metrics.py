"""Each metric against a slow and obvious way to reckon it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import METRICS, Floats, Metric

SPEC = catalogue.load("california_housing")
VALUES = st.integers(-1000, 1000).map(lambda value: value / 8)
PAIRS = {
    Task.REGRESSION: st.tuples(VALUES, VALUES),
    Task.BINARY: st.tuples(st.sampled_from([0.0, 1.0]), st.integers(1, 99).map(lambda value: value / 100)),
    Task.MULTICLASS: st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.0, 1.0, 2.0])),
}
WEIGHTS = st.integers(1, 5)
FEW = settings(max_examples=30, deadline=None)  # the first example imports scikit-learn


def slow_r2(actual: list[float], predicted: list[float], n_features: int) -> float:
    mean = sum(actual) / len(actual)
    left = sum((a - p) ** 2 for a, p in zip(actual, predicted, strict=True))
    return 1 - left / sum((a - mean) ** 2 for a in actual)


def slow_adjusted_r2(actual: list[float], predicted: list[float], n_features: int) -> float:
    rows = len(actual)
    return 1 - (1 - slow_r2(actual, predicted, 0)) * (rows - 1) / (rows - n_features - 1)


def slow_auc(actual: list[float], predicted: list[float], n_features: int) -> float:
    """Of the pairs of a 1 and a 0, the share in which the 1 is predicted higher; a draw is half a pair."""
    ones = [p for a, p in zip(actual, predicted, strict=True) if a == 1]
    zeros = [p for a, p in zip(actual, predicted, strict=True) if a == 0]
    return sum((one > zero) + (one == zero) / 2 for one in ones for zero in zeros) / (len(ones) * len(zeros))


def slow_macro_f1(actual: list[float], predicted: list[float], n_features: int) -> float:
    scores = []
    for label in sorted({*actual, *predicted}):
        hits = sum(a == p == label for a, p in zip(actual, predicted, strict=True))
        scores.append(2 * hits / (actual.count(label) + predicted.count(label)))
    return sum(scores) / len(scores)


def mean_of(term: Callable[[float, float], float]) -> Callable[[list[float], list[float], int], float]:
    return lambda actual, predicted, _: sum(map(term, actual, predicted)) / len(actual)


SLOW: dict[str, Callable[[list[float], list[float], int], float]] = {
    "adjusted_r2": slow_adjusted_r2,
    "r2": slow_r2,
    "rmse": lambda actual, predicted, _: math.sqrt(mean_of(lambda a, p: (a - p) ** 2)(actual, predicted, 0)),
    "mae": mean_of(lambda a, p: abs(a - p)),
    "auc": slow_auc,
    "log_loss": mean_of(lambda a, p: -math.log(p if a == 1 else 1 - p)),
    "brier": mean_of(lambda a, p: (a - p) ** 2),
    "accuracy": mean_of(lambda a, p: float(a == p)),
    "macro_f1": slow_macro_f1,
}


def drawn(data: st.DataObject, metric: Metric) -> tuple[Floats, Floats, int]:
    pairs = data.draw(st.lists(PAIRS[metric.task], min_size=8, max_size=40))
    actual, predicted = (np.array(values) for values in zip(*pairs, strict=True))
    assume(len(set(actual)) > 1)
    return actual, predicted, data.draw(st.integers(0, 4))


def test_every_metric_has_its_reference() -> None:
    assert set(SLOW) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
@FEW
@given(st.data())
def test_measures_what_the_definition_says(name: str, data: st.DataObject) -> None:
    actual, predicted, n_features = drawn(data, METRICS[name])
    expected = SLOW[name](actual.tolist(), predicted.tolist(), n_features)
    assert METRICS[name].measure(actual, predicted, n_features) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.by_row])
@FEW
@given(st.data())
def test_sums_over_rows_give_the_measure(name: str, data: st.DataObject) -> None:
    metric = METRICS[name]
    actual, predicted, n_features = drawn(data, metric)
    sums = metric.by_row.terms(actual, predicted).sum(axis=0, keepdims=True)
    expected = metric.measure(actual, predicted, n_features)
    assert metric.by_row.value(sums, len(actual), n_features)[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
@FEW
@given(st.data())
def test_a_row_counts_as_often_as_it_weighs(name: str, data: st.DataObject) -> None:
    metric = METRICS[name]
    actual, predicted, n_features = drawn(data, metric)
    weight = np.array(data.draw(st.lists(WEIGHTS, min_size=len(actual), max_size=len(actual))))
    expected = metric.measure(np.repeat(actual, weight), np.repeat(predicted, weight), n_features)
    assert metric.weighted(actual, predicted, weight.astype(float), n_features) == pytest.approx(expected, rel=1e-6)


def test_weights_need_not_be_whole() -> None:
    actual, predicted, weight = np.array([1.0, 2, 4]), np.array([2.0, 2, 1]), np.array([0.5, 1.5, 2.25])
    expected = math.sqrt(np.average((actual - predicted) ** 2, weights=weight))
    assert METRICS["rmse"].weighted(actual, predicted, weight, 0) == pytest.approx(expected)
    with pytest.raises(DataError, match="undefined on 3 weighted rows"):
        METRICS["r2"].weighted(np.ones(3), predicted, weight, 0)


@pytest.mark.parametrize("name", METRICS)
@FEW
@given(st.data())
def test_what_hyperparameters_are_chosen_by_orders_models_alike(name: str, data: st.DataObject) -> None:
    metric = METRICS[name]
    chosen_by = METRICS[metric.searched_by or name]
    assert chosen_by.task is metric.task
    if chosen_by is metric:
        return
    actual, one, n_features = drawn(data, metric)
    other = np.array(data.draw(st.permutations(one.tolist())))
    by_metric, by_other = (
        item.gain(item.measure(actual, one, n_features), item.measure(actual, other, n_features))
        for item in (metric, chosen_by)
    )
    assert by_metric == pytest.approx(0, abs=1e-9) or by_metric * by_other > 0


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_perfect_model_gains_on_a_bad_one_and_clears_its_value(metric: Metric) -> None:
    actual = np.array([0.0, 1, 0, 1, 1, 0, 0, 1])
    perfect, bad = (metric.measure(actual, values, 1) for values in (actual, 1 - actual))
    assert metric.gain(perfect, bad) > 0 > metric.gain(bad, perfect)
    assert metric.clears(perfect, bad)
    assert not metric.clears(bad, bad)


@pytest.mark.parametrize(
    ("actual", "predicted"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, np.nan], [1.0, 2.0]), ([1.0], [np.inf])]
)
def test_a_pair_is_one_finite_value_a_row(actual: list[float], predicted: list[float]) -> None:
    with pytest.raises(DataError):
        metrics.pair(actual, predicted)


def test_undefined_values_are_errors() -> None:
    same, other = np.ones(9), np.arange(9.0)
    for name in ("r2", "adjusted_r2"):
        with pytest.raises(DataError, match="do not vary"):
            METRICS[name].measure(same, other, 1)
    with pytest.raises(DataError, match="one class only"):
        METRICS["auc"].measure(same, other / 9, 1)
    with pytest.raises(DataError, match="At least 5 rows"):
        metrics.adjusted_r2(np.arange(4.0), np.ones(4), 3)


def changed(**fields: object) -> ModelSpec:
    return SPEC.model_copy(update=fields)


def wape(actual: Floats, predicted: Floats, n_features: int) -> float:
    return float(np.abs(actual - predicted).sum() / np.abs(actual).sum())


WAPE = Metric("wape", "weighted absolute percentage error", Task.REGRESSION, False, wape)
PATH = "tests.unit.evaluation.test_metrics:WAPE"


def test_a_models_metric_is_the_packages_or_the_users_own() -> None:
    assert metrics.of(SPEC) is METRICS["adjusted_r2"]
    assert metrics.for_search(SPEC) is METRICS["rmse"]
    assert metrics.for_search(changed(metric="mae")) is METRICS["mae"]
    assert metrics.of(changed(metric=PATH)).name == "wape"
    for wrong, message in {
        "accuracy": "accuracy is for multiclass, and the task is regression. Use one of adjusted_r2, mae, r2, rmse",
        "mape": "'mape' is not known",
        "tests.nowhere:WAPE": "cannot be imported",
        "tests.unit.evaluation.test_metrics:wape": "is a function, not a Metric",
    }.items():
        with pytest.raises(ConfigError, match=f"include/models/california_housing/model.yaml: metric: .*{message}"):
            metrics.of(changed(metric=wrong))


def test_the_summary_has_what_is_defined_on_the_rows() -> None:
    actual, predicted = np.arange(5.0) + 1, np.arange(5.0)
    assert set(metrics.summary(changed(metric="mae"), actual, predicted, 4, "test_")) == {
        *("test_rows", "test_r2", "test_rmse", "test_mae")  # adjusted R2 needs more rows
    }
    with pytest.raises(DataError, match="adjusted R2 is undefined"):
        metrics.summary(SPEC, actual, predicted, 4)
    own = metrics.summary(changed(metric=PATH), actual, predicted, 1)
    assert own[PATH] == pytest.approx(5 / 15)
    assert own["mae"] == pytest.approx(1)


def test_values_are_shown_as_a_person_reads_them() -> None:
    assert METRICS["rmse"].shown(45123.95) == "45,124"
    assert METRICS["rmse"].shown(0.25) == "0.2500"
    assert METRICS["adjusted_r2"].shown(0.84767) == "0.8477"
