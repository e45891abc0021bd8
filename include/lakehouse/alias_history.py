"""Which version was in production, from when to when: periods without gap or overlap."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime

import pyarrow as pa

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse.schemas import ALIAS_HISTORY
from include.lakehouse.tables import Lakehouse

PRODUCTION = "production"


@dataclass(frozen=True)
class AliasPeriod:
    """The time during which an alias named a version; ``valid_to`` is None while it still does."""

    model: str
    alias: str
    version: str
    valid_from: datetime
    valid_to: datetime | None
    decision_id: str


def periods(lake: Lakehouse, model: str, alias: str = PRODUCTION) -> list[AliasPeriod]:
    """All periods of an alias, oldest first."""
    table = lake.read_if_exists(ALIAS_HISTORY.layer, where=[("model", "=", model), ("alias", "=", alias)])
    return [] if table is None else _periods(table)


def current(lake: Lakehouse, model: str, alias: str = PRODUCTION) -> AliasPeriod | None:
    """The period that has not ended."""
    return next((period for period in periods(lake, model, alias) if period.valid_to is None), None)


def as_of(lake: Lakehouse, model: str, at: datetime, alias: str = PRODUCTION) -> AliasPeriod | None:
    """The period that was running at a moment (UTC), or None before the first."""
    running = [
        period
        for period in periods(lake, model, alias)
        if period.valid_from <= at and (period.valid_to is None or at < period.valid_to)
    ]
    return running[-1] if running else None


def check(lake: Lakehouse, model: str, at: datetime, alias: str = PRODUCTION) -> None:
    """Refuse a moment at which no period can begin.

    Raises:
        DataError: ``at`` has no time zone, or lies before the running period began.
    """
    _check(current(lake, model, alias), at)


def begin(
    lake: Lakehouse, spec: ModelSpec, version: str, at: datetime, decision_id: str, alias: str = PRODUCTION
) -> None:
    """In one commit, end the running period at ``at`` and begin one of ``version``, unless it runs already.

    What runs is read in the commit that ends it: of two that begin at once none is lost.

    Raises:
        DataError: as `check`.
    """
    table = ALIAS_HISTORY.of(spec)

    def with_period(rows: pa.Table) -> pa.Table:
        known = _periods(rows)
        running = next((period for period in known if period.alias == alias and period.valid_to is None), None)
        if running and running.version == version:
            return rows
        _check(running, at)
        closed = [replace(period, valid_to=at) if period is running else period for period in known]
        begun = AliasPeriod(spec.name, alias, version, at, None, decision_id)
        return pa.Table.from_pylist([asdict(period) for period in [*closed, begun]], schema=table.schema)

    lake.update(table, {"model": spec.name}, with_period)


def _check(running: AliasPeriod | None, at: datetime) -> None:
    if at.tzinfo is None:
        raise DataError(f"{at.isoformat()} has no time zone", fix="Hand in a UTC time")
    if running and at < running.valid_from:
        raise DataError(
            f"version {running.version} is {running.alias} since {running.valid_from.isoformat()}, after {at}",
            where=ALIAS_HISTORY.layer,
            fix="Take the time of every promotion and roll-back from the same clock",
        )


def _periods(table: pa.Table) -> list[AliasPeriod]:
    rows = [AliasPeriod(**row) for row in table.to_pylist()]
    # Of two periods that begin together the ended one came first.
    return sorted(rows, key=lambda row: (row.valid_from, row.valid_to is None))
