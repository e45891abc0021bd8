"""The verdict on a batch, and on its quarantined rows later on; and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from include.core.partition import Partition
from include.ingestion.delivery import Delivery
from include.ingestion.expectations import Severity
from include.ingestion.validation.result import Failure, ValidationResult
from include.lakehouse.decisions import Outcome, Reason

_EFFECTS: dict[Severity, str] = {
    "reject_batch": "rejects the batch",
    "quarantine_row": "quarantined",
    "warn": "warning",
}

_MEANINGS: dict[str, tuple[str, str]] = {
    Reason.EMPTY_FILE: ("the file has no byte", "Have the sender deliver it again"),
    Reason.NO_ROWS: ("the file has a header and no rows", "Have the sender deliver it again"),
    Reason.MISSING_COLUMN: (
        "column {columns} is not delivered",
        "Have the sender add it, or take it out of columns in model.yaml",
    ),
    Reason.EXTRA_COLUMN: (
        "column {columns} is not known",
        "Have the sender leave it out, or add it to columns in model.yaml",
    ),
    Reason.RETYPED_COLUMN: (
        "no value of column {columns} has the type that model.yaml gives it",
        "Have the sender restore the type, or change it in model.yaml",
    ),
    Reason.QUARANTINE_BUDGET_EXCEEDED: (
        "too large a share of the rows fails",
        "Look into the quarantine table for the reasons; ingestion.quarantine_budget in model.yaml is the limit",
    ),
    Reason.ROW_COUNT_OFF_BAND: (
        "the number of rows is far from that of the last batches",
        "Ask the sender; if it is right, widen ingestion.row_count_band in model.yaml and run again",
    ),
    Reason.STALE_ROWS: ("the newest row is too old", "Ask the sender whether this is the right day's delivery"),
    Reason.NOT_EVALUATED: (
        "a rule on {columns} cannot be evaluated on this batch",
        "Look into the Data Docs, then mend the rule in expectations.yaml",
    ),
}
_RULE_FAILS = (
    "the rule of that name in expectations.yaml fails",
    "Look into the Data Docs; mend the data, or the rule",
)


@dataclass(frozen=True)
class BatchVerdict:
    """What becomes of a batch."""

    outcome: Outcome
    rows: int
    quarantined: int
    """Rows that are not accepted: all of them where the batch is rejected."""
    reasons: dict[str, int]
    """Rows by their own reason; a row can have several."""
    batch_reasons: tuple[str, ...]
    """Why the whole batch is rejected: what ``reject_batch`` is to be given."""
    warnings: tuple[str, ...]
    problems: tuple[str, ...] = field(default=(), compare=False)
    """For each reason of the batch: where, what happened, what to do."""

    @classmethod
    def of(cls, delivery: Delivery, rows: int, result: ValidationResult) -> BatchVerdict:
        """The verdict on a delivery that could be read."""
        quarantined = rows if result.batch_reasons else int(result.rows.rows().size)
        accepted = Outcome.ACCEPT_AND_QUARANTINE if quarantined else Outcome.ACCEPT_BATCH
        return cls(
            outcome=Outcome.REJECT_BATCH if result.batch_reasons else accepted,
            rows=rows,
            quarantined=quarantined,
            reasons=result.rows.counts(),
            batch_reasons=result.batch_reasons,
            warnings=result.warnings,
            problems=tuple(f"{delivery.folder}: {reason}: {_explained(reason)}" for reason in result.batch_reasons),
        )

    def describe(self, model: str, partition: Partition, failures: Sequence[Failure]) -> str:
        """What the task log says: a line for the batch, for each reason to reject it, for each rule that it breaks."""
        counts = f"{self.rows} rows = {self.rows - self.quarantined} accepted + {self.quarantined} quarantined"
        lines = [f"{model}, batch of {partition}: {self.outcome}. {counts}"]
        lines += [f"  batch rejected: {reason}: {_explained(reason)}" for reason in self.batch_reasons]
        width = max((len(failure.reason) for failure in failures), default=0)
        for failure in failures:
            count = f"{failure.count} {'row' if failure.count == 1 else 'rows'} " if failure.count else ""
            example = "e.g. " if failure.count else ""
            effect = f"{count}{_EFFECTS[failure.severity]}, {example}{'; '.join(failure.examples)}"
            lines.append(f"  {failure.reason:<{width}}  {effect}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Reprocessing:
    """What becomes, or would become, of the quarantined rows of a partition."""

    waiting: int
    """Rows in quarantine before."""
    taken_back: int
    """Rows that pass now."""
    still_waiting: dict[str, int]
    """Rows that stay, by reason."""
    batch_reasons: tuple[str, ...]
    """Why the batch is still rejected as a whole: then nothing is taken back."""


def _explained(reason: str) -> str:
    """One line: what happened, which column, what to do."""
    code, _, columns = reason.partition(":")
    what, fix = _MEANINGS.get(code, _RULE_FAILS)
    return f"{what.format(columns=repr(columns))}. {fix}"
