"""One batch on its way in: validate it, then load its good rows, or reject all of them.

Rows in = accepted + quarantined, always: a row of ``raw_`` is either in ``clean_`` or, with its reasons, in
``quarantine_``. Each function replaces its partitions, so a retry or a backfill leaves the same rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from include.errors import DataError
from include.ingestion import casting, summary
from include.ingestion.delivery import Delivery
from include.ingestion.row_reasons import RowReasons
from include.ingestion.sql import query
from include.lakehouse.tables import Lakehouse
from include.models.spec import ModelSpec

log = logging.getLogger(__name__)

Outcome = Literal["accept_batch", "accept_and_quarantine", "reject_batch"]

_ACCEPTED = """
    SELECT * FROM raw ANTI JOIN quarantine USING (source_file, row_number)
    ORDER BY source_file, row_number
"""
_REJECTED = """
    SELECT raw.*, list_concat(
        $reasons, list_filter(coalesce(quarantine.reasons, []), lambda own: NOT list_contains($reasons, own))
    ) AS reasons
    FROM raw LEFT JOIN quarantine USING (source_file, row_number)
    ORDER BY source_file, row_number
"""


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
    """Why the whole batch is rejected: what ``reject`` is to be given."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class BatchCounts:
    """Where the rows of a batch are: rows = accepted + quarantined."""

    rows: int
    accepted: int
    quarantined: int


def validate(spec: ModelSpec, lake: Lakehouse, delivery: Delivery, docs_folder: Path | None = None) -> BatchVerdict:
    """Read a delivery, judge every row, write ``raw_`` and ``quarantine_``, and log a summary.

    Args:
        docs_folder: where to put the Data Docs page of the validation, none by default.

    Raises:
        DeliveryError: the delivery is incomplete or not readable.
        ConfigError: expectations.yaml is wrong.
    """
    # Great Expectations takes seconds to import, and load and reject do without it.
    from include.ingestion.judgement import judge

    delivered = delivery.read()
    judgement = judge(spec, delivered, docs_folder)
    reasons = RowReasons()
    for reason in judgement.batch_reasons:
        reasons.add(reason, np.arange(delivered.num_rows))
    reasons.add_all(judgement.own)
    quarantined = reasons.rows()
    raw = _raw(spec, delivery.day, delivered)
    quarantine = raw.take(pa.array(quarantined)).append_column("reasons", reasons.column())
    partition = {"batch_date": delivery.day}
    lake.replace_partition(spec.table("raw"), raw, partition)
    lake.replace_partition(spec.table("quarantine"), quarantine, partition)
    outcome: Outcome = "accept_and_quarantine" if quarantined.size else "accept_batch"
    verdict = BatchVerdict(
        outcome="reject_batch" if judgement.batch_reasons else outcome,
        rows=delivered.num_rows,
        quarantined=int(quarantined.size),
        reasons=judgement.own.counts(),
        batch_reasons=judgement.batch_reasons,
        warnings=judgement.warnings,
    )
    log.info(
        "%s",
        summary.describe(
            spec.name,
            delivery.day,
            verdict.outcome,
            rows=verdict.rows,
            quarantined=verdict.quarantined,
            batch_reasons=verdict.batch_reasons,
            failures=judgement.failures,
        ),
    )
    return verdict


def load(spec: ModelSpec, lake: Lakehouse, day: date) -> BatchCounts:
    """Write ``clean_``: the raw rows of the day that are not quarantined, typed.

    Raises:
        DataError: the day was never validated, or rows in = accepted + quarantined does not hold.
    """
    tables = _validated(spec, lake, day)
    cast = casting.cast(query(_ACCEPTED, tables), casting.types(spec))
    where = f"{spec.name}, batch of {day}"
    if cast.misfits:
        raise DataError(
            f"accepted rows hold values that do not fit {', '.join(cast.misfits)}",
            where=where,
            fix="Validate again",
        )
    lake.replace_partition(spec.table("clean"), _clean(cast.columns, day), {"batch_date": day})
    written = lake.read(spec.table("clean"), where=[("batch_date", "=", day)], columns=[spec.entity.key]).num_rows
    counts = BatchCounts(tables["raw"].num_rows, accepted=written, quarantined=tables["quarantine"].num_rows)
    if not counts.rows or counts.rows != counts.accepted + counts.quarantined:
        raise DataError(
            f"{counts.rows} rows in = {counts.accepted} accepted + {counts.quarantined} quarantined: not so",
            where=where,
            fix="Validate the delivery again",
        )
    return counts


def reject(spec: ModelSpec, lake: Lakehouse, day: date, reasons: Sequence[str]) -> BatchCounts:
    """Quarantine every raw row of the day, each with these reasons before its own, and empty ``clean_``.

    Args:
        reasons: why the batch is rejected: ``BatchVerdict.batch_reasons``, or what a person says.
    """
    tables = _validated(spec, lake, day)
    rejected = query(_REJECTED, tables, {"reasons": list(reasons)})
    partition = {"batch_date": day}
    lake.replace_partition(spec.table("quarantine"), rejected, partition)
    nothing = casting.cast(rejected.slice(0, 0), casting.types(spec)).columns
    lake.replace_partition(spec.table("clean"), _clean(nothing, day), partition)
    log.info("%s, batch of %s: rejected, %d rows in quarantine", spec.name, day, rejected.num_rows)
    return BatchCounts(rejected.num_rows, accepted=0, quarantined=rejected.num_rows)


def _validated(spec: ModelSpec, lake: Lakehouse, day: date) -> dict[str, pa.Table]:
    """The day's partitions that ``validate`` wrote."""
    layers = ("raw", "quarantine")
    return {layer: lake.read(spec.table(layer), where=[("batch_date", "=", day)]) for layer in layers}


def _raw(spec: ModelSpec, day: date, delivered: pa.Table) -> pa.Table:
    """The rows as delivered. Columns that model.yaml does not know are kept together, as JSON."""
    rows = delivered.num_rows
    columns = {
        "batch_date": pa.repeat(pa.scalar(day, pa.date32()), rows),
        "source_file": delivered["source_file"],
        "row_number": delivered["row_number"],
    }
    for name in spec.columns:
        columns[name] = delivered[name] if name in delivered.column_names else pa.nulls(rows, pa.string())
    extra = [name for name in delivered.column_names if name not in columns]
    columns["extra_columns"] = pa.array(
        [json.dumps(row) for row in delivered.select(extra).to_pylist()] if extra else [None] * rows,
        pa.string(),
    )
    return pa.table(columns)


def _clean(columns: pa.Table, day: date) -> pa.Table:
    midnight = pa.scalar(datetime.combine(day, time(), UTC), pa.timestamp("us", tz="UTC"))
    return columns.append_column("event_timestamp", pa.repeat(midnight, columns.num_rows)).append_column(
        "batch_date", pa.repeat(pa.scalar(day, pa.date32()), columns.num_rows)
    )
