"""What a validation found: plain data, free of the library that found it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
"""Positions of rows in a batch, from 0, ascending."""

Severity = Literal["reject_batch", "quarantine_row", "warn"]

EXAMPLES = 3
HIDDEN = "(personal data: not shown)"


@dataclass(frozen=True)
class Failure:
    """A rule that a batch breaks."""

    reason: str
    severity: Severity
    count: int
    """Failing rows; 0 where the rule judges the batch as a whole."""
    examples: tuple[str, ...]
    """Up to three failing values, or what was observed instead of what the rule wants."""


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule, kept or broken."""

    type: str
    columns: tuple[str, ...]
    reason: str
    severity: Severity
    success: bool
    failing: int
    """Failing rows; 0 where the rule judges the batch as a whole."""
    observed: float | None
    """What was observed, where that is one number: a mean, a count of rows."""


@dataclass(frozen=True)
class Findings:
    """What the rules say of one batch."""

    rows: dict[str, Rows] = field(default_factory=dict)
    """Rows to quarantine, by reason. All of them, however many."""
    batch: tuple[str, ...] = ()
    """Reasons to reject the whole batch."""
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    results: tuple[RuleResult, ...] = field(default=(), compare=False)
    """One for each rule, in their order."""
