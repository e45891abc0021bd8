"""How ``raw_``, ``quarantine_`` and ``clean_`` hold a batch."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time

import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion import casting

TIMESTAMP = pa.timestamp("us", tz="UTC")
REASONS = pa.field("reasons", pa.list_(pa.string()))


def raw_schema(spec: ModelSpec) -> pa.Schema:
    return pa.schema(
        [
            ("batch_date", pa.date32()),
            ("source_file", pa.string()),
            ("row_number", pa.int64()),
            *((name, pa.string()) for name in spec.columns),
            ("extra_columns", pa.string()),
        ]
    )


def quarantine_schema(spec: ModelSpec) -> pa.Schema:
    return raw_schema(spec).append(REASONS)


def clean_schema(spec: ModelSpec) -> pa.Schema:
    added = [pa.field("event_timestamp", TIMESTAMP), pa.field("batch_date", pa.date32())]
    return pa.schema([*casting.schema(casting.types(spec)), *added])


def raw(spec: ModelSpec, day: date, delivered: pa.Table) -> pa.Table:
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
    texts = [json.dumps(row) for row in delivered.select(extra).to_pylist()] if extra else None
    columns["extra_columns"] = pa.nulls(rows, pa.string()) if texts is None else pa.array(texts, pa.string())
    return pa.table(columns)


def clean(columns: pa.Table, day: date) -> pa.Table:
    """Typed columns with the day that they are of."""
    midnight = pa.scalar(datetime.combine(day, time(), UTC), TIMESTAMP)
    return columns.append_column("event_timestamp", pa.repeat(midnight, columns.num_rows)).append_column(
        "batch_date", pa.repeat(pa.scalar(day, pa.date32()), columns.num_rows)
    )
