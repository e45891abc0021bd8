"""The sizes that the headers of pages say are all of a file, as its writer has counted them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion import parquet_pages

RNG = np.random.default_rng(1)
ROWS = 5_000
TABLE = pa.table(
    {
        "key": pa.array(np.arange(ROWS)),
        "number": pa.array(np.where(RNG.random(ROWS) < 0.1, np.nan, RNG.normal(size=ROWS)), from_pandas=True),
        "category": pa.array(RNG.choice(["a", "b", "ccccccccc"], ROWS)),
        "text": pa.array(["x" * n for n in RNG.integers(0, 400, ROWS)]),
        "flag": pa.array(RNG.random(ROWS) < 0.5),
        "nothing": pa.nulls(ROWS, pa.string()),
        "list": pa.array([[1, 2, 3]] * ROWS),
    }
)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"data_page_version": "2.0"},
        {"data_page_size": 512},
        {"row_group_size": 100},
        {"write_page_checksum": True},
        {"column_encoding": {"key": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY"}, "use_dictionary": ["category"]},
    ],
    ids=str,
)
def test_the_pages_are_all_that_the_writer_has_counted(compression: str, options: dict[str, Any]) -> None:
    file = io.BytesIO()
    pq.write_table(TABLE, file, compression=compression, **options)
    metadata = pq.ParquetFile(file).metadata
    for group in range(metadata.num_row_groups):
        for n in range(metadata.num_columns):
            column = metadata.row_group(group).column(n)
            pages = list(parquet_pages.of_column(file, column))
            assert sum(page.unpacked + page.header for page in pages) == column.total_uncompressed_size
            assert sum(page.is_dictionary for page in pages) == column.has_dictionary_page
        assert 0 < parquet_pages.at_once(file, metadata, group) <= metadata.row_group(group).total_byte_size


@given(st.binary(max_size=80))
def test_what_is_no_header_is_refused_in_a_word(data: bytes) -> None:
    try:
        fields, length = parquet_pages._header(io.BytesIO(data), 0)
    except ValueError:
        return
    assert 0 < length <= len(data)
    assert all(isinstance(value, int) for value in fields.values())
