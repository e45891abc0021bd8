"""What a batch is compared with: the batches that the lakehouse already has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from statistics import median

import numpy as np
import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion.findings import Rows
from include.ingestion.sql import query
from include.lakehouse.tables import Lakehouse

ROW_COUNT_OFF_BAND = "row_count_off_band"
REPEATED_KEY = "key_of_another_batch"

_KNOWN = "SELECT position FROM mine SEMI JOIN others USING (key) ORDER BY position"


@dataclass(frozen=True)
class Past:
    """The accepted batches of other days."""

    spec: ModelSpec
    lake: Lakehouse
    day: date

    def band(self) -> tuple[float, float] | None:
        """Least and greatest number of rows that are usual, or None while too few batches are there to tell."""
        learned = self.spec.ingestion.row_count_band
        if learned is None:
            return None
        counts = self._row_counts()[-learned.batches :]
        if len(counts) < learned.at_least:
            return None
        middle = median(counts)
        return middle / learned.factor, middle * learned.factor

    def positions_of_known_keys(self, keys: pa.ChunkedArray) -> Rows:
        """Positions of the keys that an accepted row of another day has."""
        name, key = self.spec.table("clean"), self.spec.entity.key
        if not self.lake.exists(name):
            return np.empty(0, dtype=np.int64)
        mine = pa.table({"key": keys, "position": np.arange(len(keys))})
        others = self.lake.column_of_other_partitions(name, key, "batch_date", self.day)
        return query(_KNOWN, {"mine": mine, "others": others.rename_columns(["key"])})["position"].to_numpy()

    def _row_counts(self) -> list[int]:
        """Rows delivered on the earlier days of which some were accepted, oldest first."""
        accepted = {day for day, rows in self._by_day("clean") if rows}
        return [rows for day, rows in sorted(self._by_day("raw")) if day in accepted and day < self.day]

    def _by_day(self, layer: str) -> list[tuple[date, int]]:
        name = self.spec.table(layer)
        return self.lake.rows_by_partition(name, "batch_date") if self.lake.exists(name) else []
