"""Every candidate that was compared with a version in production: rows of ``comparison_<model>``.

They number the candidates. Beside each version in production a candidate has one number, and keeps it, whatever run
compares it again. The number is given in the commit that records it, so no two candidates have the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

import pyarrow as pa

from include.core.spec import ModelSpec
from include.lakehouse.schemas import COMPARISON, RUN_ID
from include.lakehouse.tables import Lakehouse


class Finding(StrEnum):
    """What a comparison found."""

    BETTER = "better"
    NOT_SURELY_BETTER = "not_surely_better"
    SURELY_TOO_LITTLE = "surely_too_little"
    """Better, but the gain is surely below the least that matters."""


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
    alpha: float
    minimum_gain: float
    """The least that matters."""
    detectable_gain: float
    """The true gain that would have been seen with a power of 80 %."""
    outcome: Finding


class NumberTaken(Exception):
    """Another candidate was recorded first: the number, and with it alpha, is the next one."""


def read(spec: ModelSpec, lake: Lakehouse, production_version: str) -> list[Comparison]:
    """What was compared with a version, by number; a candidate that several runs compared is there for each."""
    where = [("production_version", "=", production_version)]
    rows = lake.read_if_exists(COMPARISON.of(spec), where=where)
    found = [] if rows is None else rows.drop_columns([RUN_ID]).to_pylist()
    made = (Comparison(**row | {"outcome": Finding(row["outcome"])}) for row in found)
    return sorted(made, key=lambda item: item.number)


def number_of(candidate: str, earlier: Iterable[tuple[str, int]]) -> int:
    """The number of a candidate: its own, or the next one.

    Args:
        earlier: the candidates that were compared with the version in production, and their numbers.
    """
    numbers = dict(earlier)
    return numbers.get(candidate) or max(numbers.values(), default=0) + 1


def record(spec: ModelSpec, lake: Lakehouse, comparison: Comparison, run_id: str) -> None:
    """Write what a run has found; the same run again replaces its own row.

    Raises:
        NumberTaken: the candidate's number is another one by now. Nothing is written.
    """
    table = COMPARISON.of(spec)

    def with_row(rows: pa.Table) -> pa.Table:
        known = rows.to_pylist()
        earlier = ((row["candidate"], row["number"]) for row in known)
        if number_of(comparison.candidate, earlier) != comparison.number:
            raise NumberTaken
        own = {**asdict(comparison), RUN_ID: run_id}
        others = [row for row in known if (row["candidate"], row[RUN_ID]) != (comparison.candidate, run_id)]
        return pa.Table.from_pylist([*others, own], schema=table.schema)

    lake.update(table, {"production_version": comparison.production_version}, with_row)
