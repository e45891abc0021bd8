"""Feast's PostgreSQL online store with one row a key, written by COPY, never an older row over a newer one.

Feast keeps a row for every key *and feature* and writes them one by one, blindly: a day materialised again would
bring its old values back, and a million keys take minutes. Here a table ``<view>_rows`` holds one row a key: the
event time and a column a feature. The table that Feast's reads expect is a view on it, so every read is Feast's own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import Entity, FeatureView
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.repo_config import RepoConfig
from psycopg import Connection, sql
from pydantic import field_validator, model_validator

from feast_delta import encoding
from feast_delta.errors import ConfigError
from feast_delta.online.rows import Rows
from feast_delta.online.writer import Progress, RowWriter

KEY_COLUMNS = ("__entity_key", "__event_ts", "__created_ts")
NAME_BYTES = 63
"""PostgreSQL cuts longer names off."""
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
EPOCH = 946_684_800_000_000
"""PostgreSQL's, 2000-01-01, in microseconds since 1970."""
LAYOUT_LOCK = 4_210_000_002  # any number, the same in every process

CREATE = sql.SQL(
    "CREATE TABLE IF NOT EXISTS {rows} "
    "(__entity_key bytea PRIMARY KEY, __event_ts timestamptz NOT NULL, __created_ts timestamptz)"
)
# By default new pages are summarised once a fifth of the table is new: who asks for times reads all of them till then.
TIMES = sql.SQL(
    "CREATE INDEX IF NOT EXISTS {times} ON {rows} USING brin (__event_ts) "
    "WITH (autosummarize = on, pages_per_range = 32)"
)
VIEW = sql.SQL(
    "CREATE VIEW {view} AS SELECT held.__entity_key AS entity_key, of.feature_name, coalesce(of.value, '') AS value, "
    "held.__event_ts AS event_ts, held.__created_ts AS created_ts "
    "FROM {rows} AS held CROSS JOIN LATERAL (VALUES {features}) AS of (feature_name, value)"
)
ARRIVE = sql.SQL("CREATE TEMPORARY TABLE arrived ON COMMIT DROP AS SELECT {columns} FROM {rows} WITH NO DATA")
COPY = sql.SQL("COPY arrived ({columns}) FROM STDIN (FORMAT BINARY)")
# Ordered by key: two writers of the same keys wait for each other instead of blocking each other.
MERGE = sql.SQL(
    """
    INSERT INTO {rows} AS held ({columns})
    SELECT DISTINCT ON (__entity_key) {columns} FROM arrived
    ORDER BY __entity_key, __event_ts DESC, __created_ts DESC NULLS LAST
    ON CONFLICT (__entity_key) DO UPDATE SET {assignments}
    WHERE (held.__event_ts, coalesce(held.__created_ts, '-infinity'))
       <= (EXCLUDED.__event_ts, coalesce(EXCLUDED.__created_ts, '-infinity'))
    """
)

# A row that a writer holds is being replaced by a newer one.
REMOVE = sql.SQL(
    "DELETE FROM {rows} WHERE __entity_key IN "
    "(SELECT __entity_key FROM {rows} WHERE __event_ts < %s FOR UPDATE SKIP LOCKED)"
)


BETWEEN = sql.SQL("SELECT __entity_key FROM {rows} WHERE __event_ts BETWEEN %s AND %s")
TAKE_OUT = sql.SQL("DELETE FROM {rows} WHERE __event_ts BETWEEN %s AND %s AND __entity_key = ANY(%s)")


class PostgresOnlineStoreConfig(PostgreSQLOnlineStoreConfig):
    """The section ``online_store`` of feature_store.yaml: the keys of Feast's PostgreSQL online store."""

    @field_validator("type", mode="before")
    @classmethod
    def _as_feast_knows_it(cls, _: str) -> str:
        return "postgres"  # what its inherited methods expect; this class was found by the path in the file

    @model_validator(mode="after")
    def _no_vectors(self) -> PostgresOnlineStoreConfig:
        if self.vector_enabled or self.enable_openai_compatible_store:
            raise ValueError("this store writes no vectors: use Feast's own, type postgres")
        return self


class PostgresOnlineStore(RowWriter, PostgreSQLOnlineStore):
    """One row a key and feature view; reads are inherited."""

    def write_rows(
        self, config: RepoConfig, table: FeatureView, parts: Iterator[Rows], progress: Progress | None
    ) -> int:
        """Write in one transaction: all of it, or, after an error, nothing."""
        count = 0
        with self._arriving(config, table) as (cursor, copy_in), cursor.copy(copy_in) as copy:
            copy.write(SIGNATURE)
            for rows in parts:
                copy.write(copy_rows(rows))
                count += len(rows)
                if progress:
                    progress(len(rows))
            copy.write(END)
        return count

    def keys_between(self, config: RepoConfig, table: FeatureView, first: datetime, last: datetime) -> pa.Array:
        rows = _rows_of(config, table)
        with self._get_conn(config) as connection, connection.transaction():
            found = connection.execute(BETWEEN.format(rows=rows), (first, last)).fetchall()
        return pa.array([key for (key,) in found], pa.binary())

    def put_back(
        self, config: RepoConfig, table: FeatureView, keys: pa.Array, first: datetime, last: datetime, rows: Rows
    ) -> None:
        with self._arriving(config, table) as (cursor, copy_in):
            taken = TAKE_OUT.format(rows=_rows_of(config, table))
            cursor.execute(taken, (first, last, keys.to_pylist()))
            with cursor.copy(copy_in) as copy:
                for part in (SIGNATURE, copy_rows(rows), END):
                    copy.write(part)

    def remove_older(self, config: RepoConfig, table: FeatureView, before: datetime) -> None:
        rows = _rows_of(config, table)
        with self._get_conn(config) as connection, connection.transaction():
            connection.execute(REMOVE.format(rows=rows), (before,))

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the tables and views of the feature views; a new feature is null until it is materialised."""
        with self._get_conn(config) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LAYOUT_LOCK,))
            if config.online_store.db_schema:
                schema = sql.Identifier(config.online_store.db_schema)
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            for table in tables_to_delete:
                _drop(connection, _view_id(config, table))
            for table in tables_to_keep:
                _lay_out(connection, _view_id(config, table), [feature.name for feature in table.features])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        with self._get_conn(config) as connection, connection.transaction():
            for table in tables:
                _drop(connection, _view_id(config, table))

    @contextmanager
    def _arriving(self, config: RepoConfig, table: FeatureView) -> Iterator[tuple[Any, sql.Composed]]:
        """A transaction: what is copied in its body is merged at its end."""
        names = [*KEY_COLUMNS, *(feature.name for feature in table.features)]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        rows = _rows_of(config, table)
        assignments = sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in names[1:]
        )
        with self._get_conn(config) as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '64MB'")
            cursor.execute(ARRIVE.format(columns=columns, rows=rows))
            yield cursor, COPY.format(columns=columns)
            cursor.execute(MERGE.format(rows=rows, columns=columns, assignments=assignments))


def _view_id(config: RepoConfig, table: FeatureView) -> str:
    return str(compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning))


def _rows_id(view: str) -> str:
    return f"{view}_rows"


def _rows_of(config: RepoConfig, table: FeatureView) -> sql.Identifier:
    return sql.Identifier(_rows_id(_view_id(config, table)))


def _lay_out(connection: Connection, view: str, features: list[str]) -> None:
    for name in (_rows_id(view), *features):
        if len(name.encode()) > NAME_BYTES or name in KEY_COLUMNS:
            raise ConfigError(
                f"{name} is no name for a column of the online store",
                where=view,
                fix=f"Give it another of at most {NAME_BYTES} bytes",
            )
    rows = sql.Identifier(_rows_id(view))
    connection.execute(CREATE.format(rows=rows))
    connection.execute(TIMES.format(rows=rows, times=sql.Identifier(f"{_rows_id(view)}_at")))
    _drop_view(connection, view)
    found = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(rows)).description
    held = [column.name for column in found or ()]
    for name in set(held) - {*KEY_COLUMNS, *features}:
        # Left there, its old values would come back as new ones with a feature of that name.
        connection.execute(sql.SQL("ALTER TABLE {} DROP COLUMN {}").format(rows, sql.Identifier(name)))
    for name in features:
        if name not in held:
            connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} bytea").format(rows, sql.Identifier(name)))
    pairs = sql.SQL(", ").join(
        sql.SQL("({}, held.{})").format(sql.Literal(name), sql.Identifier(name)) for name in features
    )
    connection.execute(VIEW.format(view=sql.Identifier(view), rows=rows, features=pairs))


def _drop(connection: Connection, view: str) -> None:
    _drop_view(connection, view)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(_rows_id(view))))


def _drop_view(connection: Connection, view: str) -> None:
    """Drop the view; or the table that Feast's own store had there, whose values are materialised again."""
    held = connection.execute("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", (f'"{view}"',)).fetchone()
    if held:
        kind = sql.SQL("VIEW" if held[0] in ("v", b"v") else "TABLE")
        connection.execute(sql.SQL("DROP {} {}").format(kind, sql.Identifier(view)))


def copy_rows(rows: Rows) -> memoryview:
    """The rows as PostgreSQL's binary COPY takes them: the number of fields, then each field."""
    fields = [rows.keys, _times(rows.event_times), _times(rows.created_times), *rows.values]
    return encoding.content(encoding.rows(fields, head=struct.pack(">h", len(fields))))


def _times(column: pa.Array) -> pa.Array:
    """Times as ``timestamptz``."""
    since = column.cast(pa.int64()).fill_null(EPOCH).to_numpy(zero_copy_only=False) - EPOCH
    times = encoding.fixed(since.astype(np.dtype(">i8")))
    return pc.if_else(column.is_null(), None, times) if column.null_count else times
