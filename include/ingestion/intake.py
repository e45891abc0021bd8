"""A delivery on its way into ``raw_``: read once, written and judged chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion import bulk, layout
from include.ingestion.delivery import Delivery
from include.ingestion.findings import Rows
from include.ingestion.judgement import Judgement, Surroundings, judge
from include.ingestion.past import Past
from include.lakehouse.prefetcher import Prefetcher
from include.lakehouse.tables import Lakehouse

WHOLE_ROWS = 200_000
"""A delivery of so many rows at most is judged at once, in memory."""


class Intake:
    """Reads a delivery, and remembers what its judgement needs: its rows while they are few, else what they said."""

    def __init__(self, spec: ModelSpec, lake: Lakehouse, delivery: Delivery) -> None:
        self._spec, self._lake, self._delivery = spec, lake, delivery
        self.day = delivery.day
        self.count = 0
        self._whole: list[pa.Table] = []
        self._chunks: bulk.Chunks | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._chunks is not None:
            self._chunks.close()

    def write_raw(self) -> None:
        """Replace the day's partition of ``raw_``.

        Raises:
            BadFile: nothing was written.
        """
        self._lake.replace_partition_by_stream(
            self._spec.table("raw"), layout.raw_schema(self._spec), self._read, {"batch_date": self.day}
        )

    def judge(self, docs_folder: Path | None) -> Judgement:
        around = Surroundings(Past(self._spec, self._lake, self.day), dict(self._delivery.types), self._unfinished())
        if self._chunks is not None:
            return self._chunks.finish(self._lake, self.day, around, docs_folder)
        return judge(self._spec, pa.concat_tables(self._whole), docs_folder, around)

    def rows(self, wanted: Rows | None) -> Iterator[tuple[pa.Table, Rows]]:
        """Rows as ``raw_`` has them, with their positions in the delivery.

        Args:
            wanted: positions that are among those returned, and others may be; None for all rows.
        """
        if self._chunks is None:
            yield self._laid_out(pa.concat_tables(self._whole)), np.arange(self.count)
        elif wanted is not None and self._chunks.suspects.has(wanted):
            for delivered, positions in self._chunks.suspects.rows():
                yield self._laid_out(delivered), positions
        else:
            for batch in self._lake.stream(self._spec.table("raw"), where={"batch_date": self.day}):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch]), bulk.positions(self._offsets(), batch)

    def _laid_out(self, delivered: pa.Table) -> pa.Table:
        return layout.raw(self._spec, self.day, delivered).cast(layout.raw_schema(self._spec))

    def _read(self) -> Iterator[pa.RecordBatch]:
        # From the start: another writer may have come first, and then it is all done again.
        self.__exit__()
        self.count, self._whole, self._chunks = 0, [], None
        self._delivery.unfinished.clear()
        # Parsed in a thread of its own, while what came before is judged and written.
        with Prefetcher(self._delivery.chunks) as delivery:
            for delivered in delivery:
                self._see(delivered)
                yield from self._laid_out(delivered).to_batches()

    def _see(self, delivered: pa.Table) -> None:
        self.count += delivered.num_rows
        if self._chunks is None and self.count <= WHOLE_ROWS:
            self._whole.append(delivered)
            return
        if self._chunks is None:
            self._chunks = bulk.Chunks(self._spec)
            held, self._whole = self._whole, []
            for earlier in held:
                self._chunks.see(earlier)
        self._chunks.see(delivered)

    def _offsets(self) -> dict[str, int]:
        if self._chunks is not None:
            return self._chunks.offsets
        offsets: dict[str, int] = {}
        start = 0
        for rows in self._whole:
            if rows.num_rows:
                offsets.setdefault(rows["source_file"][0].as_py(), start - 1)
            start += rows.num_rows
        return offsets

    def _unfinished(self) -> Rows:
        """Positions of the rows that end a file without a line end."""
        offsets = self._offsets()
        places = [offsets[file] + number for file, number in self._delivery.unfinished]
        return np.array(places, dtype=np.int64)
