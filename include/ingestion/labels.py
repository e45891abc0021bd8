"""Labels on their way in: they arrive later than the rows they belong to."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DeliveryError
from include.core.spec import ModelSpec
from include.ingestion import casting
from include.ingestion.delivery import Delivery
from include.ingestion.findings import Rows
from include.ingestion.row_reasons import RowReasons
from include.ingestion.sql import query
from include.lakehouse.tables import Lakehouse

log = logging.getLogger(__name__)

TIMESTAMP = pa.timestamp("us", tz="UTC")

_REPEATED = """
    SELECT position,
           row_number() OVER (PARTITION BY key, target ORDER BY position) > 1 AS again,
           min(target) OVER (PARTITION BY key) <> max(target) OVER (PARTITION BY key) AS contradicts
    FROM numbered WHERE key IS NOT NULL AND target IS NOT NULL
"""


@dataclass(frozen=True)
class LabelCounts:
    """Where the rows of a labels delivery are."""

    rows: int
    accepted: int
    quarantined: int
    reasons: dict[str, int]
    """Quarantined rows by reason; a row can have several."""


def load(spec: ModelSpec, lake: Lakehouse, delivery: Delivery) -> LabelCounts:
    """Write ``labels_`` and, with their reasons, the rows that cannot be used: ``quarantine_labels_``.

    A label is used if its key and target can be read and no other row contradicts it; of rows that say the
    same the first is used. Replaces the day's partition of both tables.

    Raises:
        DeliveryError: the delivery is incomplete, not readable, or does not have exactly key and target.
    """
    delivered = delivery.read()
    key, target = spec.entity.key, spec.target
    _check_columns(delivery, delivered, {key, target})
    kinds = {key: spec.columns[key].type, target: "number"}
    cast = casting.cast(delivered, kinds)
    reasons = RowReasons()
    for column, flags in cast.misfits.items():
        reasons.add(casting.reason(kinds[column], column), np.flatnonzero(flags))
    for column in kinds:
        reasons.add(f"null:{column}", np.flatnonzero(pc.is_null(delivered[column])))
    for reason, rows in _repeated(cast.columns, key, target).items():
        reasons.add(reason, rows)
    unusable = reasons.rows()
    usable = pa.array(np.setdiff1d(np.arange(delivered.num_rows), unusable))
    labels = _with_times(spec, delivery, cast.columns.take(usable))
    rejected = delivered.take(pa.array(unusable)).append_column("reasons", reasons.column())
    rejected = rejected.append_column("batch_date", pa.repeat(pa.scalar(delivery.day), rejected.num_rows))
    partition = {"batch_date": delivery.day}
    lake.replace_partition(spec.table("labels"), labels, partition)
    lake.replace_partition(spec.table("quarantine_labels"), rejected, partition)
    counts = LabelCounts(delivered.num_rows, labels.num_rows, rejected.num_rows, reasons.counts())
    log.info("%s, labels of %s: %s", spec.name, delivery.day, counts)
    return counts


def _check_columns(delivery: Delivery, delivered: pa.Table, wanted: set[str]) -> None:
    columns = set(delivered.column_names) - {"source_file", "row_number"}
    if columns != wanted:
        missing, extra = sorted(wanted - columns), sorted(columns - wanted)
        raise DeliveryError(
            f"the labels have the columns {sorted(columns)}: missing {missing}, not expected {extra}",
            where=delivery.folder,
            fix="Have the sender deliver them again with " + " and ".join(sorted(wanted)),
        )


def _repeated(labels: pa.Table, key: str, target: str) -> dict[str, Rows]:
    """Positions of rows that repeat an earlier label, and of rows whose key has labels that differ."""
    numbered = {"key": labels[key], "target": labels[target], "position": np.arange(labels.num_rows)}
    found = query(_REPEATED, {"numbered": pa.table(numbered)})
    return {
        "duplicate_row": found.filter(found["again"])["position"].to_numpy(),
        f"duplicate_key:{key}": found.filter(found["contradicts"])["position"].to_numpy(),
    }


def _with_times(spec: ModelSpec, delivery: Delivery, labels: pa.Table) -> pa.Table:
    """Key, event time, target, arrival time and partition."""
    event = datetime.combine(delivery.day, time(), UTC)
    arrival = event + timedelta(days=spec.deliveries.label_delay_days)
    rows = labels.num_rows
    return pa.table(
        {
            spec.entity.key: labels[spec.entity.key],
            "event_timestamp": pa.repeat(pa.scalar(event, TIMESTAMP), rows),
            spec.target: labels[spec.target],
            "arrived_at": pa.repeat(pa.scalar(arrival, TIMESTAMP), rows),
            "batch_date": pa.repeat(pa.scalar(delivery.day), rows),
        }
    )
