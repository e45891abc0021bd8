"""The checks that gates ask, by name: model.yaml lists those of each gate.

A check looks at the evidence of a candidate (`registry.evidence`) and answers in a sentence. What it raises is its
failure. To add one, write a function and its entry in the ``CHECKS`` of the file that it belongs to, or name your own
in model.yaml by its path, such as ``my_package.checks:no_night_is_worse``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from include.core.errors import ConfigError, UsageError
from include.core.registry import choose
from include.core.sections import AS_REGISTERED, Gate, GateCheck
from include.core.spec import ModelSpec
from include.registry.checks import completeness, cost, inputs, quality, slices
from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:  # model.yaml is checked where nothing heavy is imported
    from include.registry.evidence import Evidence

CHECKS: Mapping[str, Check] = {
    check.name: check for check in (*completeness.CHECKS, *cost.CHECKS, *inputs.CHECKS, *quality.CHECKS, *slices.CHECKS)
}


def ask(spec: ModelSpec, gate: Gate, asked: str, evidence: Evidence) -> CheckResult:
    """The answer to one check of a gate. Of a candidate that is not what was registered nothing else is asked.

    Args:
        asked: which of `Gates.asked`.

    Raises:
        UsageError: the gate asks no such check.
        ConfigError: model.yaml lists one that is not known.
    """
    all_asked = spec.gates.asked(gate)
    if asked not in all_asked:
        raise UsageError(
            f"the {gate} gate asks no check {asked!r}", where=spec.name, fix=f"It asks {', '.join(all_asked)}"
        )
    registered = _as_registered(evidence)
    if asked == AS_REGISTERED:
        return registered
    place = all_asked.index(asked) - 1
    check, params = _chosen(spec, gate, place, getattr(spec.gates, gate)[place])
    if not registered.passed:
        return CheckResult(check.name, False, "It was not asked: the version is not what was registered.")
    try:
        result = check.ask(evidence, params)
    except Exception as error:  # noqa: BLE001 - whatever stops a check from passing the version fails it
        result = CheckResult(check.name, False, f"It could not be checked: {first_line(error)}")
    return replace(result, asks=check.asks)


def problems(spec: ModelSpec, features: Collection[str]) -> None:
    """Refuse gates that cannot be run.

    Args:
        features: those that features.sql makes.

    Raises:
        ConfigError: with file and key: a check is not known, or is told what it does not take.
    """
    for gate in type(spec.gates).model_fields:
        for number, item in enumerate(getattr(spec.gates, gate)):
            check, params = _chosen(spec, gate, number, item)
            for name in (name for name, param in check.params.items() if param.features):
                named = (params[name],) if isinstance(params[name], str) else params[name]
                if unknown := [column for column in named if column not in features]:
                    raise ConfigError(
                        f"{unknown[0]!r} is no feature",
                        where=f"{spec.file()}: gates.{gate}.{number}.{name}",
                        fix=f"There are {', '.join(sorted(features))}",
                    )


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
    name, asks = AS_REGISTERED, "Is each of its files, byte for byte, what was registered?"
    if evidence.refusal:
        return CheckResult(name, False, evidence.refusal, asks=asks)
    files = len(list(evidence.folder.rglob("*")))
    return CheckResult(name, True, f"Each of its {files} files is as it was registered.", value=files, asks=asks)


__all__ = ["CHECKS", "Check", "CheckResult", "Param"]
