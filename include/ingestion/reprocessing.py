"""Quarantine as a queue: which of its rows pass today's rules."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion import batch
from include.ingestion.validation import whole
from include.ingestion.validation.history import BatchHistory
from include.ingestion.validation.merge import BatchContext
from include.ingestion.validation.result import RowReasons
from include.ingestion.verdict import Reprocessing
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import QUARANTINE, RAW, REASONS, ROW_NUMBER, SOURCE_FILE
from include.lakehouse.tables import Lakehouse, within


def validate_again(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> tuple[Reprocessing, pa.Table]:
    """Validate the raw rows of a partition by today's rules; nothing is written.

    Rows that were accepted stay accepted, also where a rule became stricter.

    Returns:
        What is found, and the rows that stay, as ``quarantine_`` has them.

    Raises:
        DataError: no batch of that partition was ever validated.
    """
    raw = batch.read_raw(spec, lake, partition) if lake.exists(RAW.of(spec)) else None
    if raw is None or not raw.num_rows:
        raise DataError(
            "no row of that day is there",
            where=f"{spec.name}, batch of {partition}",
            fix="Have it delivered, then ingest it",
        )
    raw = raw.sort_by([(SOURCE_FILE, "ascending"), (ROW_NUMBER, "ascending")])
    columns = [SOURCE_FILE, ROW_NUMBER, REASONS]
    earlier = _earlier(lake.read(QUARANTINE.of(spec), where=within(partition), columns=columns), raw)
    context = BatchContext(
        BatchHistory(spec, lake, partition),
        unfinished=np.flatnonzero([Reason.TRUNCATED_LINE in reasons for reasons in earlier]),
        known_shape=_shape(spec, earlier),
    )
    delivered = batch.as_delivered(spec, raw).select([SOURCE_FILE, ROW_NUMBER, *spec.columns])
    result = whole.validate(spec, delivered, context)
    # Of the rows that wait, those that fail again stay, or all where the batch does.
    waiting = np.flatnonzero([bool(reasons) for reasons in earlier])
    staying = RowReasons()
    for reason in result.batch_reasons:
        staying.add(reason, waiting)
    for reason in result.rows.counts():
        staying.add(reason, np.intersect1d(result.rows.rows_of(reason), waiting))
    rows = staying.rows()
    found = Reprocessing(waiting.size, int(waiting.size - rows.size), staying.counts(), result.batch_reasons)
    return found, raw.take(pa.array(rows)).append_column(REASONS, staying.column())


def _earlier(quarantine: pa.Table, raw: pa.Table) -> list[list[str]]:
    """The reasons of each raw row, none where it is not in quarantine."""
    known = {
        (row[SOURCE_FILE], row[ROW_NUMBER]): row[REASONS] or [Reason.QUARANTINE_BUDGET_EXCEEDED.value]
        for row in quarantine.to_pylist()
    }
    places = zip(raw[SOURCE_FILE].to_pylist(), raw[ROW_NUMBER].to_pylist(), strict=True)
    return [known.get(place, []) for place in places]


def _shape(spec: ModelSpec, earlier: Iterable[list[str]]) -> tuple[str, ...]:
    """The reasons of the batch's shape that still hold: what was missing and is still wanted, and so on."""
    still = []
    for reason in dict.fromkeys(reason for reasons in earlier for reason in reasons):
        code, _, column = reason.partition(":")
        if (code in (Reason.MISSING_COLUMN, Reason.RETYPED_COLUMN) and column in spec.columns) or (
            code == Reason.EXTRA_COLUMN and column not in spec.columns
        ):
            still.append(reason)
    return tuple(still)
