"""The gates that a version passes on its way to production. They only measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.lakehouse.comparisons import Comparison
from include.lakehouse.tables import Lakehouse
from include.registry import checks, promotion, versions
from include.registry.checks import CheckResult
from include.registry.evidence import Evidence

Gate = Literal["staging", "production"]


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

    @property
    def table(self) -> str:
        """Markdown, for the person who approves."""
        rows = [(check.name, "yes" if check.passed else "**no**", check.detail) for check in self.checks]
        cells = [("check", "passed", "what was found"), ("---", "---", "---"), *rows]
        return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells)


def asks_person(spec: ModelSpec, settings: Settings) -> bool:
    """Whether a person has to approve a promotion in this environment."""
    return bool(getattr(spec.approval, settings.environment) == "person")


def ask(spec: ModelSpec, lake: Lakehouse, gate: Gate, version: str) -> Verdict:
    """Ask all checks of a gate.

    Raises:
        DataError: no such version.
        ConfigError: the gate lists a check that is not known.
    """
    candidate, serving = versions.get(spec, version), promotion.in_production(spec, lake)
    results = checks.run(spec, gate, Evidence(spec, lake, candidate, serving))
    compared_with = serving.version if serving else None
    return Verdict(all(result.passed for result in results), gate, candidate.version, compared_with, tuple(results))
