"""What a validation found: plain data, free of the library that found it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ingestion.expectations import Rule, Severity
from include.ingestion.profile import Profile

Rows = npt.NDArray[np.int64]
"""Positions of rows in a batch, from 0, ascending."""
NO_ROWS: Rows = np.empty(0, dtype=np.int64)

EXAMPLES = 3
HIDDEN = "(personal data: not shown)"


class RowReasons:
    """Reason codes by row position. Rows without a reason are not kept, so a clean batch costs nothing."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    def add(self, reason: str, rows: Iterable[int] | Rows) -> None:
        added = np.unique(np.asarray(rows, dtype=np.int64))
        if added.size:
            self._rows[str(reason)] = np.union1d(self._rows.get(reason, NO_ROWS), added)

    def add_all(self, other: RowReasons) -> None:
        for reason, rows in other._rows.items():
            self.add(reason, rows)

    def of(self, positions: Rows) -> RowReasons:
        """The reasons of some rows, which are then counted from 0 in the order given."""
        some = RowReasons()
        for reason, rows in self._rows.items():
            some.add(reason, np.flatnonzero(np.isin(positions, rows)))
        return some

    def counts(self) -> dict[str, int]:
        """Rows by reason."""
        return {reason: int(rows.size) for reason, rows in self._rows.items()}

    def rows_of(self, reason: str) -> Rows:
        """The rows that have one reason, ascending."""
        return self._rows.get(reason, NO_ROWS)

    def rows(self) -> Rows:
        """Every row that has a reason, once, ascending."""
        return np.unique(np.concatenate([NO_ROWS, *self._rows.values()]))

    def column(self) -> pa.ListArray:
        """The reasons of each row of ``rows()``, list<string>, in the order in which they were added."""
        rows = np.concatenate([NO_ROWS, *self._rows.values()])
        codes = np.repeat(np.arange(len(self._rows)), [found.size for found in self._rows.values()])
        counts = np.unique(rows, return_counts=True)[1]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        names = pa.array(list(self._rows), pa.string())
        return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(codes[np.argsort(rows, kind="stable")])))


@dataclass(frozen=True)
class Failure:
    """A rule that a batch breaks."""

    reason: str
    severity: Severity
    count: int
    """Failing rows; 0 where the rule checks the batch as a whole."""
    examples: tuple[str, ...]
    """Up to three failing values, or what was observed instead of what the rule wants."""


@dataclass(frozen=True)
class RuleOutcome:
    """What became of one rule, kept or broken."""

    rule: Rule
    rows: Rows | None = None
    """The failing rows; None where the rule does not name them all, or holds."""
    failure: Failure | None = None
    observed: float | None = None
    """What was observed, where that is one number: a mean, a count of rows."""

    @property
    def success(self) -> bool:
        return self.failure is None

    @property
    def reason(self) -> str:
        """What the failure is called, or would be."""
        return self.failure.reason if self.failure else self.rule.reason


@dataclass(frozen=True)
class ValidationResult:
    """What is wrong with a batch."""

    rows: RowReasons
    """Rows that are not accepted, each with its own reasons."""
    batch_reasons: tuple[str, ...]
    """Why nothing of the batch is accepted, if so."""
    warnings: tuple[str, ...]
    failures: tuple[Failure, ...]
    outcomes: tuple[RuleOutcome, ...]
    """One for each rule of expectations.yaml; none where the shape of the batch is wrong."""
    profile: Profile
    hidden: frozenset[str]
    """Columns of which no value may be shown."""


def sort_out(outcomes: Sequence[RuleOutcome]) -> tuple[RowReasons, list[str], list[str]]:
    """What the broken rules do: the rows they quarantine, their reasons to reject the batch, their warnings.

    A rule on rows that does not name them rejects the batch: nobody knows which rows are good.
    """
    rows = RowReasons()
    batch: list[str] = []
    warnings: list[str] = []
    for outcome in outcomes:
        if outcome.success:
            continue
        if outcome.rule.severity == "warn":
            warnings.append(outcome.reason)
        elif outcome.rule.severity == "reject_batch" or outcome.rows is None:
            batch.append(outcome.reason)
        else:
            rows.add(outcome.reason, outcome.rows)
    return rows, list(dict.fromkeys(batch)), list(dict.fromkeys(warnings))
