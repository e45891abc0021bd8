"""The gates that a version passes on its way to production. They only measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from include.core.sections import Gate
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.lakehouse.comparisons import Comparison
from include.registry.checks import CheckResult


@dataclass(frozen=True)
class Verdict:
    """The answer of a gate: passed if every check is."""

    passed: bool
    gate: Gate
    version: str
    compared_with: str | None
    """The version in production then."""
    checks: Sequence[CheckResult]

    @property
    def failed(self) -> list[CheckResult]:
        return [check for check in self.checks if not check.passed]

    @property
    def comparison(self) -> Comparison | None:
        """With the version in production, of the first check that made one."""
        return next((check.comparison for check in self.checks if check.comparison), None)


def asks_person(spec: ModelSpec, settings: Settings) -> bool:
    """Whether a person has to approve a promotion in this environment."""
    return bool(getattr(spec.approval, settings.environment) == "person")
