"""Which rows of a batch are not accepted, and why: a row can have several reasons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from include.ingestion.findings import Rows


class RowReasons:
    """Reason codes by row position. Rows without a reason are not kept, so a clean batch costs nothing."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    def add(self, reason: str, rows: Iterable[int] | Rows) -> None:
        added = np.unique(np.asarray(rows, dtype=np.int64))
        if added.size:
            self._rows[reason] = np.union1d(self._rows[reason], added) if reason in self._rows else added

    def add_all(self, other: RowReasons) -> None:
        for reason, rows in other._rows.items():
            self.add(reason, rows)

    def of(self, positions: Rows) -> RowReasons:
        """The reasons of some rows, which are then counted from 0 in the order given."""
        some = RowReasons()
        for reason, rows in self._rows.items():
            place = np.clip(np.searchsorted(rows, positions), 0, rows.size - 1)
            some.add(reason, np.flatnonzero(rows[place] == positions))
        return some

    def counts(self) -> dict[str, int]:
        """Rows by reason."""
        return {reason: int(rows.size) for reason, rows in self._rows.items()}

    def rows_of(self, reason: str) -> Rows:
        """The rows that have one reason, ascending."""
        return self._rows[reason]

    def rows(self) -> Rows:
        """Every row that has a reason, once, ascending."""
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *self._rows.values()]))

    def column(self) -> pa.ListArray:
        """The reasons of each row of ``rows()``, list<string>, in the order in which they were added."""
        rows = np.concatenate([np.empty(0, dtype=np.int64), *self._rows.values()])
        codes = np.repeat(np.arange(len(self._rows)), [found.size for found in self._rows.values()])
        order = np.argsort(rows, kind="stable")
        counts = np.unique(rows, return_counts=True)[1]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        names = pa.array(list(self._rows), pa.string()).take(pa.array(codes[order], pa.int64()))
        return pa.ListArray.from_arrays(pa.array(offsets), names)
