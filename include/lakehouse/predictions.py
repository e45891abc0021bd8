"""What was predicted for a partition: by the version that was served, and by those that scored it beside."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import (
    FEATURES_VERSION,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
    PREDICTIONS,
    SERVED,
    WITHDRAWN,
)
from include.lakehouse.selection import Where, between, within
from include.lakehouse.tables import Lakehouse, Reader


def served_rows(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> pa.Table | None:
    """The predictions that were served and are not withdrawn, None where there is none: key columns, prediction,
    model_version and features_version."""
    return _rows(spec, lake, [*within(partition), (SERVED, "=", True)])


def rows_of(spec: ModelSpec, lake: Lakehouse, partition: Partition, version: str) -> pa.Table | None:
    """The predictions of one version, served and beside, as `served_rows`."""
    return _rows(spec, lake, [*within(partition), (MODEL_VERSION, "=", version)])


def served_by(spec: ModelSpec, lake: Lakehouse, first: Partition, last: Partition, version: str) -> pa.Table | None:
    """What one version served of the partitions from ``first`` up to and with ``last``: as `served_rows`, and the
    partition of each row."""
    where = [*between(first, last), (SERVED, "=", True), (MODEL_VERSION, "=", version)]
    return _rows(spec, lake, where, PARTITION)


def served_version(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> str | None:
    """The version whose predictions were served, withdrawn or not; None where there is none."""
    table = PREDICTIONS.of(spec)
    if not lake.exists(table):
        return None
    with lake.reader(table, where=[*within(partition), (SERVED, "=", True)], columns=[MODEL_VERSION]) as batches:
        return next((str(batch[MODEL_VERSION][0]) for batch in batches if batch.num_rows), None)


def withdraw(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> int:
    """Mark all predictions of a partition as withdrawn, in one commit; how many there are."""
    table, where = PREDICTIONS.of(spec), within(partition)
    count = lake.count(table, where=where)

    def marked(before: Reader) -> Iterator[pa.RecordBatch]:
        for rows in before(table.schema.names):
            yield from mark(rows, withdrawn=True).to_batches()

    if count:
        lake.update_stream(table, {PARTITION: partition.key}, marked)
    return count


def mark(rows: pa.Table, *, withdrawn: bool) -> pa.Table:
    """Predictions as withdrawn ones, or no longer."""
    place = rows.schema.get_field_index(WITHDRAWN)
    return rows.set_column(place, WITHDRAWN, pa.repeat(withdrawn, rows.num_rows))


def _rows(spec: ModelSpec, lake: Lakehouse, where: Where, *more: str) -> pa.Table | None:
    columns = [*spec.entity.keys, PREDICTION, MODEL_VERSION, FEATURES_VERSION, WITHDRAWN, *more]
    table = lake.read_if_exists(PREDICTIONS.of(spec), where=where, columns=columns)
    if table is None:
        return None
    rows = table.filter(pc.invert(pc.fill_null(table[WITHDRAWN], False))).drop_columns([WITHDRAWN])
    return rows if rows.num_rows else None
