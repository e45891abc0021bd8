"""The checks that gates ask, by name: model.yaml lists those of each gate.

A check looks at the evidence of a candidate (`registry.evidence`) and answers in a sentence. What it raises is its
failure. To add one, write a function and its entry in `CHECKS`, or name your own in model.yaml by its path, such as
``my_package.checks:no_slice_is_worse``.

How two versions are compared, and why it is fair: both predict the same rows of the newer one of their training sets,
and only rows that are held out for both, so neither was fitted to any of them. Where partitions drifted, their rows
decide which one is better, once there are enough: there a drift shows, and most test rows are older. The candidate must
also clear the threshold on all test rows, so that it cannot win the drifted ones by forgetting the rest. Rows of before
a concept drift say what is true no longer: where there are some, those since decide alone.
What the gain says is in `registry.comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from include.core.errors import ConfigError, TamperedError
from include.core.registry import choose
from include.core.sections import GateCheck
from include.core.spec import ModelSpec

if TYPE_CHECKING:  # model.yaml is checked where nothing heavy is imported
    from include.lakehouse.comparisons import Comparison
    from include.registry.evidence import Evidence, Rows


@dataclass(frozen=True)
class CheckResult:
    """The answer of one check. ``value`` and ``threshold`` are None where there is nothing to measure."""

    name: str
    passed: bool
    detail: str
    """A sentence, for the person who approves."""
    value: float | None = None
    threshold: float | None = None
    comparison: Comparison | None = None
    """With the version in production, where the check has made one."""


@dataclass(frozen=True)
class Param:
    """What a check can be told in model.yaml."""

    kind: type
    """``float`` takes whole numbers, too."""
    default: Any = None
    """None where model.yaml has to say it."""
    low: float | None = None
    high: float | None = None

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            return f"{value!r} is no {self.kind.__name__}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{value!r} is not finite"
        if self.low is not None and value < self.low:  # type: ignore[operator]
            return f"{value!r} is below {self.low:g}"
        if self.high is not None and value > self.high:  # type: ignore[operator]
            return f"{value!r} is above {self.high:g}"
        return None


@dataclass(frozen=True)
class Check:
    """One question that a gate asks."""

    name: str
    ask: Callable[[Evidence, Mapping[str, Any]], CheckResult]
    """From the evidence and all of the parameters to the answer."""
    params: Mapping[str, Param] = field(default_factory=dict)


def run(spec: ModelSpec, gate: str, evidence: Evidence) -> list[CheckResult]:
    """The answers to all checks of a gate, in the order of model.yaml.

    Before them stands one that no model.yaml leaves out: where the candidate is not what was registered, no other one
    is asked.
    """
    results = [_as_registered(evidence)]
    if not results[0].passed:
        return results
    for number, item in enumerate(getattr(spec.gates, gate)):
        check, params = _chosen(spec, gate, number, item)
        try:
            results.append(check.ask(evidence, params))
        except Exception as error:  # noqa: BLE001 - whatever stops a check from passing the version fails it
            results.append(CheckResult(check.name, False, f"It could not be checked: {first_line(error)}"))
    return results


def problems(spec: ModelSpec) -> None:
    """Refuse gates that cannot be run.

    Raises:
        ConfigError: with file and key: a check is not known, or has parameters that it does not take.
    """
    for gate in type(spec.gates).model_fields:
        for number, item in enumerate(getattr(spec.gates, gate)):
            _chosen(spec, gate, number, item)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _chosen(spec: ModelSpec, gate: str, number: int, item: GateCheck) -> tuple[Check, dict[str, Any]]:
    """A check that model.yaml lists, and all of its parameters."""
    where = f"{spec.file()}: gates.{gate}.{number}"
    check = choose(CHECKS, item.check, f"{where}.check")
    for name, value in item.params.items():
        if name not in check.params:
            known = ", ".join(check.params) or "none"
            raise ConfigError(f"{check.name} has no parameter {name!r}", where=where, fix=f"It has {known}")
        if problem := check.params[name].problem(value):
            raise ConfigError(problem, where=f"{where}.{name}")
    params = {name: item.params.get(name, param.default) for name, param in check.params.items()}
    if missing := [name for name, value in params.items() if value is None]:
        raise ConfigError(f"{check.name} needs {', '.join(missing)}", where=where, fix="Say it beside the check's name")
    return check, params


def _as_registered(evidence: Evidence) -> CheckResult:
    try:
        files = len(list(evidence.folder.rglob("*")))
    except TamperedError as error:
        return CheckResult("as_registered", False, str(error))
    return CheckResult("as_registered", True, f"Each of its {files} files is as it was registered.", value=files)


def _has_artifacts(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    files = [file for file in evidence.folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    complete = any(file.name == "MLmodel" for file in files) and size > 0
    detail = f"{len(files)} files, {size:,} bytes" + ("." if complete else ", no MLmodel among them.")
    return CheckResult("has_artifacts", complete, detail, value=len(files))


def _has_description(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    described = bool(evidence.candidate.own_description)
    return CheckResult("has_description", described, "It has a description." if described else "It has no description.")


def _has_signature(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    signature = evidence.logged.signature
    complete = bool(signature and signature.inputs and signature.outputs)
    detail = (
        f"Signature with {len(signature.inputs)} inputs." if complete else "It has no signature of inputs and outputs."
    )
    return CheckResult("has_signature", complete, detail)


def _predicts(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    example = evidence.example
    if example is None:
        return CheckResult("predicts", False, "It has no input example to predict.")
    predicted = evidence.predict(example)
    passed = len(predicted) == len(example) and all(math.isfinite(value) for value in predicted)
    detail = f"{len(predicted)} predictions for the {len(example)} rows of its input example"
    detail += ", all finite." if passed else ", not all finite or not one per row."
    return CheckResult("predicts", passed, detail)


def _above_threshold(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    return _clears("above_threshold", evidence, evidence.test_rows, params["threshold"])


def _drifted_rows(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    name, rows = "drifted_rows", len(evidence.drifted_rows)
    if not rows:
        return CheckResult(name, True, NOTHING_DRIFTED)
    least = max(params["at_least"], evidence.least_rows)
    detail = f"{rows:,} test rows of drifted windows, {least:,} are needed to judge a version by them."
    return CheckResult(name, rows >= least, detail, value=rows, threshold=least)


def _drifted_above_threshold(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    name, rows = "drifted_above_threshold", evidence.drifted_rows
    if not len(rows):
        return CheckResult(name, True, NOTHING_DRIFTED)
    if len(rows) < evidence.least_rows:
        detail = f"{len(rows)} test rows of drifted windows are too few to measure {evidence.metric.title} on."
        return CheckResult(name, False, detail)
    return _clears(name, evidence, rows, params["threshold"])


def _better_than_production(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    from include.lakehouse.comparisons import Finding
    from include.registry import comparison

    name, serving = "better_than_production", evidence.serving
    if serving is None:
        return CheckResult(name, True, "No version is in production to compare it with.")
    if serving.version == evidence.candidate.version:
        return CheckResult(name, True, f"Version {serving.version} is in production already.")
    chosen = evidence.drifted_rows if len(evidence.drifted_rows) >= evidence.least_rows else evidence.test_rows
    compared = evidence.shared_with_production(chosen)
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


NOTHING_DRIFTED = "No window of its training set drifted: all test rows decide."
_THRESHOLD = Param(float)

CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("has_artifacts", _has_artifacts),
        Check("has_description", _has_description),
        Check("has_signature", _has_signature),
        Check("predicts", _predicts),
        Check("above_threshold", _above_threshold, {"threshold": _THRESHOLD}),
        Check("drifted_rows", _drifted_rows, {"at_least": Param(int, low=0)}),
        Check("drifted_above_threshold", _drifted_above_threshold, {"threshold": _THRESHOLD}),
        Check(
            "better_than_production",
            _better_than_production,
            {"confidence": Param(float, 0.95, 0.5, 0.9999), "minimum_gain": Param(float, 0.0, 0.0)},
        ),
    )
}
