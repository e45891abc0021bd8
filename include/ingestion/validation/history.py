"""What a batch is compared with: the batches that the lakehouse already has."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion.validation.result import NO_ROWS, Rows
from include.lakehouse.schemas import CLEAN, PARTITION, RAW
from include.lakehouse.tables import Lakehouse


@dataclass(frozen=True)
class BatchHistory:
    """The accepted batches of other partitions than this one."""

    spec: ModelSpec
    lake: Lakehouse
    partition: Partition

    def row_count_band(self) -> tuple[float, float] | None:
        """Least and greatest number of rows that are usual, or None while too few batches are there to tell."""
        learned = self.spec.ingestion.row_count_band
        if learned is None:
            return None
        counts = self._row_counts()[-learned.batches :]
        if len(counts) < learned.at_least:
            return None
        middle = median(counts)
        return middle / learned.factor, middle * learned.factor

    def positions_of_known_keys(self, keys: pa.Table) -> Rows:
        """Positions of the keys that an accepted row of another partition has.

        Args:
            keys: the typed columns of the entity's key, in the order of the rows.
        """
        clean, others = CLEAN.of(self.spec), [(PARTITION, "!=", self.partition.key)]
        if not self.lake.exists(clean):
            return NO_ROWS
        names = list(self.spec.entity.keys)
        quoted = ", ".join(f'"{name}"' for name in names)
        with duckdb.connect() as connection:
            connection.register("mine", keys.append_column("_position", pa.array(np.arange(keys.num_rows))))
            # DuckDB opens a file five times faster than a Delta reader does, but only one of this machine.
            files = self.lake.open(clean).file_uris(file_pruning_predicate=others)
            known = f"read_parquet({files})"
            if "://" in self.lake.uri(clean) or not files:
                connection.register("others", self.lake.reader(clean, where=others, columns=names))
                known = "others"
            found = connection.sql(f"SELECT _position FROM mine SEMI JOIN {known} USING ({quoted}) ORDER BY _position")
            return found.to_arrow_table()["_position"].to_numpy()

    def _row_counts(self) -> list[int]:
        """Rows delivered in the earlier partitions of which some rows were accepted, oldest first."""
        accepted = self.lake.rows_by_partition(CLEAN.of(self.spec))
        delivered = self.lake.rows_by_partition(RAW.of(self.spec))
        return [rows for key, rows in delivered.items() if key < self.partition.key and accepted.get(key)]
