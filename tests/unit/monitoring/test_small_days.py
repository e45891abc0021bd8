"""Days of 24 rows in windows of a week: no more alarms than the confidence allows, and a real change is found.

By the functions that the steps use, in memory: what they measure of a window, and the policy's word on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.sections import Monitoring
from include.evaluation import drift, interval, metrics, relearn
from include.evaluation.drift import ColumnKind, Samples
from include.lakehouse.decisions import Outcome
from include.lakehouse.windows import WindowMetrics
from include.monitoring import policy
from tests.tables import day

pytestmark = pytest.mark.slow

ROWS, FEATURES, WINDOW = 24, 12, 7
NAMES = [f"x{number}" for number in range(FEATURES)]
METRIC = metrics.METRICS["adjusted_r2"]
START = day("2025-01-01")
NOISE = 0.5
TRUE = 1 - NOISE**2 / (FEATURES / 4 + NOISE**2)
"""R2 of the best prediction: the variance of a feature counts a quarter."""
OF_A_WINDOW = 1 - (1 - TRUE) * (ROWS * WINDOW - 1) / (ROWS * WINDOW - FEATURES - 1)
"""Its adjusted R2 on so few rows: the metric charges for features, also where nothing was fitted to the rows."""


@dataclass(frozen=True)
class Days:
    """Rows of days, one after the other."""

    features: pd.DataFrame
    actual: np.ndarray
    predicted: np.ndarray

    def window(self, number: int, partitions: int) -> Days:
        some = slice(max(0, number + 1 - partitions) * ROWS, (number + 1) * ROWS)
        return Days(self.features[some], self.actual[some], self.predicted[some])


def days(count: int, seed: int, *, slope: float = 1) -> Days:
    """Predicted is four and half the sum of the features; labels are so many times that, with noise."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(count * ROWS, FEATURES)), columns=NAMES)
    predicted = 4 + features.to_numpy().sum(axis=1) / 2
    return Days(features, slope * predicted + random.normal(0, NOISE, len(predicted)), predicted)


TRAINED = days(100, 1)


def rules(threshold: float) -> Monitoring:
    known = catalogue.load("california_housing").monitoring
    return known.model_copy(update={"performance": known.performance.model_copy(update={"threshold": threshold})})


def measure(monitoring: Monitoring, number: int, rows: Days) -> WindowMetrics:
    count, y, p = len(rows.actual), rows.actual, rows.predicted
    threshold = monitoring.performance.threshold
    drifted = [item.column for item in drift.detect(TRAINED.features, rows.features, monitoring.drift) if item.drifted]
    value = best = residuals = None
    concept = False
    if count >= METRIC.least_rows(FEATURES):
        value = METRIC.measure(y, p, FEATURES)
        best = interval.best_bound(METRIC, y, p, FEATURES, monitoring.performance.confidence)
        known = Samples("residual", ColumnKind.NUMBER, TRAINED.actual - TRAINED.predicted, y - p)
        residuals = drift.compare([known], monitoring.drift)[0].drifted
        if best is not None and residuals and not drifted and METRIC.clears(threshold, best):
            concept = relearn.can_learn(METRIC, y, p, rows.features, FEATURES, best=best, threshold=threshold)
    return WindowMetrics(
        START.shift(number), "1", count, count, value, {}, tuple(drifted), None,
        best=best, residuals_drifted=residuals, concept_drifted=concept,
    )  # fmt: skip


def decided(monitoring: Monitoring, rows: Days, partitions: int) -> list[tuple[WindowMetrics, Outcome]]:
    measured: list[WindowMetrics] = []
    found = []
    for number in range(len(rows.actual) // ROWS):
        item = measure(monitoring, number, rows.window(number, partitions))
        at = item.partition.labels_available_at(1)
        verdict = policy.decide(monitoring, METRIC, item, production="1", history=measured, requests=(), at=at)
        found.append((item, verdict.outcome))
        measured += [item] if item.labelled else []
    return found


ALARMS = (Outcome.ALERT_ROOT_CAUSE, Outcome.REQUEST_RETRAINING)


def test_a_day_alone_is_never_judged() -> None:
    found = decided(rules(0.9), days(10, 2, slope=0.2), 1)
    assert not any(item.labelled or outcome in ALARMS for item, outcome in found)


@pytest.mark.parametrize("seed", [3, 4])
def test_without_a_change_there_are_no_more_alarms_than_the_confidence_allows(seed: int) -> None:
    """At the worst: the version is exactly as good as its threshold, so that half of the windows are worse."""
    monitoring = rules(OF_A_WINDOW)
    found = decided(monitoring, days(150, seed), WINDOW)[WINDOW - 1 :]
    worse = np.mean([item.metric < OF_A_WINDOW for item, _ in found if item.metric is not None])
    assert 0.3 < worse < 0.7
    assert np.mean([outcome in ALARMS for _, outcome in found]) <= 1 - monitoring.performance.confidence


def test_where_the_version_is_better_than_its_threshold_there_is_none() -> None:
    found = decided(rules(TRUE - 0.1), days(150, 5), WINDOW)
    assert not [item for item, outcome in found if outcome in ALARMS]


@pytest.mark.parametrize(("slope", "outcome"), [(1.5, Outcome.REQUEST_RETRAINING), (0.0, Outcome.ALERT_ROOT_CAUSE)])
def test_a_real_change_is_found_within_a_window(slope: float, outcome: Outcome) -> None:
    """Labels that are half as high again can be learned, labels of noise can not."""
    before, after = days(WINDOW, 6), days(2 * WINDOW, 7, slope=slope)
    rows = Days(
        pd.concat([before.features, after.features], ignore_index=True),
        np.concatenate([before.actual, after.actual]),
        np.concatenate([before.predicted, after.predicted]),
    )
    found = [said for _, said in decided(rules(TRUE - 0.1), rows, WINDOW)]
    assert not set(found[:WINDOW]) & set(ALARMS)
    assert set(found[WINDOW : 2 * WINDOW]) & set(ALARMS)
    assert set(found[2 * WINDOW :]) == {outcome}
