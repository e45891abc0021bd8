"""The point-in-time join, on Arrow tables: for every entity row the newest feature row valid at its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

TIMESTAMP = pa.timestamp("us", tz="UTC")
BATCH_ROWS = 65_536
SEEN, RANK = "__seen_from", "__rank"


@dataclass(frozen=True)
class FeatureRows:
    """The rows of one feature view, with the names of their columns.

    Args:
        rows: read once, so a reader will do. The times are microseconds in UTC.
        keys: names in ``rows`` of the columns to join by; none where the view has no entity.
        created: name of the column that says when a row became known; breaks ties of the event time.
    """

    rows: pa.Table | pa.RecordBatchReader
    keys: Sequence[str]
    timestamp: str
    features: Sequence[str]
    created: str | None = None
    ttl: timedelta | None = None


def join(
    keys: Sequence[pa.ChunkedArray],
    at: pa.ChunkedArray,
    view: FeatureRows,
    *,
    known_then: bool = False,
    settings: Mapping[str, str] | None = None,
) -> pa.Table:
    """Features of one view for every entity row, in the order of the entity rows.

    A feature row is valid at ``t`` if ``t - ttl <= timestamp <= t``; the newest valid one is taken, of
    several with the same time the one created last. A null key matches nothing.

    Args:
        keys: values of the entity rows, one array for each of ``view.keys``.
        at: times of the entity rows, in UTC, in microseconds or nanoseconds, never null.
        known_then: leave out feature rows that were created after the entity row's time.
        settings: of DuckDB, e.g. ``memory_limit``.

    Returns:
        A table of the view's features, one row per entity row; null where no feature row is valid.
    """
    entities = pa.table(
        {
            **{f"key_{number}": values for number, values in enumerate(keys)},
            "at": to_microseconds(at),
            "at_least": to_microseconds(at, up=True),
            "position": pa.array(range(len(at)), pa.int64()),
        }
    )
    with duckdb.connect(config={"python_enable_replacements": False, **(settings or {})}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("entities", entities)
        connection.register("feature_rows", view.rows)
        return connection.sql(_sql(view, known_then)).to_arrow_table()


def latest(view: FeatureRows, settings: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
    """The newest row of every key, in batches: the keys, the features and the times. There is always one batch."""
    names = [*view.keys, *view.features, view.timestamp, *([view.created] if view.created else [])]
    order = f"{quoted(view.timestamp)} DESC" + (f", {quoted(view.created)} DESC NULLS LAST" if view.created else "")
    partition = f"PARTITION BY {', '.join(quoted(key) for key in view.keys)} " if view.keys else ""
    with duckdb.connect(config={"python_enable_replacements": False, **(settings or {})}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("feature_rows", view.rows)
        reader = connection.sql(
            f"SELECT {', '.join(quoted(name) for name in names)} FROM feature_rows "
            f"QUALIFY row_number() OVER ({partition}ORDER BY {order}) = 1"
        ).to_arrow_reader(BATCH_ROWS)
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)  # so that the columns are known without rows
        yield from reader


def _sql(view: FeatureRows, known_then: bool) -> str:
    timestamp = f"f.{quoted(view.timestamp)}"
    seen = f"f.{SEEN}" if view.created else timestamp
    matches = [f"e.key_{number} = f.{quoted(key)}" for number, key in enumerate(view.keys)]
    ttl = view.ttl // timedelta(microseconds=1) if view.ttl else 0
    valid = f"{timestamp} >= e.at_least - to_microseconds({ttl})" if ttl else "true"
    columns = [f"CASE WHEN {valid} THEN f.{quoted(name)} END AS {quoted(name)}" for name in view.features]
    rows = f"({_seen_rows(view, known_then)})" if view.created else "feature_rows"
    return (
        f"SELECT {', '.join(columns)} FROM entities AS e ASOF LEFT JOIN {rows} AS f "
        f"ON {' AND '.join([*matches, f'e.at >= {seen}'])} ORDER BY e.position"
    )


def _seen_rows(view: FeatureRows, known_then: bool) -> str:
    """Rows that are at some moment the newest of their key, with the moment from which they are.

    A row is seen from its event time on, or (``known_then``) from when it was both valid and created. A row
    outranked by then (by a later event time; at the same time, created later) is never the answer, so it is
    left out: what remains can be joined by ASOF on that moment alone.
    """
    assert view.created is not None
    timestamp, created = quoted(view.timestamp), quoted(view.created)
    partition = f"PARTITION BY {', '.join(quoted(key) for key in view.keys)} " if view.keys else ""
    seen = f"greatest({timestamp}, {created})" if known_then else timestamp
    known = f"WHERE {created} IS NOT NULL" if known_then else ""
    return (
        f"SELECT * FROM (SELECT *, {seen} AS {SEEN}, "
        f"row_number() OVER ({partition}ORDER BY {timestamp}, {created} NULLS FIRST) AS {RANK} "
        f"FROM feature_rows {known}) "
        f"QUALIFY {RANK} = max({RANK}) OVER ({partition}ORDER BY {SEEN})"
    )


def to_microseconds(at: pa.ChunkedArray, *, up: bool = False) -> pa.ChunkedArray:
    """Times in microseconds, rounded down or up.

    Feature times are whole microseconds, so rounding a finer entity time the right way changes no comparison.
    """
    if at.type == TIMESTAMP:
        return at
    rounded = pc.ceil_temporal(at, unit="microsecond") if up else pc.floor_temporal(at, unit="microsecond")
    return rounded.cast(TIMESTAMP)


def quoted(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
