"""The files of a Delta table, by the table's own record of them. Feast is not imported here: that takes seconds."""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from pyarrow.dataset import ParquetReadOptions

PARTITION = "partition."
"""Before the names of partition columns in deltalake's list of files."""
LOG_PRECISION = pa.scalar(1_000, pa.duration("us"))
"""The log of a Delta table cuts times to milliseconds."""


def files(table: DeltaTable) -> pa.Table:
    """A row a file: its path, rows, values of the partition columns, and the bounds of columns with statistics."""
    return pa.table(table.get_add_actions(flatten=True))


def dataset(
    table: DeltaTable, some: pa.Table, schema: pa.Schema | None = None, options: ParquetReadOptions | None = None
) -> ds.FileSystemDataset:
    """Some files of a table.

    deltalake's own dataset tells Arrow what is known of each column of each file: milliseconds a file, more than it
    takes to read one of a few hundred rows. Here Arrow is told the values of partition columns.

    Args:
        some: of `files`.
        schema: columns that a file lacks are null; those of the table by default.
    """
    empty = table.to_pyarrow_dataset(file_pruning_predicate="false", schema=schema, parquet_read_options=options)
    partitions = [name for name in some.column_names if name.startswith(PARTITION)]
    fragments = []
    for path, *values in zip(some["path"].to_pylist(), *(some[name] for name in partitions), strict=True):
        known = ds.scalar(True)
        for name, value in zip(partitions, values, strict=True):
            field = ds.field(name.removeprefix(PARTITION))
            known = known & (field == value if value.is_valid else field.is_null())
        # The log has paths percent-encoded.
        fragments.append(empty.format.make_fragment(unquote(path), empty.filesystem, partition_expression=known))
    return ds.FileSystemDataset(fragments, empty.schema, empty.format, empty.filesystem)


def may_hold_keys(some: pa.Table, name: str, keys: pa.Array) -> pa.Array:
    """Which files may have rows of some keys. Asked of integers only: the log shortens texts."""
    lowest, highest = f"min.{name}", f"max.{name}"
    known = lowest in some.column_names and highest in some.column_names and pa.types.is_integer(keys.type)
    if not known or some[lowest].null_count or some[highest].null_count:
        return pa.repeat(True, some.num_rows)
    ordered = np.sort(keys.to_numpy(zero_copy_only=False))
    before = np.searchsorted(ordered, some[lowest].to_numpy(), "left")
    return pa.array(before < np.searchsorted(ordered, some[highest].to_numpy(), "right"))
