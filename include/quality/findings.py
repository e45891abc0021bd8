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
class Findings:
    """What the rules say of one batch."""

    rows: dict[str, Rows] = field(default_factory=dict)
    """Rows to quarantine, by reason. All of them, however many."""
    batch: tuple[str, ...] = ()
    """Reasons to reject the whole batch."""
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
