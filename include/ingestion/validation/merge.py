"""Put together what the rows, the rules and the other batches say of one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion.expectations import Severity
from include.ingestion.validation.history import BatchHistory
from include.ingestion.validation.result import (
    EXAMPLES,
    HIDDEN,
    NO_ROWS,
    Failure,
    RowReasons,
    Rows,
    RuleOutcome,
    ValidationResult,
    sort_out,
)
from include.ingestion.validation.scan import BatchScan
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import ROW_NUMBER, SOURCE_FILE


@dataclass(frozen=True)
class BatchContext:
    """What a batch is validated by, besides its rows."""

    history: BatchHistory
    file_types: dict[str, str] = field(default_factory=dict)
    """By column the type in a Parquet file."""
    unfinished: Rows = field(default_factory=lambda: NO_ROWS)
    """Positions of rows that end a file without a line end."""
    known_shape: tuple[str, ...] | None = None
    """Reasons of the batch's shape where its rows do not show it: they come out of ``raw_``."""


def merge(
    spec: ModelSpec,
    scan: BatchScan,
    outcomes: Sequence[RuleOutcome],
    context: BatchContext,
    *,
    duplicates: Rows,
    shape: Sequence[str],
    keys: Callable[[], pa.Table],
) -> ValidationResult:
    """The result for a whole batch.

    Args:
        duplicates: positions of the rows that repeat an earlier one.
        shape: reasons to reject the batch before any rule (`shape_reasons`).
        keys: reads the typed key of each row, in order, if it is wanted.
    """
    rows = RowReasons()
    failures = [
        *_row_failure(Reason.DUPLICATE_ROW, duplicates),
        *_row_failure(Reason.TRUNCATED_LINE, context.unfinished),
    ]
    rows.add(Reason.DUPLICATE_ROW, duplicates)
    for failure, found in scan.cast_failures():
        rows.add(failure.reason, found)
        failures.append(failure)
    rows.add(Reason.TRUNCATED_LINE, context.unfinished)
    by_rules, rejecting, warnings = sort_out(outcomes)
    rows.add_all(by_rules)
    failures += [outcome.failure for outcome in outcomes if outcome.failure]
    for reason, severity, found in _rows_to_look_at(spec, scan, keys, context):
        example = (HIDDEN,) if reason in scan.suspects else _row_numbers(found)
        failures.append(Failure(reason, severity, int(found.size), example))
        if severity == "warn":
            warnings.append(reason)
        else:
            rows.add(reason, found)
    batch_reasons = [*shape, *rejecting]
    for reason, severity, observed in _unlike_others(spec, scan, context) if not shape else ():
        (warnings if severity == "warn" else batch_reasons).append(reason)
        failures.append(Failure(reason, severity, 0, (observed,)))
    if rows.rows().size > spec.ingestion.quarantine_budget * scan.rows:
        batch_reasons.append(Reason.QUARANTINE_BUDGET_EXCEEDED.value)
    return ValidationResult(
        rows, tuple(batch_reasons), tuple(warnings), tuple(failures), tuple(outcomes), scan.profile, scan.hidden
    )


def shape_reasons(spec: ModelSpec, names: Sequence[str], scan: BatchScan, context: BatchContext) -> list[str]:
    """Why the batch cannot be what model.yaml describes: its columns, and their types."""
    if context.known_shape is not None:
        return list(context.known_shape)
    columns = delivered_columns(names)
    if not columns:
        return [Reason.EMPTY_FILE.value]
    return [
        *([Reason.NO_ROWS.value] if not scan.rows else []),
        *(Reason.MISSING_COLUMN.about(name) for name in spec.columns if name not in columns),
        *(Reason.EXTRA_COLUMN.about(name) for name in columns if name not in spec.columns),
        *scan.retyped(context.file_types),
    ]


def delivered_columns(names: Sequence[str]) -> list[str]:
    """Of the columns of a delivery's table those that are from the file."""
    return [name for name in names if name not in (SOURCE_FILE, ROW_NUMBER)]


def _rows_to_look_at(
    spec: ModelSpec, scan: BatchScan, keys: Callable[[], pa.Table], context: BatchContext
) -> Iterator[tuple[str, Severity, Rows]]:
    """Rows that wait for somebody to look at them, by reason."""
    for reason, rows in scan.suspects.items():
        yield reason, spec.ingestion.suspected_pii, rows
    if spec.ingestion.repeated_key == "quarantine":
        known = context.history.positions_of_known_keys(keys())
        if known.size:
            yield Reason.KEY_OF_ANOTHER_BATCH.about(",".join(spec.entity.keys)), "quarantine_row", known


def _unlike_others(spec: ModelSpec, scan: BatchScan, context: BatchContext) -> Iterator[tuple[str, Severity, str]]:
    """What is unusual about the batch as a whole: reason, severity, what was observed."""
    band, learned = context.history.row_count_band(), spec.ingestion.row_count_band
    if band and learned and not band[0] <= scan.rows <= band[1]:
        usual = f"{scan.rows} rows, usual are {math.ceil(band[0])} to {math.floor(band[1])}"
        yield Reason.ROW_COUNT_OFF_BAND.value, learned.severity, usual
    fresh = spec.ingestion.freshness
    if fresh is not None and scan.is_stale(context.history.partition.end):
        yield (
            Reason.STALE_ROWS.about(fresh.column),
            fresh.severity,
            f"nothing of the last {fresh.max_age_hours:g} hours",
        )


def _row_failure(reason: Reason, rows: Rows) -> list[Failure]:
    return [Failure(reason.value, "quarantine_row", int(rows.size), _row_numbers(rows))] if rows.size else []


def _row_numbers(rows: Rows) -> tuple[str, ...]:
    return tuple(f"row {position + 1}" for position in rows[:EXAMPLES])
