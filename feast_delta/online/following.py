"""The online store follows the table: what an interval of the table no longer has is not served either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from feast import FeatureStore, FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.key_encoding_utils import deserialize_entity_key

from feast_delta.errors import ConfigError
from feast_delta.online import rows
from feast_delta.online.rows import Rows
from feast_delta.online.writer import RowWriter
from feast_delta.point_in_time import FeatureRows, latest
from feast_delta.source import DeltaSource, scan, source_column

MICROSECOND = timedelta(microseconds=1)


def follow(store: FeatureStore, view: FeatureView, first: datetime, last: datetime) -> int:
    """Take out of the online store the rows of an interval whose keys the table no longer has in it.

    Each key gets back what the table has of it before the interval, within the view's time to live. Cut off and
    repeated, it leaves the same. The caller holds off whoever materialises meanwhile.

    Args:
        view: as it is registered; of a `DeltaSource`, in an online store of ours.
        last: belongs to the interval, as in ``materialize``.

    Returns:
        The number of keys that were served values of rows that are gone.
    """
    source, online = view.batch_source, store.provider.online_store
    if not isinstance(source, DeltaSource) or not isinstance(online, RowWriter):
        raise ConfigError(f"feature view {view.name} has no Delta table, or no online store of feast_delta")
    held = online.keys_between(store.config, view, first, last)
    if not len(held):
        return 0
    keys = _scanner(source, view, [], first, last).to_reader()
    there = pa.chunked_array([rows.keys_of(view, _renamed(source, batch)) for batch in keys], pa.binary())
    gone = held.filter(pc.invert(pc.is_in(held, value_set=there)))
    if len(gone):
        online.put_back(store.config, view, gone, first, last, _before(store, source, view, first, gone))
    return len(gone)


def _before(store: FeatureStore, source: DeltaSource, view: FeatureView, moment: datetime, keys: pa.Array) -> Rows:
    """The newest row of each of these keys from before a moment."""
    oldest = moment - view.ttl if view.ttl else None
    features = [source_column(source, feature.name) for feature in view.features]
    scanner = _scanner(source, view, features, oldest, moment - MICROSECOND, _columns(source, view, keys))
    wanted = FeatureRows(
        rows=scanner.to_reader(),
        keys=_join_keys(source, view),
        timestamp=source_column(source, source.timestamp_field),
        features=features,
        created=source_column(source, source.created_timestamp_column) if source.created_timestamp_column else None,
    )
    found = pa.Table.from_batches(latest(wanted, store.config.offline_store.duckdb_settings)).combine_chunks()
    (batch,) = found.to_batches() or [pa.RecordBatch.from_pylist([], found.schema)]
    return rows.from_batch(view, _renamed(source, batch)).of(keys)


def _scanner(
    source: DeltaSource,
    view: FeatureView,
    features: Sequence[str],
    first: datetime | None,
    last: datetime,
    keys: Mapping[str, pa.Array] | None = None,
) -> ds.Scanner:
    timestamp = source_column(source, source.timestamp_field)
    created = source_column(source, source.created_timestamp_column) if source.created_timestamp_column else None
    columns = [*_join_keys(source, view), *features, timestamp, *([created] if created else [])]
    return scan(source, source.open(), columns, timestamp, created, first, last, keys)


def _join_keys(source: DeltaSource, view: FeatureView) -> list[str]:
    return [source_column(source, name) for name in view.join_keys if name != DUMMY_ENTITY_ID]


def _columns(source: DeltaSource, view: FeatureView, keys: pa.Array) -> dict[str, pa.Array]:
    """The distinct values of serialised keys, by column of the table."""
    values: dict[str, set[int | str]] = {}
    for key in keys.to_pylist():
        message = deserialize_entity_key(key)
        for name, value in zip(message.join_keys, message.entity_values, strict=True):
            if name != DUMMY_ENTITY_ID:
                values.setdefault(name, set()).add(getattr(value, value.WhichOneof("val")))
    return {source_column(source, name): pa.array(sorted(values[name])) for name in view.join_keys if name in values}


def _renamed(source: DeltaSource, batch: pa.RecordBatch) -> pa.RecordBatch:
    """With the names of the feature view."""
    return batch.rename_columns([source.field_mapping.get(name, name) for name in batch.schema.names])
