"""The rows of a Parquet file as texts, in pieces of a bounded size, whatever the file says of itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.ingestion import parquet_pages
from include.ingestion.bad_file import REDELIVER, BadFile
from include.lakehouse.decisions import Reason

CHUNK_BYTES = 64 << 20
"""Of the texts of a Parquet file that are there at a time; a row alone can have more."""
PARQUET_ROWS = 200_000
DECODED_ROWS = 8_192
"""Of a Parquet file that are decoded at a time, whatever its metadata says of their size."""
ROW_GROUP_BYTES = 1 << 30
"""Of a row group of a Parquet file, unpacked: one of its pages can be as large, and is unpacked in one piece."""
FREE_ROWS = 1_000_000
"""Of more rows than that, a Parquet file has a byte for each: of nulls, or of one value, none would be too many."""
_NUMBER_BYTES = 32
"""Of a number written as text, at most, with its place in an array."""
Refuse = Callable[[str, str, str], BadFile]
"""From reason, what is wrong, and what to do."""


def check_metadata(file: Any, metadata: pq.FileMetaData, refuse: Refuse) -> None:
    """Refuse more rows than the file can say something of.

    Raises:
        BadFile: it has more.
    """
    size = file.seek(0, io.SEEK_END)
    if metadata.num_rows > FREE_ROWS + size:
        what = f"has {metadata.num_rows} rows in {size} bytes"
        raise refuse(Reason.TOO_LARGE, what, "Deliver rows that say something")


def check_pages(file: Any, metadata: pq.FileMetaData, refuse: Refuse) -> None:
    """Refuse row groups that are too large, by the metadata or, which may say anything, by their pages.

    Raises:
        BadFile: one is, or is none.
    """
    for n in range(metadata.num_row_groups):
        told = metadata.row_group(n).total_byte_size
        try:
            size = parquet_pages.at_once(file, metadata, n)
        except ValueError:
            what = "is no Parquet file, or breaks off"
            raise refuse(Reason.MALFORMED_PARQUET, what, REDELIVER) from None
        for which, found in (("a row group has", told), ("the pages of a row group have", size)):
            if found > ROW_GROUP_BYTES:
                what = f"{which} {found} bytes, unpacked; {ROW_GROUP_BYTES} are taken"
                raise refuse(Reason.TOO_LARGE, what, "Deliver it in smaller pages, or row groups")


def at_once(metadata: pq.FileMetaData) -> int:
    """So many rows as have, by the file's own metadata, no more bytes than a chunk."""
    rows = PARQUET_ROWS
    for group in (metadata.row_group(n) for n in range(metadata.num_row_groups)):
        bytes_a_row = group.total_byte_size // max(group.num_rows, 1) + _NUMBER_BYTES * metadata.num_columns
        rows = min(rows, CHUNK_BYTES // max(bytes_a_row, 1))
    return max(rows, 1)


def bounded(rows: pa.Table) -> Iterator[pa.Table]:
    """The rows in parts of no more bytes than a chunk, once they are texts."""
    sizes = np.full(rows.num_rows, _NUMBER_BYTES * rows.num_columns, dtype=np.int64)
    for column in rows.columns:
        column = column.combine_chunks()
        values = texts_of(column)
        if values is not None:
            lengths = pc.binary_length(values)
            lengths = lengths.take(column.indices) if pa.types.is_dictionary(column.type) else lengths
            sizes += lengths.fill_null(0).to_numpy(zero_copy_only=False)
    parts = np.cumsum(sizes) // CHUNK_BYTES
    starts = [0, *(np.flatnonzero(np.diff(parts)) + 1)]
    for start, end in zip(starts, [*starts[1:], rows.num_rows], strict=True):
        yield rows.slice(start, end - start)


def gathered(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Fewer and larger ones: of so many rows, or a chunk's bytes."""
    some: list[pa.Table] = []
    count = size = 0
    for table in tables:
        if some and (count + table.num_rows > rows or size + table.nbytes > CHUNK_BYTES):
            yield pa.concat_tables(some)
            some, count, size = [], 0, 0
        some.append(table)
        count, size = count + table.num_rows, size + table.nbytes
    if some:
        yield pa.concat_tables(some)


def texts_of(column: pa.Array) -> pa.Array | None:
    """The texts, or bytes, of a column or of its dictionary, each perhaps but once; None of a column of numbers."""
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    return values if is_text(values.type) or is_bytes(values.type) else None


def as_text(table: pa.Table) -> pa.Table:
    texts = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    for column in texts.columns:
        column.validate(full=True)
    return texts


def is_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_)
