"""Which version was in production, from when to when: intervals without gap or overlap."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime

import pyarrow as pa

from include.core.errors import DataError
from include.lakehouse.tables import Lakehouse

TABLE = "alias_history"
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("alias", pa.string()),
        ("version", pa.string()),
        ("valid_from", pa.timestamp("us", tz="UTC")),
        ("valid_to", pa.timestamp("us", tz="UTC")),
        ("decision_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Tenure:
    """The time during which an alias named a version; ``valid_to`` is None while it still does."""

    model: str
    alias: str
    version: str
    valid_from: datetime
    valid_to: datetime | None
    decision_id: str


def tenures(lake: Lakehouse, model: str, alias: str = "production") -> list[Tenure]:
    """All tenures of an alias, oldest first."""
    return [tenure for tenure in _read(lake, model) if tenure.alias == alias]


def current(lake: Lakehouse, model: str, alias: str = "production") -> Tenure | None:
    """The tenure that has not ended."""
    return next((tenure for tenure in tenures(lake, model, alias) if tenure.valid_to is None), None)


def as_of(lake: Lakehouse, model: str, at: datetime, alias: str = "production") -> Tenure | None:
    """The tenure that was running at a moment (UTC), or None before the first."""
    running = [
        tenure
        for tenure in tenures(lake, model, alias)
        if tenure.valid_from <= at and (tenure.valid_to is None or at < tenure.valid_to)
    ]
    return running[-1] if running else None


def check(lake: Lakehouse, model: str, at: datetime, alias: str = "production") -> None:
    """Refuse a moment at which no tenure can begin.

    Raises:
        DataError: ``at`` has no time zone, or lies before the running tenure began.
    """
    if at.tzinfo is None:
        raise DataError(f"{at.isoformat()} has no time zone", fix="Hand in a UTC time")
    running = current(lake, model, alias)
    if running and at < running.valid_from:
        raise DataError(
            f"version {running.version} is {alias} since {running.valid_from.isoformat()}, after {at.isoformat()}",
            where=TABLE,
            fix="Take the time of every promotion and roll-back from the same clock",
        )


def begin(lake: Lakehouse, model: str, version: str, at: datetime, decision_id: str, alias: str = "production") -> None:
    """In one commit, end the running tenure at ``at`` and begin one of ``version``, unless it runs already.

    The model's rows are read and replaced, so two promotions of one model must not run at once.

    Raises:
        DataError: as `check`.
    """
    check(lake, model, at, alias)
    rows = _read(lake, model)
    if any(row.alias == alias and row.valid_to is None and row.version == version for row in rows):
        return
    closed = [replace(row, valid_to=at) if row.alias == alias and row.valid_to is None else row for row in rows]
    content = [asdict(row) for row in [*closed, Tenure(model, alias, version, at, None, decision_id)]]
    lake.replace_partition(TABLE, pa.Table.from_pylist(content, schema=SCHEMA), {"model": model})


def _read(lake: Lakehouse, model: str) -> list[Tenure]:
    table = lake.read_if_exists(TABLE, where=[("model", "=", model)])
    rows = [] if table is None else [Tenure(**row) for row in table.select(SCHEMA.names).to_pylist()]
    # Of two tenures that begin together the ended one came first.
    return sorted(rows, key=lambda row: (row.valid_from, row.valid_to is None))
