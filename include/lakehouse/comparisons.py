"""Every candidate that was compared with a version in production: rows of ``comparison_<model>``.

They number the candidates. Beside each version in production a candidate has one number, and keeps it, whatever run
compares it again. The number is given in the commit that records it, so no two candidates have the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import pyarrow as pa

from include.core.spec import ModelSpec
from include.lakehouse.schemas import COMPARISON, RUN_ID
from include.lakehouse.tables import Lakehouse

ALL = "all"
"""The slice that is no slice: all rows."""


class Finding(StrEnum):
    """What a comparison found."""

    BETTER = "better"
    NOT_SURELY_BETTER = "not_surely_better"
    SURELY_TOO_LITTLE = "surely_too_little"
    """Better, but the gain is surely below the least that matters."""
    SURELY_WORSE = "surely_worse"
    """A slice that is surely worse by more than the margin."""


@dataclass(frozen=True)
class Comparison:
    """A candidate beside the version in production, on the same rows. Gains are in the metric's unit."""

    candidate: str
    production_version: str
    number: int
    """Of the candidate, among those that were compared with that version, from 1."""
    metric: str
    rows: int
    gain: float
    """Positive where the candidate is better."""
    lower_bound: float
    """Of the true gain: above it with probability ``alpha``."""
    upper_bound: float
    """Of the true gain: below it with probability ``alpha``."""
    alpha: float
    minimum_gain: float
    """The least that matters; of a slice the margin by which it may be worse, below 0."""
    detectable_gain: float
    """The true gain that would have been seen with a power of 80 %."""
    outcome: Finding
    slice: str = ALL
    """Such as ``median_income 2.56 to 4.74``."""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """From its fields as plain values."""
        return cls(**{**row, "outcome": Finding(row["outcome"])})


class NumberTaken(Exception):
    """Another candidate was recorded first: the number, and with it alpha, is the next one."""


def read(spec: ModelSpec, lake: Lakehouse, production_version: str) -> list[Comparison]:
    """What was compared with a version, by number; a candidate that several runs compared is there for each.

    Of each its comparison on all rows, and those slice by slice.
    """
    where = [("production_version", "=", production_version)]
    rows = lake.read_if_exists(COMPARISON.of(spec), where=where)
    found = [] if rows is None else rows.drop_columns([RUN_ID]).to_pylist()
    return sorted(map(Comparison.read, found), key=lambda item: (item.number, item.slice != ALL))


def number_of(candidate: str, earlier: Iterable[tuple[str, int]]) -> int:
    """The number of a candidate: its own, or the next one.

    Args:
        earlier: the candidates that were compared with the version in production, and their numbers.
    """
    numbers = dict(earlier)
    return numbers.get(candidate) or max(numbers.values(), default=0) + 1


def record(spec: ModelSpec, lake: Lakehouse, found: Sequence[Comparison], run_id: str) -> None:
    """Write what a run has found of a candidate; the same run again replaces its own rows.

    Args:
        found: the one on all rows, or those of slices, or both; of one candidate, by one number.

    Raises:
        NumberTaken: the candidate's number is another one by now. Nothing is written.
    """
    table, (first, *_) = COMPARISON.of(spec), found
    replaced = {item.slice == ALL for item in found}

    def with_row(rows: pa.Table) -> pa.Table:
        known = rows.to_pylist()
        earlier = ((row["candidate"], row["number"]) for row in known)
        if number_of(first.candidate, earlier) != first.number:
            raise NumberTaken
        own = [{**asdict(item), RUN_ID: run_id} for item in found]
        others = [
            row
            for row in known
            if (row["candidate"], row[RUN_ID]) != (first.candidate, run_id) or (row["slice"] == ALL) not in replaced
        ]
        return pa.Table.from_pylist([*others, *own], schema=table.schema)

    lake.update(table, {"production_version": first.production_version}, with_row)
