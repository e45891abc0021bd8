"""Whether a version is good enough everywhere: in each slice of the test rows, by the values of some features.

A slice fails a version only where it is surely bad: with many slices some are by chance. What is sure is so for all
slices together (Bonferroni). Slices of few rows are not judged, and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from include.core.sections import Task
from include.evaluation import interval
from include.evaluation import slices as sliced
from include.evaluation.metrics import Floats
from include.evaluation.slices import Slice
from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:
    from include.registry.evidence import Evidence, Rows


Shown = Callable[[float], str]


@dataclass(frozen=True)
class _Found:
    """What was measured on a slice."""

    slice: Slice
    value: float
    surely_bad: bool

    def __str__(self) -> str:
        return f"{self.slice.title} ({len(self.slice):,} rows)"


def _no_slice_below_threshold(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is its metric surely on the wrong side of the threshold in no slice of the test rows?"""
    metric, rows, count = evidence.metric, evidence.test_rows, len(evidence.candidate.features)
    actual, predicted = evidence.labels_and_predictions(rows)
    judged, small = _slices(evidence, rows, params, params["columns"])
    confidence, found = 1 - _alpha(judged, params), []
    for part in judged:
        y, p = actual[part.rows], predicted[part.rows]
        best = interval.best_bound(metric, y, p, count, confidence)
        bad = best is not None and not metric.clears(best, params["threshold"])
        found.append(_Found(part, metric.measure(y, p, count), bad))
    worst = min(found, key=lambda item: metric.gain(item.value, 0), default=None)
    wrong = "below" if metric.higher_is_better else "above"
    said = f"{metric.title} is surely {wrong} {params['threshold']:g}"
    return _answer("no_slice_below_threshold", said, found, worst, metric.shown, small, params["threshold"])


def _no_slice_worse_than_production(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is it in no slice surely worse than the version in production by more than the margin?

    On the rows that decide between the two.
    """
    from include.evaluation import compare  # which needs scipy: model.yaml is checked without
    from include.lakehouse.comparisons import Finding
    from include.registry import comparison

    name, metric, serving = "no_slice_worse_than_production", evidence.metric, evidence.serving
    if serving is None or serving.version == evidence.candidate.version:
        return CheckResult(name, True, "No other version is in production to compare it with.")
    rows = evidence.shared_with_production(evidence.deciding_rows)
    (actual, predicted), before = evidence.labels_and_predictions(rows), evidence.predictions_in_production(rows)
    judged, small = _slices(evidence, rows, params, params["columns"])
    alpha, found, compared = _alpha(judged, params), [], []
    counts = len(evidence.candidate.features), len(serving.features)
    for part in judged:
        gain = compare.gain(metric, actual[part.rows], predicted[part.rows], before[part.rows], counts)
        told = comparison.of_slice(evidence, part.title, len(part), gain, alpha, params["margin"])
        found.append(_Found(part, gain.value, told.outcome is Finding.SURELY_WORSE))
        compared.append(told)
    worst = min(found, key=lambda item: item.value, default=None)
    said = f"{metric.title} is surely worse than that of version {serving.version} by more than {params['margin']:g}"
    answer = _answer(name, said, found, worst, lambda value: f"gain {value:+.4g}", small, -params["margin"])
    return replace(answer, slices=tuple(compared))


def _error_ratio_within(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is its mean error in no group surely more than that many times the error in the group with the least?

    The logarithm of a ratio of means has, nearly, the variance of the relative errors of both (delta method).
    """
    from scipy import special

    name, rows = "error_ratio_within", evidence.test_rows
    errors = _errors(evidence.spec.task, *evidence.labels_and_predictions(rows))
    judged, small = _slices(evidence, rows, params, (params["column"],))
    judged = sorted((part for part in judged if errors[part.rows].any()), key=lambda part: errors[part.rows].mean())
    if len(judged) < 2:
        return CheckResult(name, True, f"There are no two slices with errors to compare.{_too_small(small)}")
    least, most = (errors[part.rows] for part in (judged[0], judged[-1]))
    ratio = float(most.mean() / least.mean())
    error = math.hypot(*(side.std(ddof=1) / side.mean() / math.sqrt(len(side)) for side in (least, most)))
    pairs = len(judged) * (len(judged) - 1)  # either of two can be the greater one
    passed = ratio * math.exp(-special.ndtri(1 - (1 - params["confidence"]) / pairs) * error) <= params["most"]
    detail = (
        f"The mean error in {judged[-1].title} is {ratio:.3g} times that in {judged[0].title}, "
        f"{'not ' if passed else ''}surely more than {params['most']:g} times.{_too_small(small)}"
    )
    return CheckResult(name, passed, detail, value=ratio, threshold=params["most"])


def _slices(
    evidence: Evidence, rows: Rows, params: Mapping[str, Any], columns: Iterable[str]
) -> tuple[list[Slice], list[Slice]]:
    """Those that can be judged, and those of too few rows."""
    least = max(params["at_least"], evidence.least_rows_of_both)
    texts = {name: category.texts for name, category in evidence.candidate.categories.items()}
    found = [
        part
        for name in columns
        for part in sliced.of(name, rows.frame[name].to_numpy(dtype=np.float64), params["bands"], texts.get(name))
    ]
    return [part for part in found if len(part) >= least], [part for part in found if len(part) < least]


def _alpha(judged: list[Slice], params: Mapping[str, Any]) -> float:
    return float(1 - params["confidence"]) / max(len(judged), 1)


def _errors(task: Task, actual: Floats, predicted: Floats) -> Floats:
    """Of each row: how far off, of classes whether it is wrong."""
    if task is Task.MULTICLASS:
        return (actual != predicted).astype(np.float64)
    return np.abs(actual - predicted)


def _answer(
    name: str, said: str, found: list[_Found], worst: _Found | None, shown: Shown, small: list[Slice], threshold: float
) -> CheckResult:
    if worst is None:
        return CheckResult(name, True, f"No slice has the rows to be judged.{_too_small(small)}", threshold=threshold)
    bad = [item for item in found if item.surely_bad]
    which = ", ".join(f"{item} {shown(item.value)}" for item in bad)
    head = f"In {which} its {said}." if bad else f"In none of {len(found)} slices its {said}."
    tail = "" if bad else f" Worst: {worst}, {shown(worst.value)}."
    return CheckResult(name, not bad, head + tail + _too_small(small), value=worst.value, threshold=threshold)


def _too_small(small: list[Slice]) -> str:
    listed = ", ".join(f"{part.title} ({len(part)})" for part in small)
    return f" Too few rows to judge: {listed}." if small else ""


_COLUMNS = Param(tuple, features=True)
_COMMON = {
    "bands": Param(int, 4, low=2, high=100),
    "at_least": Param(int, 100, low=2),
    "confidence": Param(float, 0.95, 0.5, 0.9999),
}

CHECKS = (
    Check(
        "no_slice_below_threshold",
        _no_slice_below_threshold,
        {"columns": _COLUMNS, "threshold": Param(float), **_COMMON},
    ),
    Check(
        "no_slice_worse_than_production",
        _no_slice_worse_than_production,
        {"columns": _COLUMNS, "margin": Param(float, low=0), **_COMMON},
    ),
    Check(
        "error_ratio_within",
        _error_ratio_within,
        {"column": Param(str, features=True), "most": Param(float, low=1), **_COMMON},
    ),
)
