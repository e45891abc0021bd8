"""Which rows of a table are meant: of a read, a filter; of a write, the partition that it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow.compute as pc

from include.core.partition import Partition
from include.lakehouse.schemas import PARTITION
from include.lakehouse.writes import Scalar

Where = Sequence[tuple[str, str, object]]
"""``(column, operator, value)``: all of them hold for the rows that are read."""


def within(partition: Partition) -> Where:
    """The rows of a partition."""
    return [(PARTITION, "=", partition.key)]


def between(first: Partition, last: Partition) -> Where:
    """The rows of the partitions from ``first`` up to and with ``last``."""
    return [(PARTITION, ">=", first.key), (PARTITION, "<=", last.key)]


def expression(where: Where) -> pc.Expression:
    """The filter of a read."""
    found = pc.scalar(True)
    for column, operator, value in where:
        found = found & _OPERATORS[operator](pc.field(column), value)
    return found


_OPERATORS: Mapping[str, Callable[[pc.Expression, object], pc.Expression]] = {
    "=": lambda field, value: field == value,
    "!=": lambda field, value: field != value,
    "<": lambda field, value: field < value,
    "<=": lambda field, value: field <= value,
    ">": lambda field, value: field > value,
    ">=": lambda field, value: field >= value,
    # Without a value there is no type to compare with.
    "in": lambda field, values: field.isin(list(values)) if values else pc.scalar(False),  # type: ignore[call-overload]
}


def predicate(partition: Mapping[str, Scalar]) -> str:
    """What Delta is told a write replaces."""
    return " AND ".join(f"{column} = {_literal(value)}" for column, value in partition.items())


def _literal(value: Scalar) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
