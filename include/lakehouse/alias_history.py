"""Which version was in production, from when to when, and by whom: periods without gap or overlap.

A period begins when it was begun, by the clock. Beside it stands the time of the model: the moment whose data the
version knew. Who asks for a partition of the past asks in that time: a replayed source lives years before the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse.decisions import Kind
from include.lakehouse.schemas import ALIAS_HISTORY
from include.lakehouse.tables import Lakehouse

PRODUCTION = "production"
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class AliasPeriod:
    """The time during which an alias named a version; ``valid_to`` is None while it still does."""

    model: str
    alias: str
    version: str
    valid_from: datetime
    """By the clock, UTC."""
    valid_to: datetime | None
    model_time: datetime
    """The moment whose data the version knew, UTC."""
    decision_id: str
    kind: str | None = None
    """Of the decision that began it; None of a period from before this was kept."""
    actor: str | None = None
    """Who began it, by name; None as above."""


def periods(lake: Lakehouse, model: str, alias: str = PRODUCTION) -> list[AliasPeriod]:
    """All periods of an alias, oldest first."""
    table = lake.read_if_exists(ALIAS_HISTORY.layer, where=[("model", "=", model), ("alias", "=", alias)])
    return [] if table is None else _periods(table)


def current(lake: Lakehouse, model: str, alias: str = PRODUCTION) -> AliasPeriod | None:
    """The period that has not ended."""
    return next((period for period in periods(lake, model, alias) if period.valid_to is None), None)


def former(lake: Lakehouse, model: str, alias: str = PRODUCTION) -> AliasPeriod | None:
    """The last period of the version that a roll-back goes to where none is named; None where there is none.

    A version that was rolled back from is none, nor is one that a roll-back went past.
    """
    kept: list[AliasPeriod] = []
    for period in periods(lake, model, alias):
        versions = [each.version for each in kept]
        if period.kind == Kind.ROLL_BACK and period.version in versions:
            kept = kept[: len(versions) - 1 - versions[::-1].index(period.version)]
        kept.append(period)
    others = [period for period in kept[:-1] if period.version != kept[-1].version]
    return others[-1] if others else None


def as_of(lake: Lakehouse, model: str, at: datetime, alias: str = PRODUCTION) -> AliasPeriod | None:
    """The last period of a version that knew nothing after a moment of the data (UTC), or None before the first."""
    known = [period for period in periods(lake, model, alias) if period.model_time <= at]
    return known[-1] if known else None


def begin(
    lake: Lakehouse,
    spec: ModelSpec,
    version: str,
    *,
    model_time: datetime,
    decision_id: str,
    kind: str | None = None,
    actor: str | None = None,
    at: datetime | None = None,
    alias: str = PRODUCTION,
    require: Callable[[AliasPeriod | None], None] = lambda running: None,
) -> None:
    """In one commit, end the running period and begin one of ``version``, unless it runs already.

    What runs is read in the commit that ends it: of two that begin at once none is lost. Where the clock of this
    machine is behind the one that began the running period, the new one begins right after it.

    Args:
        model_time: the moment whose data the version knew; in any order, also before the running period's.
        kind: of the decision that begins it.
        actor: who begins it, by name.
        at: now by default.
        require: raises where the period that runs then, if any, is not to end; asked again if another writer is first.

    Raises:
        DataError: a time has no zone.
    """
    asked = at or datetime.now(UTC)
    for moment in (asked, model_time):
        if moment.tzinfo is None:
            raise DataError(f"{moment.isoformat()} has no time zone", fix="Hand in a UTC time")
    table = ALIAS_HISTORY.of(spec)

    def with_period(rows: pa.Table) -> pa.Table:
        known = _periods(rows)
        running = next((period for period in known if period.alias == alias and period.valid_to is None), None)
        if running and running.version == version:
            return rows
        require(running)
        moment = max(asked, running.valid_from + _TICK) if running else asked
        ended = [replace(period, valid_to=moment) if period is running else period for period in known]
        begun = AliasPeriod(spec.name, alias, version, moment, None, model_time, decision_id, kind, actor)
        return pa.Table.from_pylist([asdict(period) for period in [*ended, begun]], schema=table.schema)

    lake.update(table, {"model": spec.name}, with_period)


def _periods(table: pa.Table) -> list[AliasPeriod]:
    return sorted((AliasPeriod(**row) for row in table.to_pylist()), key=lambda period: period.valid_from)
