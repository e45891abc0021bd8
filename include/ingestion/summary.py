"""What the task log says of a batch: one block that names columns, counts and example values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from include.ingestion.findings import Failure, Severity

_EFFECTS: dict[Severity, str] = {
    "reject_batch": "rejects the batch",
    "quarantine_row": "quarantined",
    "warn": "warning",
}


def describe(
    model: str,
    day: date,
    outcome: str,
    *,
    rows: int,
    quarantined: int,
    batch_reasons: Sequence[str],
    failures: Sequence[Failure],
) -> str:
    """One line for the batch, one for each reason to reject it, one for each rule that it breaks."""
    counts = f"{rows} rows = {rows - quarantined} accepted + {quarantined} quarantined"
    lines = [f"{model}, batch of {day}: {outcome}. {counts}"]
    lines += [f"  batch rejected: {reason}" for reason in batch_reasons]
    width = max((len(failure.reason) for failure in failures), default=0)
    for failure in failures:
        count = f"{failure.count} {'row' if failure.count == 1 else 'rows'} " if failure.count else ""
        example = "e.g. " if failure.count else ""
        effect = f"{count}{_EFFECTS[failure.severity]}, {example}{'; '.join(failure.examples)}"
        lines.append(f"  {failure.reason:<{width}}  {effect}")
    return "\n".join(lines)
