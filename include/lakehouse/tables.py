"""Delta Lake tables: read, and replace one partition in one commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from pyarrow.dataset import ParquetReadOptions
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.core.errors import DataError
from include.core.settings import Places
from include.lakehouse.prefetch import Feed

Scalar = str | int | date | datetime
STREAM_ROWS = 100_000

# With more than one writer Delta takes in a stream faster than it writes it, and keeps what waits in memory.
os.environ.setdefault("DELTARS_MAX_CONCURRENT_WRITERS", "1")


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

    def stream(
        self, name: str, *, where: Mapping[str, Scalar], columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read the rows for which every column of ``where`` has its value, in batches of a bounded size."""
        yield from self.reader(name, where=where, columns=columns)

    def reader(
        self, name: str, *, where: Mapping[str, Scalar], columns: list[str] | None = None, encoded: bool = False
    ) -> pa.RecordBatchReader:
        """As ``stream``, for who takes a reader.

        Args:
            encoded: texts that repeat come as dictionaries, as the files have them: fewer values to look at.
        """
        table = self.open(name)
        dataset = table.to_pyarrow_dataset()
        if encoded:
            options = ParquetReadOptions(dictionary_columns=_repeating_texts(dataset, _all_equal(where)))
            dataset = table.to_pyarrow_dataset(parquet_read_options=options)
        scanner = dataset.scanner(
            columns=columns,
            filter=_all_equal(where),
            batch_size=STREAM_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        )
        return scanner.to_reader()

    def count(self, name: str, *, where: Mapping[str, Scalar]) -> int:
        """How many rows have these values."""
        return int(self.open(name).to_pyarrow_dataset().count_rows(filter=_all_equal(where)))

    def rows_by_partition(self, name: str, column: str) -> list[tuple[date, int]]:
        """How many rows each day of a partition column has, from the table's own record."""
        actions = pa.table(self.open(name).get_add_actions(flatten=True))
        counts: dict[date, int] = {}
        days = actions[f"partition.{column}"].cast(pa.date32()).to_pylist()
        for day, rows in zip(days, actions["num_records"].to_pylist(), strict=True):
            counts[day] = counts.get(day, 0) + int(rows)
        return list(counts.items())

    def column_of_other_partitions(self, name: str, column: str, partition: str, value: Scalar) -> pa.Table:
        """One column of all rows but those of one partition."""
        dataset = self.open(name).to_pyarrow_dataset()
        return dataset.to_table(columns=[column], filter=pc.field(partition) != value)

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
        return self.replace_partition_by_stream(
            name, rows.schema, lambda: iter(rows.to_batches()), partition, partition_by=partition_by
        )

    def replace_partition_by_stream(
        self,
        name: str,
        schema: pa.Schema,
        batches: Callable[[], Iterator[pa.RecordBatch]],
        partition: Mapping[str, Scalar],
        *,
        partition_by: Sequence[str] = (),
    ) -> int:
        """Like ``replace_partition``, of rows that need not fit into memory.

        Args:
            batches: starts the rows anew each time it is called: after a writer of another partition came first.
                What it raises, the caller gets, and nothing is committed.
        """
        if not self.exists(name):
            self._create(name, schema, list(partition_by or partition))
        predicate = " AND ".join(f"{column} = {_literal(value)}" for column, value in partition.items())
        return self._overwrite(name, schema, batches, predicate)

    @retry(
        retry=retry_if_exception_type(CommitFailedError),
        stop=stop_after_attempt(20),
        wait=wait_random_exponential(multiplier=0.1, max=3),
        reraise=True,
    )
    def _overwrite(
        self, name: str, schema: pa.Schema, batches: Callable[[], Iterator[pa.RecordBatch]], predicate: str
    ) -> int:
        # A writer of another partition may commit first: Delta refuses ours, and it is tried again.
        table = self.open(name)
        with Feed(batches) as feed:
            reader = pa.RecordBatchReader.from_batches(schema, iter(feed))
            try:
                write_deltalake(table, reader, mode="overwrite", predicate=predicate, schema_mode="merge")
            except Exception:  # whatever Delta makes of it, the caller gets what the rows raised
                if feed.error is not None:
                    raise feed.error from None
                raise
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


def _repeating_texts(dataset: pa.dataset.Dataset, where: pc.Expression) -> set[str]:
    """Columns of text whose files hold less than a length, of 4 bytes, for a value: they hold it in a dictionary."""
    sizes: dict[str, int] = {}
    rows = 0
    for fragment in dataset.get_fragments(filter=where):
        for group in (fragment.metadata.row_group(n) for n in range(fragment.metadata.num_row_groups)):
            rows += group.num_rows
            for column in (group.column(n) for n in range(group.num_columns)):
                size = column.total_uncompressed_size
                sizes[column.path_in_schema] = sizes.get(column.path_in_schema, 0) + size
    texts = {field.name for field in dataset.schema if pa.types.is_string(field.type)}
    return {name for name in texts if sizes.get(name, 4 * rows) < 4 * rows}


def _all_equal(where: Mapping[str, Scalar]) -> pc.Expression:
    expression = pc.scalar(True)
    for column, value in where.items():
        expression = expression & (pc.field(column) == value)
    return expression


def _literal(value: Scalar) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, date):
        return f"'{value.isoformat()}'"
    escaped = value.replace("'", "''")
    return f"'{escaped}'"
