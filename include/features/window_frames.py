"""The frames of window functions in features.sql: how far back they reach, and how Spark writes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal, InvalidOperation

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from include.core import duration
from include.core.errors import ConfigError
from include.core.files import read_text
from include.core.spec import ModelSpec
from include.lakehouse.schemas import EVENT_TIMESTAMP

_LENGTHS = {
    "MICROSECOND": timedelta(microseconds=1),
    "MILLISECOND": timedelta(milliseconds=1),
    "SECOND": timedelta(seconds=1),
    "MINUTE": timedelta(minutes=1),
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
    "WEEK": timedelta(weeks=1),
}
_AT_MOST = {**_LENGTHS, "MONTH": timedelta(days=31), "QUARTER": timedelta(days=92), "YEAR": timedelta(days=366)}
_BOUNDS = ("start", "end")


def check(spec: ModelSpec) -> None:
    """Refuse a frame that reaches back further than ``features.lookback``: it would be cut where the lookback begins.

    Frames of event times are seen whose bound is an interval of a number, as ``INTERVAL 7 DAYS PRECEDING``.

    Raises:
        ConfigError: naming the frame.
    """
    try:
        trees = sqlglot.parse(read_text(spec.folder / "features.sql"), read="duckdb")
    except SqlglotError:
        return  # `query.spark_sql` says so
    known = spec.features.lookback or timedelta()
    for frame in (frame for tree in trees if tree for frame in _ranges(tree) if _is_of_event_times(frame)):
        length = _length(frame.args["start"], _AT_MOST)
        if frame.args["start_side"] == "PRECEDING" and length is not None and length > known:
            there = f"is {duration.said(known)}" if known else "is not set, so that it sees its partition alone"
            raise ConfigError(
                f"a window begins {frame.args['start'].sql('duckdb')} PRECEDING, and features.lookback in model.yaml "
                f"{there}",
                where=spec.file("features.sql"),
                fix="Write features: {lookback: ...} of at least that length, or a shorter window",
            )


def for_spark(tree: exp.Expr) -> exp.Expr:
    """The statement with frames that Spark takes: the intervals of both bounds have to be of one type there.

    Raises:
        SqlglotError: a frame is bounded by a month or a year and by something shorter.
    """
    for frame in _ranges(tree):
        intervals = [name for name in _BOUNDS if isinstance(frame.args[name], exp.Interval)]
        lengths = {name: _length(frame.args[name], _LENGTHS) for name in intervals}
        if len({length is None for length in lengths.values()}) > 1:
            raise SqlglotError(f"Spark takes no frame of months and of something shorter: {frame.sql('duckdb')}")
        for name, length in lengths.items():
            if length is not None:
                frame.set(name, _in_days_and_seconds(length))
    return tree


def _ranges(tree: exp.Expr) -> Iterator[exp.WindowSpec]:
    return (frame for frame in tree.find_all(exp.WindowSpec) if frame.args["kind"] == "RANGE")


def _is_of_event_times(frame: exp.WindowSpec) -> bool:
    order = frame.parent.args.get("order") if frame.parent else None
    return order is not None and any(column.name.lower() == EVENT_TIMESTAMP for column in order.find_all(exp.Column))


def _length(bound: object, units: dict[str, timedelta]) -> timedelta | None:
    """The length of an interval; None of what is none of these units, or no number."""
    if not isinstance(bound, exp.Interval) or not isinstance(number := bound.this.unnest(), exp.Literal):
        return None
    unit = units.get(bound.text("unit").upper().removesuffix("S"))
    try:
        return unit * float(Decimal(number.name)) if unit is not None else None
    except InvalidOperation:
        return None


def _in_days_and_seconds(length: timedelta) -> exp.Interval:
    hours, seconds = divmod(length.seconds, 3600)
    text = f"{length.days} {hours:02}:{seconds // 60:02}:{seconds % 60:02}.{length.microseconds:06}"
    span = exp.IntervalSpan(this=exp.Var(this="DAY"), expression=exp.Var(this="SECOND"))
    return exp.Interval(this=exp.Literal.string(text), unit=span)
