"""DuckDB over Arrow tables, with a connection of its own for each query."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa


def query(text: str, tables: Mapping[str, pa.Table], params: Mapping[str, object] | None = None) -> pa.Table:
    """Run one SELECT over named tables; ``$name`` in the text stands for a parameter."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        relation = connection.sql(text, params=dict(params or {}))
        assert relation is not None, "a SELECT always has a result"
        return relation.to_arrow_table()
