"""The checks that gates ask, by name: model.yaml lists those of each gate.

A check looks at the evidence of a candidate (`registry.evidence`) and answers in a sentence. What it raises is its
failure. To add one, write a function and its entry in the ``CHECKS`` of the file that it belongs to, or name your own
in model.yaml by its path, such as ``my_package.checks:no_night_is_worse``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from include.core.errors import ConfigError, TamperedError
from include.core.registry import choose
from include.core.sections import GateCheck
from include.core.spec import ModelSpec
from include.registry.checks import completeness, cost, quality, slices
from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:  # model.yaml is checked where nothing heavy is imported
    from include.registry.evidence import Evidence

CHECKS: Mapping[str, Check] = {
    check.name: check for check in (*completeness.CHECKS, *cost.CHECKS, *quality.CHECKS, *slices.CHECKS)
}


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
    try:
        files = len(list(evidence.folder.rglob("*")))
    except TamperedError as error:
        return CheckResult("as_registered", False, str(error))
    return CheckResult("as_registered", True, f"Each of its {files} files is as it was registered.", value=files)


__all__ = ["CHECKS", "Check", "CheckResult", "Param"]
