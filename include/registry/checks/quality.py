"""Whether a version predicts well enough, and better than what is there.

How two versions are compared, and why it is fair: both predict the same rows of the newer one of their training sets,
and only rows that are held out for both, so neither was fitted to any of them. Where partitions drifted, their rows
decide which one is better, once there are enough: there a drift shows, and most test rows are older. The candidate must
also clear the threshold on all test rows, so that it cannot win the drifted ones by forgetting the rest. Rows of before
a concept drift say what is true no longer: where there are some, those since decide alone.
What the gain says is in `registry.comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:
    from include.registry.evidence import Evidence, Rows

NOTHING_DRIFTED = "No window of its training set drifted: all test rows decide."
_THRESHOLD = Param(float)


def _above_threshold(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is its metric on the test rows on the right side of the threshold?"""
    return _clears("above_threshold", evidence, evidence.test_rows, params["threshold"])


def _drifted_rows(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Where windows drifted: are there enough test rows of them to judge it by?"""
    name, rows = "drifted_rows", len(evidence.drifted_rows)
    if not rows:
        return CheckResult(name, True, NOTHING_DRIFTED)
    least = max(params["at_least"], evidence.least_rows)
    detail = f"{rows:,} test rows of drifted windows, {least:,} are needed to judge a version by them."
    return CheckResult(name, rows >= least, detail, value=rows, threshold=least)


def _drifted_above_threshold(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Where windows drifted: is its metric on their test rows on the right side, too?"""
    name, rows = "drifted_above_threshold", evidence.drifted_rows
    if not len(rows):
        return CheckResult(name, True, NOTHING_DRIFTED)
    if len(rows) < evidence.least_rows:
        detail = f"{len(rows)} test rows of drifted windows are too few to measure {evidence.metric.title} on."
        return CheckResult(name, False, detail)
    return _clears(name, evidence, rows, params["threshold"])


def _better_than_naive(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is it surely better than one prediction for all rows?"""
    rows, floor = evidence.test_rows, evidence.naive
    gain, metric = evidence.gain_on_constant(rows, floor), evidence.metric
    bound, number = gain.at_least(1 - params["confidence"]), f"{floor:,.0f}" if abs(floor) >= 100 else f"{floor:.4g}"
    detail = (
        f"On {rows.title} ({len(rows):,} rows) its {metric.title} gains {metric.shown(gain.value)} on predicting "
        f"{number} for every row, surely {metric.shown(bound)} or more."
    )
    return CheckResult("better_than_naive", bound > 0, detail, value=bound, threshold=0.0)


def _better_than_linear(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is it surely better than a linear model that is fitted to the same rows? By default on the first deployment."""
    name, rows = "better_than_linear", evidence.test_rows
    if params["when"] == "first_deployment" and evidence.serving is not None:
        return CheckResult(name, True, f"Version {evidence.serving.version} is in production: it is held against that.")
    if evidence.candidate.tag("algorithm") == "linear":
        return CheckResult(name, True, "It is a linear model itself.")
    gain, metric = evidence.gain_on_linear(rows), evidence.metric
    bound = gain.at_least(1 - params["confidence"])
    detail = (
        f"On {rows.title} ({len(rows):,} rows) its {metric.title} gains {metric.shown(gain.value)} on a linear model "
        f"fitted to the same rows, surely {metric.shown(bound)} or more."
    )
    return CheckResult(name, bound > 0, detail, value=bound, threshold=0.0)


def _prediction_schema(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is each prediction for the test rows what consumers expect: of that type, finite, within the range?"""
    name, rows = "prediction_schema", evidence.test_rows
    if rows.frame.empty:
        return CheckResult(name, False, "There is no test row to predict.")
    signature, wanted = evidence.logged.signature, params["type"]
    given = sorted({str(kind) for kind in signature.outputs.numpy_types()}) if signature and signature.outputs else []
    predicted = evidence.predict(rows.frame[list(evidence.candidate.features)])
    null, infinite = np.isnan(predicted), np.isinf(predicted)
    outside = ~null & ~infinite & ((predicted < params["low"]) | (predicted > params["high"]))
    wrong = {"infinite": infinite, "outside": outside} | ({} if params["nulls"] else {"null": null})
    problems = [f"{found.sum():,} are {what}" for what, found in wrong.items() if found.any()]
    if wanted != "any" and given != [wanted]:
        problems.insert(0, f"its signature gives {', '.join(given) or 'no type'} instead of {wanted}")
    range_ = f"{params['low']:g} to {params['high']:g}"
    detail = f"Of {len(predicted):,} predictions, to be within {range_}: {', '.join(problems) or 'all are right'}."
    bad = int(sum(found.sum() for found in wrong.values()))
    return CheckResult(name, not problems, detail, value=bad, threshold=0)


def _better_than_production(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is it surely better than the version in production, on the same rows, however many candidates came before?"""
    from include.lakehouse.comparisons import Finding
    from include.registry import comparison

    name, serving = "better_than_production", evidence.serving
    if serving is None:
        return CheckResult(name, True, "No version is in production to compare it with.")
    if serving.version == evidence.candidate.version:
        return CheckResult(name, True, f"Version {serving.version} is in production already.")
    compared = evidence.shared_with_production(evidence.deciding_rows)
    least = evidence.least_rows_of_both
    if len(compared) < least:
        return CheckResult(
            name, False, f"Only {len(compared)} rows are test rows of both versions: too few to compare."
        )
    found = comparison.compare(evidence, compared, **params)
    detail, passed = comparison.told(evidence, compared, found), found.outcome is Finding.BETTER
    return CheckResult(name, passed, detail, value=found.lower_bound, threshold=0.0, comparison=found)


def _clears(name: str, evidence: Evidence, rows: Rows, threshold: float) -> CheckResult:
    metric, value = evidence.metric, evidence.measure(rows)
    passed = metric.clears(value, threshold)
    side = ("" if passed else "not ") + ("above" if metric.higher_is_better else "below")
    title = metric.title[:1].upper() + metric.title[1:]
    detail = f"{title} on {rows.title} ({len(rows):,} rows) is {metric.shown(value)}, {side} {threshold:g}."
    return CheckResult(name, passed, detail, value=value, threshold=threshold)


CHECKS = (
    Check("above_threshold", _above_threshold, {"threshold": _THRESHOLD}),
    Check("drifted_rows", _drifted_rows, {"at_least": Param(int, low=0)}),
    Check("drifted_above_threshold", _drifted_above_threshold, {"threshold": _THRESHOLD}),
    Check("better_than_naive", _better_than_naive, {"confidence": Param(float, 0.95, 0.5, 0.9999)}),
    Check(
        "better_than_linear",
        _better_than_linear,
        {
            "confidence": Param(float, 0.95, 0.5, 0.9999),
            "when": Param(str, "first_deployment", choices=("first_deployment", "always")),
        },
    ),
    Check(
        "prediction_schema",
        _prediction_schema,
        {
            "type": Param(str, "any", choices=("any", "float64", "float32", "int64", "int32", "bool")),
            "low": Param(float, -math.inf),
            "high": Param(float, math.inf),
            "nulls": Param(bool, False),
        },
    ),
    Check(
        "better_than_production",
        _better_than_production,
        {"confidence": Param(float, 0.95, 0.5, 0.9999), "minimum_gain": Param(float, 0.0, 0.0)},
    ),
)
