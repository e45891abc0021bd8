"""Whether the declared key of rows names each of them, of rows that come in batches and need not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

IN_MEMORY_ROWS = 500_000
"""The keys of more rows wait in a file."""
_MEMORY = "256MB"
"""What DuckDB may hold of them; it spills the rest to the disk."""


class Keys:
    """The keys of the rows of one write. Two nulls are the same value.

    Keys that come in ascending order, as those of a delivery do, are known to differ, and are not compared again.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._held: list[pa.Table] = []
        self._last: pa.Table | None = None
        self._ascending = True
        self._folder = tempfile.TemporaryDirectory(prefix="flightline-keys-")
        self._path = Path(self._folder.name) / "keys.parquet"
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        self._folder.cleanup()

    def add(self, rows: pa.Table) -> None:
        """Take in the keys of the next rows."""
        if not rows.num_rows:
            return
        keys = rows.select(self._columns)
        follow = keys if self._last is None else pa.concat_tables([self._last, keys])
        self._ascending = self._ascending and _are_ascending(follow)
        self._last = keys.slice(keys.num_rows - 1)
        self._held.append(keys)
        if sum(held.num_rows for held in self._held) > IN_MEMORY_ROWS:
            self._spill()

    def repeated(self) -> int:
        """How many rows have a key that a row before them has."""
        if self._ascending:
            return 0
        if self._file is None:
            keys = pa.concat_tables(self._held)
            return int(keys.num_rows - keys.group_by(self._columns).aggregate([]).num_rows)
        if self._held:
            self._spill()
        self._file.close()
        with duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": self._folder.name}) as connection:
            found = connection.sql(
                f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM read_parquet('{self._path}') GROUP BY "
                + ", ".join('"' + name.replace('"', '""') + '"' for name in self._columns)
                + ")"
            ).fetchall()
        return int(found[0][0])

    def _spill(self) -> None:
        keys, self._held = pa.concat_tables(self._held), []
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, keys.schema, compression="lz4")
        self._file.write_table(keys)


def _are_ascending(keys: pa.Table) -> bool:
    """Whether each key is greater than the one before it, by its first column, then by the next."""
    ascending = pa.array([False] * (keys.num_rows - 1), pa.bool_())
    for column in (keys[name].combine_chunks() for name in reversed(keys.column_names)):
        before, after = column[:-1], column[1:]
        ascending = pc.or_kleene(pc.less(before, after), pc.and_kleene(pc.equal(before, after), ascending))
    return bool(pc.all(ascending.fill_null(False)).as_py())
