"""Delta Lake tables: read some rows, and replace one partition in one commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from feast_delta import files
from include.core.errors import DataError
from include.lakehouse import scans
from include.lakehouse.prefetcher import Prefetcher
from include.lakehouse.schemas import PARTITION, ModelTable
from include.lakehouse.selection import Where, expression, predicate
from include.lakehouse.writes import Scalar, checked

Reader = Callable[[list[str]], Iterator[pa.Table]]
"""Some columns of the rows of a partition, piece by piece, as they are in one table version."""
FILE_SIZE = 100 * 2**20
"""Bytes up to which Delta writes a file."""
GROUP_ROWS = 65_536
"""Of a row group in a file: Arrow reads one in one piece, however few rows are asked for."""
CHECKPOINT_COMMITS = 10
"""Who opens a table reads the commits since the last checkpoint one by one: at Delta's 100, 26 ms instead of 6."""

# With more than one writer Delta takes in a stream faster than it writes it, and keeps what waits in memory.
os.environ.setdefault("DELTARS_MAX_CONCURRENT_WRITERS", "1")

_again = retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_attempt(20),
    wait=wait_random_exponential(multiplier=0.1, max=3),
    reraise=True,
)
"""Another writer may commit first: Delta refuses ours, and it is tried again from what is there then."""


class Lakehouse:
    """All Delta tables below one folder or URL, for the time of a run."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._idle: dict[str, DeltaTable] = {}
        """By address, the tables that were opened and that no thread uses now."""

    def uri(self, table: ModelTable | str) -> str:
        return f"{self._root}/{_name(table)}"

    def open(self, table: ModelTable | str, version: int | None = None) -> DeltaTable:
        """Open a table for the caller alone, optionally as of an earlier version.

        Raises:
            DataError: the table has never been written, or the version is not kept.
        """
        try:
            found = self._find(table, version)
        except DeltaError:
            if version is None:
                raise
            found = None
        if found is None and version is not None and self.exists(table):
            raise self._gone(table, version)
        if found is None:
            raise DataError(
                f"table {_name(table)} does not exist", where=self._root, fix="Run the DAG that writes it first"
            )
        return found

    def exists(self, table: ModelTable | str) -> bool:
        with self._current(table) as opened:
            return opened is not None

    def version(self, table: ModelTable | str) -> int:
        """The version that a read would see now."""
        return self.open(table).version()

    def read(
        self,
        table: ModelTable | str,
        *,
        where: Where = (),
        columns: list[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Read a table, or some of its rows; of columns that files are laid out by, only the files that are meant.

        A declared column is null in rows that are older than its declaration, also where all of them are.
        """
        if version is not None:
            try:
                return scans.read(self.open(table, version), table, where, columns)
            except FileNotFoundError:
                raise self._gone(table, version) from None
        with self._known(table) as opened:
            return scans.read(opened, table, where, columns)

    def read_if_exists(
        self, table: ModelTable | str, *, where: Where = (), columns: list[str] | None = None
    ) -> pa.Table | None:
        with self._current(table) as opened:
            return None if opened is None else scans.read(opened, table, where, columns)

    def reader(
        self, table: ModelTable | str, *, where: Where, columns: list[str] | None = None, encoded: bool = False
    ) -> pa.RecordBatchReader:
        """As ``read``, in batches of a bounded size.

        Args:
            encoded: texts that repeat come as dictionaries, as the files have them: fewer values to look at.
        """
        with self._known(table) as opened:
            dataset = scans.dataset(opened, table, where)
            if encoded:
                dataset = scans.dataset(opened, table, where, dictionaries=scans.repeating_texts(dataset))
        return scans.reader(dataset, where, columns)

    def read_as_it_was(self, table: ModelTable | str, version: int | None, *, where: Where) -> pa.Table:
        """The rows in an earlier table version; as they are now where it is kept no more (`Table.retention_days`)."""
        try:
            return self.read(table, where=where, version=version)
        except DataError:
            return self.read(table, where=where)

    def count(self, table: ModelTable | str, *, where: Where = ()) -> int:
        """How many rows there are; 0 where there is no table."""
        with self._current(table) as opened:
            return 0 if opened is None else scans.dataset(opened, table, where).count_rows(filter=expression(where))

    def rows_by_partition(self, table: ModelTable | str) -> dict[str, int]:
        """How many rows each partition has, by its key, from the table's own record; in the order of the keys."""
        actions = self._files(table)
        if actions is None:
            return {}
        counts: dict[str, int] = {}
        keys, rows = actions[f"partition.{PARTITION}"].to_pylist(), actions["num_records"].to_pylist()
        for key, count in sorted(zip(keys, rows, strict=True)):
            counts[key] = counts.get(key, 0) + int(count)
        return counts

    def partitions_with(self, table: ModelTable | str, where: Where, column: str = PARTITION) -> list[str]:
        """The values of a partition column of which a file may hold such rows, in order; no file is read.

        The table's own record knows the least and the greatest value of each column of a file (of times, but for what
        is less than a millisecond), so a file with other values on both sides counts, too.

        Args:
            where: the operators are ``=`` and ``>=``.
        """
        with self._current(table) as opened:
            if opened is None:
                return []
            actions = scans.files_of(opened, where)
        for name, operator, value in where:
            if f"min.{name}" in actions.column_names:
                least, greatest = actions[f"min.{name}"], actions[f"max.{name}"]
                if pa.types.is_timestamp(greatest.type):
                    greatest = pc.add(greatest, files.LOG_PRECISION)
                outside = pc.less(greatest, value)
                if operator == "=":
                    outside = pc.or_(outside, pc.greater(least, value))
                actions = actions.filter(pc.invert(pc.fill_null(outside, False)))
        return sorted(set(actions[files.PARTITION + column].to_pylist()))

    def paths(self, table: ModelTable | str, where: Where, version: int | None = None) -> list[str]:
        """The files of the partitions that can hold such rows: others, once a row of them has changed.

        Args:
            version: of the table; there has to be one then, or it is a `DataError`.
        """
        if version is not None:
            found: list[str] = scans.files_of(self.open(table, version), where)["path"].to_pylist()
            return found
        with self._current(table) as opened:
            return [] if opened is None else scans.files_of(opened, where)["path"].to_pylist()

    def paths_with_keys(self, table: ModelTable, keys: pa.Table, where: Where) -> list[str]:
        """Where the files are that may hold rows with one of these keys: of integer keys the log keeps the bounds."""
        with self._current(table) as opened:
            if opened is None:
                return []
            some = scans.files_of(opened, where)
            for name in keys.column_names:
                some = some.filter(files.may_hold_keys(some, name, keys[name].drop_null().combine_chunks()))
            return [f"{self.uri(table)}/{unquote(path)}" for path in some["path"].to_pylist()]

    def replace(self, table: ModelTable, rows: pa.Table, partition: Mapping[str, Scalar]) -> int:
        """Make ``rows`` the whole content of one partition, in one commit; other partitions stay.

        Safe to repeat: a retry, a re-run and a backfill leave the same rows.

        Args:
            rows: exactly the declared columns, in any order.
            partition: a value for each of the columns that name what a write replaces.

        Returns:
            The table version that holds the rows.

        Raises:
            DataError: the rows are not what the table's declaration says.
        """
        declared = list(checked(table, [rows], partition))
        return self._overwrite(table, lambda _: iter(declared), partition)

    def replace_stream(
        self, table: ModelTable, batches: Callable[[], Iterator[pa.RecordBatch]], partition: Mapping[str, Scalar]
    ) -> int:
        """Like ``replace``, of rows that need not fit into memory.

        Args:
            batches: starts the rows anew each time it is called: after a writer of another partition came first.
                What it raises, the caller gets, and nothing is committed.
        """

        def declared(_: DeltaTable) -> Iterator[pa.RecordBatch]:
            return checked(table, (pa.Table.from_batches([batch]) for batch in batches()), partition)

        return self._overwrite(table, declared, partition)

    def update_stream(
        self, table: ModelTable, partition: Mapping[str, Scalar], change: Callable[[Reader], Iterator[pa.RecordBatch]]
    ) -> int:
        """Like ``update``, of rows that need not fit into memory.

        Args:
            change: is given what reads the rows of the partition, and returns all that it is to have.
        """
        where = [(column, "=", value) for column, value in partition.items()]

        def changed(opened: DeltaTable) -> Iterator[pa.RecordBatch]:
            dataset = scans.dataset(opened, table, where)  # before it is written to, which nothing may read beside

            def read(columns: list[str]) -> Iterator[pa.Table]:
                with scans.reader(dataset, where, columns) as batches:
                    for batch in batches:
                        yield pa.Table.from_batches([batch])

            return checked(table, (pa.Table.from_batches([batch]) for batch in change(read)), partition)

        return self._overwrite(table, changed, partition)

    @_again
    def update(self, table: ModelTable, partition: Mapping[str, Scalar], change: Callable[[pa.Table], pa.Table]) -> int:
        """Replace a partition by what ``change`` makes of its rows. Writers at the same time lose nothing.

        Read and written against one table version: where another writer changed the partition meanwhile, Delta
        refuses the commit, and ``change`` is asked again, about the rows that are there then.
        """
        where = [(column, "=", value) for column, value in partition.items()]
        with self._writable(table) as opened:
            rows = scans.read(opened, table, where, table.schema.names)
            wanted = list(checked(table, [change(rows)], partition))
            reader = pa.RecordBatchReader.from_batches(table.schema, wanted)
            _replace(opened, reader, partition, schema_mode="merge")
            return opened.version()

    @_again
    def maintain(self, table: ModelTable) -> tuple[int, int, int]:
        """Make few files of many, and remove those that no kept version needs. Writers at the same time lose nothing.

        Returns:
            Files before that were replaced, files that were written, files that were removed for good.
        """
        opened, declared = self.open(table), _properties(table)
        known = opened.metadata().configuration
        if changed := {name: value for name, value in declared.items() if known.get(name) != value}:
            opened.alter.set_table_properties(changed)
        counts = self._compact(opened)
        removed = opened.vacuum(retention_hours=24 * table.table.retention_days, dry_run=False)
        opened.create_checkpoint()
        opened.cleanup_metadata()  # each write lists the commits that are there
        return *counts, len(removed)

    def _compact(self, opened: DeltaTable) -> tuple[int, int]:
        """Write each partition of many small files anew, in a commit of its own; files replaced, files written.

        Not by Delta's own compaction: of two at once both are committed, and every row is there twice.
        """
        table, laid_out = opened.metadata().name, opened.metadata().partition_columns
        some = files.files(opened)
        values = some.select([files.PARTITION + column for column in laid_out]).to_pylist()
        sizes: dict[tuple[Scalar, ...], list[int]] = {}
        for value, size in zip(values, some["size_bytes"].to_pylist(), strict=True):
            sizes.setdefault(tuple(value.values()), []).append(size)
        replaced = written = 0
        for value, found in sizes.items():
            if len(found) > 1 + sum(found) // FILE_SIZE:
                partition = dict(zip(laid_out, value, strict=True))
                where = [(column, "=", each) for column, each in partition.items()]
                rows = scans.reader(scans.dataset(opened, table, where), where, None)
                _replace(opened, rows, partition)
                replaced += len(found)
                written += len(scans.files_of(opened, where))
        return replaced, written

    def _gone(self, table: ModelTable | str, version: int) -> DataError:
        return DataError(
            f"version {version} of table {_name(table)} is not kept: what was made of it cannot be measured any more",
            where=self._root,
            fix="Put the table's files back from a backup, or train and promote a version on the data of now",
        )

    def _find(self, table: ModelTable | str, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri(table), version=version)
        except TableNotFoundError:
            return None

    @contextmanager
    def _current(self, table: ModelTable | str) -> Iterator[DeltaTable | None]:
        """The table as it is now, for one thread, or None; opened once, and then only told what was committed since.

        To open one reads its list of files, which grows by a file a partition.
        """
        uri = self.uri(table)
        opened = self._idle.pop(uri, None)
        if opened is None:
            opened = self._find(table)
        else:
            opened.update_incremental()
        yield opened
        if opened is not None:  # after an error it is opened anew
            self._idle[uri] = opened

    @contextmanager
    def _known(self, table: ModelTable | str) -> Iterator[DeltaTable]:
        """As `_current`, of a table that has been written.

        Raises:
            DataError: it never has.
        """
        with self._current(table) as opened:
            yield opened or self.open(table)

    def _files(self, table: ModelTable | str) -> pa.Table | None:
        """The table's own record of its files; None where there is no table."""
        with self._current(table) as opened:
            return None if opened is None else files.files(opened)

    @_again
    def _overwrite(
        self,
        table: ModelTable,
        batches: Callable[[DeltaTable], Iterator[pa.RecordBatch]],
        partition: Mapping[str, Scalar],
    ) -> int:
        with self._writable(table) as opened, Prefetcher(partial(iter, batches(opened))) as ahead:
            reader = pa.RecordBatchReader.from_batches(table.schema, iter(ahead))
            try:
                _replace(opened, reader, partition, schema_mode="merge")
            except Exception:  # whatever Delta makes of it, the caller gets what the rows raised
                if ahead.error is not None:
                    raise ahead.error from None
                raise
            return opened.version()

    @contextmanager
    def _writable(self, table: ModelTable) -> Iterator[DeltaTable]:
        """As `_current`; made if it is new, and with columns of the declared types."""
        if not self.exists(table):
            self._create(table)
        with self._known(table) as opened:
            stored = {field.name: field.type for field in pa.schema(opened.schema().to_arrow())}
            for field in table.schema:
                if field.name in stored and stored[field.name] != field.type:
                    raise DataError(
                        f"column {field.name} is {stored[field.name]} in the table and declared as {field.type}",
                        where=self.uri(table),
                        fix="A changed type is a migration: rewrite the table, or give the column another name",
                    )
            yield opened

    def _create(self, table: ModelTable) -> None:
        try:
            DeltaTable.create(
                self.uri(table),
                table.schema,
                mode="ignore",
                partition_by=list(table.layout),
                name=table.name,
                configuration=_properties(table),
            )
        except DeltaError:  # another writer has made it at the same moment
            if not self.exists(table):
                raise


def _replace(
    opened: DeltaTable,
    rows: pa.RecordBatchReader,
    partition: Mapping[str, Scalar],
    schema_mode: Literal["merge"] | None = None,
) -> None:
    """The rows of a partition, as one commit."""
    write_deltalake(
        opened,
        rows,
        mode="overwrite",
        predicate=predicate(partition),
        schema_mode=schema_mode,
        writer_properties=WriterProperties(max_row_group_size=GROUP_ROWS, compression="SNAPPY"),
    )


def _properties(table: ModelTable) -> dict[str, str]:
    return {
        "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
        "delta.dataSkippingStatsColumns": ",".join(f"`{name}`" for name in table.bounded),
        # A checkpoint removes commits that are older, by default than 30 days.
        "delta.logRetentionDuration": f"interval {table.table.retention_days} days",
        "delta.deletedFileRetentionDuration": f"interval {table.table.retention_days} days",
    }


def _name(table: ModelTable | str) -> str:
    return table if isinstance(table, str) else table.name
