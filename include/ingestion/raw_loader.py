"""A delivery on its way into ``raw_``: read once, written and validated chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion import batch
from include.ingestion.delivery import Delivery
from include.ingestion.rows import NO_ROWS, Rows, are_among
from include.ingestion.validation import ChunkedValidator, Findings, validate
from include.lakehouse.prefetcher import Prefetcher
from include.lakehouse.run import Run
from include.lakehouse.schemas import PARTITION, RAW, ROW_NUMBER, SOURCE_FILE
from include.lakehouse.selection import within

WHOLE_ROWS, WHOLE_BYTES = 200_000, 256 << 20
"""A delivery of so many rows, and bytes, at most is validated in one piece, in memory."""
SPILLED_ROWS = 1_000_000
"""Of more rows than that none is set aside: the batch is likely to be rejected, and then all its rows are wanted."""


class RawLoader:
    """Reads a delivery, and remembers what its validation needs: its rows while they are few, else what they said."""

    def __init__(self, run: Run, delivery: Delivery) -> None:
        self._run, self._delivery = run, delivery
        self._begin()

    def _begin(self) -> None:
        self.count = self._bytes = 0
        self._offsets: dict[str, int] = {}
        """By source file, the position of the row before its first."""
        self._whole: list[pa.Table] = []
        self._chunked: ChunkedValidator | None = None
        self._spill = RowSpill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spill.close()
        if self._chunked is not None:
            self._chunked.close()

    def write_raw(self) -> None:
        """Replace the partition of ``raw_``.

        Raises:
            BadFile: nothing was written.
        """
        self._run.lake.replace_stream(self._run.table(RAW), self._read, {PARTITION: self._run.partition.key})

    def validate(self) -> Findings:
        """Validate what was written."""
        flags = [(self._offsets[file] + flag.row, flag) for file, flag in self._delivery.flags]
        types = self._delivery.types
        if self._chunked is not None:
            found = self._chunked.findings(self._raw(), self._offsets, types, flags)
        else:
            found = validate(
                self._run.spec, self._run.partition, pa.concat_tables(self._whole), file_types=types, flags=flags
            )
        return replace(found, ignored=self._delivery.ignored)

    def rows(self, wanted: Rows | None) -> Iterator[tuple[pa.Table, Rows]]:
        """Rows as ``raw_`` has them, with their positions in the delivery.

        Args:
            wanted: positions that are among those returned, and others may be; None for all rows.
        """
        if self._chunked is None:
            yield self._laid_out(pa.concat_tables(self._whole)), np.arange(self.count)
        elif wanted is not None and self._spill.has(wanted):
            for delivered, positions in self._spill.rows():
                yield self._laid_out(delivered), positions
        else:
            for rows in self._raw():
                if rows.num_rows:
                    yield pa.Table.from_batches([rows]), self._positions(rows)

    def _raw(self) -> pa.RecordBatchReader:
        raw = self._run.table(RAW)
        return self._run.lake.reader(raw, where=within(self._run.partition), columns=raw.schema.names)

    def _laid_out(self, delivered: pa.Table) -> pa.Table:
        return batch.raw_rows(self._run.spec, self._run.partition, delivered)

    def _read(self) -> Iterator[pa.RecordBatch]:
        # From the start: another writer may have come first, and then it is all done again.
        self.__exit__()
        self._begin()
        self._delivery.flags.clear()
        # Parsed in a thread of its own, while what came before is validated and written.
        with Prefetcher(self._delivery.chunks) as delivery:
            for delivered in delivery:
                self._update(delivered)
                yield from self._laid_out(delivered).to_batches()

    def _update(self, delivered: pa.Table) -> None:
        if delivered.num_rows:
            self._offsets.setdefault(delivered[SOURCE_FILE][0].as_py(), self.count - 1)
        self.count += delivered.num_rows
        self._bytes += delivered.nbytes
        self._whole.append(delivered)
        if self._chunked is None and (self.count > WHOLE_ROWS or self._bytes > WHOLE_BYTES):
            self._chunked = ChunkedValidator(self._run.spec, self._run.partition)
        if self._chunked is not None:
            held, self._whole = self._whole, []
            start = self.count - sum(rows.num_rows for rows in held)
            for rows in held:
                self._spill.add(rows, self._chunked.update(rows), start)
                start += rows.num_rows

    def _positions(self, rows: pa.RecordBatch) -> Rows:
        """Where rows of ``raw_`` are in the delivery, from 0."""
        files = rows.column(SOURCE_FILE).dictionary_encode()
        starts = np.array([self._offsets[name] for name in files.dictionary.to_pylist()], dtype=np.int64)
        return starts[files.indices.to_numpy()] + rows.column(ROW_NUMBER).to_numpy()


class RowSpill:
    """Sets aside, in a file, the rows of a large delivery that may be quarantined: ``raw_`` need not be read again."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None
        self._parts: list[Rows] = [NO_ROWS]
        self._count = 0

    def add(self, delivered: pa.Table, places: Rows, start: int) -> None:
        """Set aside some rows of the next ones.

        Args:
            places: which, from 0 in ``delivered``, ascending.
            start: the position of the first row of ``delivered`` in the delivery.
        """
        self._count += places.size
        if self._count > SPILLED_ROWS:
            self._parts = [NO_ROWS]
        elif places.size:
            kept = delivered.take(pa.array(places))
            if self._writer is None:
                self._file = TemporaryFile(prefix="flightline-")  # noqa: SIM115  (open until close)
                self._writer = pq.ParquetWriter(self._file, kept.schema)
            self._writer.write_table(kept)
            self._parts.append(places + start)

    def has(self, positions: Rows) -> bool:
        """Whether all of these rows are there."""
        return self._count <= SPILLED_ROWS and bool(are_among(positions, np.concatenate(self._parts)).all())

    def rows(self) -> Iterator[tuple[pa.Table, Rows]]:
        """What is there, as it was delivered, with the positions of the rows; no more is added then."""
        if self._writer is None:
            return
        self._writer.close()
        positions, start = np.concatenate(self._parts), 0
        for rows in pq.ParquetFile(self._file).iter_batches():
            yield pa.Table.from_batches([rows]), positions[start : start + rows.num_rows]
            start += rows.num_rows

    def close(self) -> None:
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.close()
