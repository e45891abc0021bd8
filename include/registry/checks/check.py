"""What a check is: a question about a candidate, what model.yaml can tell it, and its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # model.yaml is checked where nothing heavy is imported
    from include.lakehouse.comparisons import Comparison
    from include.registry.evidence import Evidence


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
    """``float`` takes whole numbers, too; ``tuple`` a list of names."""
    default: Any = None
    """None where model.yaml has to say it."""
    low: float | None = None
    high: float | None = None
    features: bool = False
    """Whether it names a feature, or several."""

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        if self.kind is tuple:
            return _problem_of_names(value)
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


def _problem_of_names(value: object) -> str | None:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) and name for name in value):
        return f"{value!r} is no list of names"
    if repeated := sorted({name for name in value if value.count(name) > 1}):
        return f"{repeated[0]} is named more than once"
    return None
