"""The rows of one batch in ``raw_``, ``quarantine_`` and ``clean_``.

Rows in = accepted + quarantined, always: a row of ``raw_`` is either in ``clean_`` or, with its reasons, in
``quarantine_``. Each function replaces its partitions, so a retry or a backfill leaves the same rows. A batch of
any size goes through in bounded memory.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion import casting
from include.ingestion.validation.result import RowReasons, Rows, ValidationResult
from include.lakehouse.schemas import (
    CLEAN,
    EVENT_TIMESTAMP,
    EXTRA_COLUMNS,
    PARTITION,
    QUARANTINE,
    RAW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    TIMESTAMP,
    typed_columns,
)
from include.lakehouse.tables import Lakehouse, within

log = logging.getLogger(__name__)

_REJECTED = f"""
    SELECT raw.*, list_concat(
        $reasons, list_filter(coalesce({REASONS}, []), lambda own: NOT list_contains($reasons, own))
    ) AS {REASONS}
    FROM raw LEFT JOIN quarantine USING ({SOURCE_FILE}, {ROW_NUMBER})
    ORDER BY {SOURCE_FILE}, {ROW_NUMBER}
"""


@dataclass(frozen=True)
class BatchCounts:
    """Where the rows of a batch are: rows = accepted + quarantined."""

    rows: int
    accepted: int
    quarantined: int


def raw_rows(spec: ModelSpec, partition: Partition, delivered: pa.Table) -> pa.Table:
    """Delivered rows as ``raw_`` has them. Columns that model.yaml does not know are kept together, as JSON."""
    schema = RAW.of(spec).schema
    extra = [name for name in delivered.column_names if name not in schema.names]
    rows = delivered.drop_columns(extra).append_column(PARTITION, pa.repeat(partition.key, delivered.num_rows))
    if extra:
        texts = pa.array([json.dumps(row) for row in delivered.select(extra).to_pylist()], pa.string())
        rows = rows.append_column(EXTRA_COLUMNS, texts)
    return _declared(rows, schema)


def read_raw(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> pa.Table:
    """The raw rows of the partition, with the columns that model.yaml has today."""
    return _declared(lake.read(RAW.of(spec), where=within(partition)), RAW.of(spec).schema)


def as_delivered(spec: ModelSpec, raw: pa.Table) -> pa.Table:
    """Raw rows as their file had them: a column that model.yaml has come to know is where it belongs."""
    if raw[EXTRA_COLUMNS].null_count == raw.num_rows:
        return raw
    extra = [json.loads(text) if text else {} for text in raw[EXTRA_COLUMNS].to_pylist()]
    for name in {name for row in extra for name in row if name in spec.columns}:
        own = raw[name].to_pylist() if name in raw.column_names else [None] * raw.num_rows
        values = [row.get(name, value) for row, value in zip(extra, own, strict=True)]
        raw = raw.drop_columns([name] if name in raw.column_names else []).append_column(
            name, pa.array(values, pa.string())
        )
    return raw


def _declared(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of a schema; those that they lack are null."""
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, names=schema.names).cast(schema)


def write_quarantine(
    spec: ModelSpec,
    lake: Lakehouse,
    partition: Partition,
    rows: Callable[[Rows | None], Iterator[tuple[pa.Table, Rows]]],
    result: ValidationResult,
) -> None:
    """Write the rows that are not accepted, each with its reasons; those of the batch come first.

    Args:
        rows: reads raw rows and their positions, at least those asked for (`RawLoader.rows`).
    """
    listed = result.rows.rows()

    def quarantined() -> Iterator[pa.RecordBatch]:
        if not listed.size and not result.batch_reasons:
            return
        for laid_out, positions in rows(None if result.batch_reasons else listed):
            everything = np.arange(positions.size)
            chosen = everything if result.batch_reasons else np.flatnonzero(np.isin(positions, listed))
            if not chosen.size:
                continue
            reasons = RowReasons()
            for reason in result.batch_reasons:
                reasons.add(reason, np.arange(chosen.size))
            reasons.add_all(result.rows.of(positions[chosen]))
            yield from laid_out.take(pa.array(chosen)).append_column(REASONS, reasons.column()).to_batches()

    lake.replace_stream(QUARANTINE.of(spec), quarantined, {PARTITION: partition.key})


def load(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> BatchCounts:
    """Write ``clean_`` (`steps.load_batch`)."""
    rows = lake.count(RAW.of(spec), where=within(partition))
    quarantined = lake.count(QUARANTINE.of(spec), where=within(partition))
    accepted = 0
    if rows:
        clean = CLEAN.of(spec)
        lake.replace_stream(clean, lambda: _accepted(spec, lake, partition), {PARTITION: partition.key})
        accepted = lake.count(clean, where=within(partition))
    if not rows or rows != accepted + quarantined:
        raise DataError(
            f"{rows} rows in = {accepted} accepted + {quarantined} quarantined: not so",
            where=f"{spec.name}, batch of {partition}",
            fix="Validate the delivery again",
        )
    return BatchCounts(rows, accepted, quarantined)


def reject(spec: ModelSpec, lake: Lakehouse, partition: Partition, reasons: Sequence[str]) -> BatchCounts:
    """Quarantine every raw row of the partition, each with these reasons before its own, and empty ``clean_``."""
    if not _all_have(spec, lake, partition, reasons):
        columns = [SOURCE_FILE, ROW_NUMBER, REASONS]
        with duckdb.connect() as connection:
            connection.register("raw", read_raw(spec, lake, partition))
            quarantine = lake.read(QUARANTINE.of(spec), where=within(partition), columns=columns)
            connection.register("quarantine", quarantine)
            rejected = connection.sql(_REJECTED, params={"reasons": list(reasons)}).to_arrow_table()
        lake.replace(QUARANTINE.of(spec), rejected, {PARTITION: partition.key})
    clean = CLEAN.of(spec)
    lake.replace(clean, clean.schema.empty_table(), {PARTITION: partition.key})
    rows = lake.count(RAW.of(spec), where=within(partition))
    log.info("%s, batch of %s: rejected, %d rows in quarantine", spec.name, partition, rows)
    return BatchCounts(rows, accepted=0, quarantined=rows)


def _accepted(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> Iterator[pa.RecordBatch]:
    quarantined = _quarantined_rows(spec, lake, partition)
    for batch in lake.reader(RAW.of(spec), where=within(partition), encoded=True):
        keep = np.ones(batch.num_rows, dtype=bool)
        files = batch.column(SOURCE_FILE).dictionary_encode()
        for place, file in enumerate(files.dictionary.to_pylist()):
            if file in quarantined:
                of_file = files.indices.to_numpy() == place
                keep &= ~(of_file & np.isin(batch.column(ROW_NUMBER).to_numpy(), quarantined[file]))
        accepted = pa.Table.from_batches([batch]).filter(pa.array(keep))
        cast = casting.cast(as_delivered(spec, accepted), typed_columns(spec))
        if cast.errors:
            raise DataError(
                f"accepted rows hold values that do not fit {', '.join(cast.errors)}",
                where=f"{spec.name}, batch of {partition}",
                fix="Validate again",
            )
        times = pa.repeat(pa.scalar(partition.start, TIMESTAMP), accepted.num_rows)
        timed = cast.columns.append_column(EVENT_TIMESTAMP, times)
        yield from timed.append_column(PARTITION, pa.repeat(pa.scalar(partition.key), accepted.num_rows)).to_batches()


def _quarantined_rows(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> dict[str, Rows]:
    """Row numbers by source file."""
    found: dict[str, list[Rows]] = defaultdict(list)
    columns = [SOURCE_FILE, ROW_NUMBER]
    for batch in lake.reader(QUARANTINE.of(spec), where=within(partition), columns=columns):
        files = batch.column(SOURCE_FILE).dictionary_encode()
        for place, file in enumerate(files.dictionary.to_pylist()):
            found[file].append(batch.column(ROW_NUMBER).filter(pc.equal(files.indices, place)).to_numpy())
    return {file: np.concatenate(parts) for file, parts in found.items()}


def _all_have(spec: ModelSpec, lake: Lakehouse, partition: Partition, reasons: Sequence[str]) -> bool:
    """Whether every raw row of the partition is in quarantine already, with these reasons first."""
    where = within(partition)
    if lake.count(RAW.of(spec), where=where) != lake.count(QUARANTINE.of(spec), where=where):
        return False
    for batch in lake.reader(QUARANTINE.of(spec), where=where, columns=[REASONS]):
        first = pc.list_slice(batch.column(REASONS), 0, len(reasons))
        if not first.equals(pa.repeat(pa.scalar(list(reasons), first.type), batch.num_rows)):
            return False
    return True
