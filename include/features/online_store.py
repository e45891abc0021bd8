"""Feast's PostgreSQL online store, written by COPY, and never an older value over a newer one.

Feast's own writes row by row and blindly: a day materialised again would bring its old values back. It also
hands PostgreSQL event times without a zone, which the server reads in its own. Tables and reads are Feast's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from psycopg import sql
from pydantic import field_validator, model_validator

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

ARRIVE = sql.SQL("CREATE TEMPORARY TABLE arrived (LIKE {table}) ON COMMIT DROP")
COPY = sql.SQL(
    "COPY arrived (entity_key, feature_name, value, value_text, event_ts, created_ts) FROM STDIN (FORMAT BINARY)"
)
COPY_TYPES = ("bytea", "text", "bytea", "text", "timestamptz", "timestamptz")
# Ordered by key: two writers of the same keys wait for each other instead of blocking each other.
MERGE = sql.SQL(
    """
    INSERT INTO {table} AS held (entity_key, feature_name, value, value_text, event_ts, created_ts)
    SELECT DISTINCT ON (entity_key, feature_name)
        entity_key, feature_name, value, value_text, event_ts, created_ts
    FROM arrived
    ORDER BY entity_key, feature_name, event_ts DESC, created_ts DESC NULLS LAST
    ON CONFLICT (entity_key, feature_name) DO UPDATE SET
        value = EXCLUDED.value, value_text = EXCLUDED.value_text,
        event_ts = EXCLUDED.event_ts, created_ts = EXCLUDED.created_ts
    WHERE (held.event_ts, coalesce(held.created_ts, '-infinity'))
       <= (EXCLUDED.event_ts, coalesce(EXCLUDED.created_ts, '-infinity'))
    """
)


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


class PostgresOnlineStore(PostgreSQLOnlineStore):
    """Rows of (entity key, feature name, value, event time), one table per feature view."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write values in one transaction; a value that is held with a later event time stays."""
        versioning = config.registry.enable_online_feature_view_versioning
        name = sql.Identifier(compute_table_id(config.project, table, versioning))
        with self._get_conn(config) as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute(ARRIVE.format(table=name))
            with cursor.copy(COPY) as copy:
                copy.set_types(COPY_TYPES)
                for row in _values(data, config.entity_key_serialization_version):
                    copy.write_row(row)
            cursor.execute(MERGE.format(table=name))
        if progress:
            progress(len(data))


def _values(data: list[Row], key_version: int) -> Iterator[tuple[object, ...]]:
    for entity_key, values, event_time, created_time in data:
        key = serialize_entity_key(entity_key, entity_key_serialization_version=key_version)
        event, created = _utc(event_time), _utc(created_time) if created_time else None
        for feature, value in values.items():
            text, _ = extract_text_and_num(value, False)
            yield key, feature, value.SerializeToString(), text, event, created


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
