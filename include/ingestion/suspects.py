"""Rows of a large delivery that may be quarantined, kept aside while it is read: ``raw_`` need not be read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion.findings import Rows

MOST_ROWS = 1_000_000
"""Of more rows than that none is kept: the batch is likely to be rejected, and then all its rows are wanted."""


class Suspects:
    """Keeps rows in a file.

    Args:
        path: where; the file is there from the first row on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._positions: list[Rows] = []
        self._rows = 0

    def add(self, delivered: pa.Table, places: Rows, start: int) -> None:
        """Keep some rows of the next ones.

        Args:
            places: which, from 0 in ``delivered``, ascending.
            start: the position of the first row of ``delivered`` in the delivery.
        """
        self._rows += places.size
        if self._rows > MOST_ROWS:
            self._positions = []
            self.close()
        elif places.size:
            kept = delivered.take(pa.array(places))
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._path, kept.schema)
            self._writer.write_table(kept)
            self._positions.append(places + start)

    def close(self) -> None:
        """End the writing."""
        if self._writer is not None:
            self._writer.close()

    def has(self, positions: Rows) -> bool:
        """Whether all of these rows are kept."""
        return self._rows <= MOST_ROWS and bool(np.isin(positions, self._all()).all())

    def rows(self) -> Iterator[tuple[pa.Table, Rows]]:
        """What is kept, as it was delivered, with the positions of the rows; after ``close``."""
        if self._writer is None:
            return
        start = 0
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches():
                yield pa.Table.from_batches([batch]), self._all()[start : start + batch.num_rows]
                start += batch.num_rows

    def _all(self) -> Rows:
        self._positions = [np.concatenate([np.empty(0, dtype=np.int64), *self._positions])]
        return self._positions[0]
