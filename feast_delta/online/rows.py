"""Rows of a feature view as an online store keeps them: keys and values in Feast's stored form, and their times.

A row is whole: a feature that it does not have is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from feast_delta import encoding
from feast_delta.errors import ConfigError

Message = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""A row as Feast hands it over: key, values by feature, event time, created time."""


@dataclass(frozen=True)
class Rows:
    """Columns of one length."""

    keys: pa.Array
    """Serialised entity keys."""
    event_times: pa.Array
    """UTC, microseconds."""
    created_times: pa.Array
    """The same; null where there is none."""
    values: tuple[pa.Array, ...]
    """A column of serialised values for each feature, in the order of the view; a null value is an empty message."""

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, keys: pa.Array) -> Rows:
        """Those of some keys, in the order of these; a key without a row has none."""
        places = pc.index_in(keys, value_set=self.keys).drop_null()
        return Rows(
            self.keys.take(places),
            self.event_times.take(places),
            self.created_times.take(places),
            tuple(column.take(places) for column in self.values),
        )

    def parts(self, rows: int) -> Iterator[Rows]:
        """The same rows, at most so many at a time."""
        for start in range(0, len(self), rows):
            yield Rows(
                self.keys.slice(start, rows),
                self.event_times.slice(start, rows),
                self.created_times.slice(start, rows),
                tuple(column.slice(start, rows) for column in self.values),
            )


def from_batch(table: FeatureView, batch: pa.RecordBatch) -> Rows:
    """Rows of a batch that has the columns of the view.

    Raises:
        DataError: a key is null.
    """
    source = table.batch_source
    if source is None:
        raise ConfigError(f"feature view {table.name} has no source to take its times from")
    created = source.created_timestamp_column
    return Rows(
        keys_of(table, batch),
        batch.column(source.timestamp_field).cast(encoding.TIMESTAMP),
        batch.column(created).cast(encoding.TIMESTAMP) if created else pa.nulls(batch.num_rows, encoding.TIMESTAMP),
        tuple(encoding.values(batch.column(item.name), item.dtype.to_value_type()) for item in table.features),
    )


def keys_of(table: FeatureView, batch: pa.RecordBatch) -> pa.Array:
    """Serialised keys of a batch that has the join keys of the view.

    Raises:
        DataError: a key is null.
    """
    names = [column.name for column in table.entity_columns]
    kinds = [column.dtype.to_value_type() for column in table.entity_columns]
    if names == [DUMMY_ENTITY_ID]:
        return encoding.entity_keys(names, [pa.repeat(DUMMY_ENTITY_VAL, batch.num_rows)], [ValueType.STRING])
    return encoding.entity_keys(names, [batch.column(name) for name in names], kinds)


def from_messages(table: FeatureView, messages: Sequence[Message], key_version: int) -> Rows:
    """Rows of Feast's messages."""
    keys = [serialize_entity_key(key, entity_key_serialization_version=key_version) for key, *_ in messages]
    empty = Value()
    return Rows(
        pa.array(keys, pa.binary()),
        pa.array([_utc(at) for _, _, at, _ in messages], encoding.TIMESTAMP),
        pa.array([_utc(at) if at else None for *_, at in messages], encoding.TIMESTAMP),
        tuple(
            pa.array([values.get(item.name, empty).SerializeToString() for _, values, *_ in messages], pa.binary())
            for item in table.features
        ),
    )


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
