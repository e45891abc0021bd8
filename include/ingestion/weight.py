"""How long the rows of a delivery are, one after the other."""

from __future__ import annotations

import pyarrow as pa

from include.ingestion.bad_file import BadFile
from include.lakehouse.decisions import Reason

ROW_BYTES = 4 << 10
"""Of the texts of a row, on average: what is done with rows after this takes them by number, not by size."""
COLUMN_BYTES = 64
"""The same for each column, where that is more: five hundred columns of numbers are no long values."""
LONG_ROWS_BYTES = 64 << 20
"""So many bytes more than that rows in a row may have together."""


class Weight:
    """What the rows of a delivery have been so far, beyond what rows may have on average."""

    def __init__(self) -> None:
        self._excess = 0

    def add(self, rows: pa.Table, where: str) -> None:
        """Take in the next rows.

        Raises:
            BadFile: they are long ones, one after the other.
        """
        usual = max(ROW_BYTES, rows.num_columns * COLUMN_BYTES)
        self._excess = max(0, self._excess + rows.nbytes - rows.num_rows * usual)
        if self._excess > LONG_ROWS_BYTES:
            what = f"has, over {LONG_ROWS_BYTES >> 20} MB of rows, more than {usual} bytes a row"
            raise BadFile(Reason.TOO_LARGE, what, where=where, fix="Deliver shorter values")
