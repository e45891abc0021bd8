"""What a check is: a question about a candidate, what model.yaml can tell it, and its answer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
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
    slices: Sequence[Comparison] = ()
    """The same, slice by slice."""
    asks: str = ""
    """What the check asks, in a sentence."""

    def __str__(self) -> str:
        """Its line of a log."""
        return f"{'passed' if self.passed else 'FAILED'}  {self.name} ({self.measured}): {self.detail}"

    @property
    def measured(self) -> str:
        """``observed 0.85, threshold 0.8``, or that there is nothing to measure."""
        told = [(what, value) for what, value in (("observed", self.value), ("threshold", self.threshold))]
        said = [f"{what} {shown(value)}" for what, value in told if value is not None]
        return ", ".join(said) or "nothing to measure"


def shown(value: float | None) -> str:
    """What was observed, or the threshold, in a cell of a table."""
    return "" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


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
    choices: tuple[str, ...] = ()
    """The texts that it may be; any where there are none."""

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        if self.kind is tuple:
            return _problem_of_names(value)
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            return f"{value!r} is no {self.kind.__name__}"
        if self.choices and value not in self.choices:
            return f"{value!r} is none of {', '.join(self.choices)}"
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
    """From the evidence and all of the parameters to the answer. Its docstring begins with what it asks."""
    params: Mapping[str, Param] = field(default_factory=dict)

    @property
    def asks(self) -> str:
        """What it asks, in a sentence, for whoever meets it first."""
        return " ".join((inspect.getdoc(self.ask) or "").partition("\n\n")[0].split())


def _problem_of_names(value: object) -> str | None:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) and name for name in value):
        return f"{value!r} is no list of names"
    if repeated := sorted({name for name in value if value.count(name) > 1}):
        return f"{repeated[0]} is named more than once"
    return None
