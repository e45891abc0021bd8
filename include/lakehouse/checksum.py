"""Whether the rows of a partition are those that were seen: kept as a number, and compared with what is there."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from include.lakehouse.schemas import PARTITION, WORKING

_ROWS = f"{WORKING}rows"


def by_partition(rows: pa.Table) -> dict[str, float]:
    """By key of a partition a checksum of its rows, in whatever order: a whole number that a float64 holds, never 0.

    Args:
        rows: with the partition's key; the order of the columns does not count.
    """
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.register(_ROWS, rows.select(sorted(rows.column_names)))
        query = f"SELECT {PARTITION}, 1 + sum(hash({_ROWS})) % (2 ** 53 - 1)::HUGEINT FROM {_ROWS} GROUP BY ALL"
        return {str(key): float(content) for key, content in connection.execute(query).fetchall()}
