"""Labels on their way in: they arrive later than the rows they belong to."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DeliveryError
from include.core.spec import ModelSpec
from include.ingestion.delivery import Delivery
from include.ingestion.rows import RowReasons, cast, error_reason
from include.lakehouse.decisions import Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import (
    ARRIVED_AT,
    EVENT_TIMESTAMP,
    LABELS,
    PARTITION,
    QUARANTINE_LABELS,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    TIMESTAMP,
    key_types,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelCounts:
    """Where the rows of a labels delivery are."""

    rows: int
    accepted: int
    quarantined: int
    reasons: dict[str, int]
    """Quarantined rows by reason; a row can have several."""


def load(run: Run, delivery: Delivery) -> LabelCounts:
    """Replace the delivery's partition of ``labels_`` and ``quarantine_labels_``.

    A label is used if its key and target can be read and no other row contradicts it; of rows that say the
    same the first is used.
    """
    spec, lake, partition = run.spec, run.lake, run.partition
    delivered = delivery.read()
    kinds = {**key_types(spec), spec.target: pa.float64()}
    _check_columns(delivery, delivered, set(kinds))
    typed = cast(delivered, kinds)
    reasons = RowReasons()
    for column, flags in typed.errors.items():
        reasons.add(error_reason(kinds[column], column), np.flatnonzero(flags))
    for column in kinds:
        reasons.add(Reason.NULL.about(column), np.flatnonzero(pc.is_null(delivered[column])))
    _add_repeated(reasons, spec, typed.columns)
    unusable = reasons.rows()
    used = typed.columns.take(pa.array(np.setdiff1d(np.arange(delivered.num_rows), unusable)))
    rejected = delivered.take(pa.array(unusable)).append_column(REASONS, reasons.column())
    added = {
        EVENT_TIMESTAMP: pa.scalar(partition.start, TIMESTAMP),
        ARRIVED_AT: pa.scalar(run.labels_available_at(), TIMESTAMP),
        PARTITION: pa.scalar(partition.key),
    }
    for name, value in added.items():
        used = used.append_column(name, pa.repeat(value, used.num_rows))
    rejected = rejected.append_column(PARTITION, pa.repeat(added[PARTITION], rejected.num_rows))
    lake.replace(run.table(LABELS), used, {PARTITION: partition.key})
    lake.replace(run.table(QUARANTINE_LABELS), rejected, {PARTITION: partition.key})
    counts = LabelCounts(delivered.num_rows, used.num_rows, rejected.num_rows, reasons.counts())
    log.info("%s, labels of %s: %s", spec.name, partition, counts)
    return counts


def _check_columns(delivery: Delivery, delivered: pa.Table, wanted: set[str]) -> None:
    columns = set(delivered.column_names) - {SOURCE_FILE, ROW_NUMBER}
    if columns != wanted:
        missing, extra = sorted(wanted - columns), sorted(columns - wanted)
        raise DeliveryError(
            f"the labels have the columns {sorted(columns)}: missing {missing}, not expected {extra}",
            where=delivery.folder,
            fix="Have the sender deliver them again with " + " and ".join(sorted(wanted)),
        )


def _add_repeated(reasons: RowReasons, spec: ModelSpec, labels: pa.Table) -> None:
    """Add the rows that repeat an earlier label, and all rows of a key whose labels differ."""
    keys = list(spec.entity.keys)
    # Without nulls integers stay exact.
    complete = labels.append_column("_position", pa.array(np.arange(labels.num_rows))).drop_null().to_pandas()
    contradicts = complete.groupby(keys)[spec.target].transform("nunique").gt(1)
    reasons.add(Reason.DUPLICATE_ROW, complete["_position"][complete.duplicated([*keys, spec.target])])
    reasons.add(Reason.DUPLICATE_KEY.about(",".join(keys)), complete["_position"][contradicts])
