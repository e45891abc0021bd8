"""Rows for tests: what a test does not care about is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from include.core.partition import Grain, Partition
from include.lakehouse.schemas import PARTITION, ModelTable
from include.lakehouse.tables import Lakehouse


def day(key: str) -> Partition:
    return Partition.parse(key, Grain.DAY)


def put(
    lake: Lakehouse, table: ModelTable, rows: pd.DataFrame | pa.Table, partition: Partition | Mapping[str, Any]
) -> int:
    """Make rows a partition of a table; columns that they lack are null, those of the partition are filled in."""
    values = {PARTITION: partition.key} if isinstance(partition, Partition) else dict(partition)
    given = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
    for name, value in values.items():
        if name in given.column_names:
            given = given.drop_columns([name])
        given = given.append_column(name, pa.repeat(pa.scalar(value, table.schema.field(name).type), given.num_rows))
    for field in table.schema:
        if field.name not in given.column_names:
            given = given.append_column(field.name, pa.nulls(given.num_rows, field.type))
    return lake.replace(table, given, values)
