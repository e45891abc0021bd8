"""Delta Lake tables: read, and replace one partition in one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.errors import DataError
from include.places import Places

Scalar = str | int | date | datetime


class Lakehouse:
    """All Delta tables below one URI. Table names follow ``<layer>_<model>``."""

    def __init__(self, places: Places) -> None:
        self._root = places.lakehouse_uri

    def uri(self, name: str) -> str:
        return f"{self._root}/{name}"

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a table, optionally as of an earlier version.

        Raises:
            DataError: the table has never been written.
        """
        try:
            return DeltaTable(self.uri(name), version=version)
        except TableNotFoundError:
            raise DataError(
                f"table {name} does not exist", where=self._root, fix="Run the DAG that writes it first"
            ) from None

    def exists(self, name: str) -> bool:
        return DeltaTable.is_deltatable(self.uri(name))

    def version(self, name: str) -> int:
        """The version that a read would see now."""
        return self.open(name).version()

    def read(
        self,
        name: str,
        *,
        where: Sequence[tuple[str, str, Scalar]] | None = None,
        columns: list[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Read a table, or the rows for which every ``(column, operator, value)`` of ``where`` holds."""
        filters = [(column, operator, value) for column, operator, value in where] if where else None
        return self.open(name, version).to_pyarrow_table(filters=filters, columns=columns)

    def read_if_exists(self, name: str, *, where: Sequence[tuple[str, str, Scalar]] | None = None) -> pa.Table | None:
        return self.read(name, where=where) if self.exists(name) else None

    def replace_partition(
        self, name: str, rows: pa.Table, partition: Mapping[str, Scalar], *, partition_by: Sequence[str] = ()
    ) -> int:
        """Make ``rows`` the whole content of one partition, in one commit; other partitions stay.

        Safe to repeat: a retry, a re-run and a backfill leave the same rows.

        Args:
            rows: every row carries the partition's values in the partition's columns.
            partition: the columns that identify what is replaced, with their values.
            partition_by: the columns that the files are laid out by; the partition's columns by default.

        Returns:
            The table version that holds the rows.
        """
        rows = _storable(rows)
        if not self.exists(name):
            self._create(name, rows.schema, list(partition_by or partition))
        predicate = " AND ".join(f"{column} = {_literal(value)}" for column, value in partition.items())
        return self._overwrite(name, rows, predicate)

    @retry(
        retry=retry_if_exception_type(CommitFailedError),
        stop=stop_after_attempt(8),
        wait=wait_random_exponential(multiplier=0.1, max=3),
        reraise=True,
    )
    def _overwrite(self, name: str, rows: pa.Table, predicate: str) -> int:
        # A writer of another partition may commit first: Delta refuses ours, and it is tried again.
        table = self.open(name)
        write_deltalake(table, rows, mode="overwrite", predicate=predicate, schema_mode="merge")
        return table.version()

    def _create(self, name: str, schema: pa.Schema, partition_by: list[str]) -> None:
        DeltaTable.create(self.uri(name), schema=schema, mode="ignore", partition_by=partition_by, name=name)


def _storable(rows: pa.Table) -> pa.Table:
    """Event times are stored as microseconds in UTC (DuckDB casts no nanosecond time zones)."""
    fields = []
    for field in rows.schema:
        if pa.types.is_timestamp(field.type):
            field = field.with_type(pa.timestamp("us", tz="UTC"))
        elif pa.types.is_dictionary(field.type) or pa.types.is_large_string(field.type) or pa.types.is_null(field.type):
            field = field.with_type(pa.string())
        fields.append(field)
    return rows.cast(pa.schema(fields)).replace_schema_metadata(None)


def _literal(value: Scalar) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, date):
        return f"'{value.isoformat()}'"
    escaped = value.replace("'", "''")
    return f"'{escaped}'"
