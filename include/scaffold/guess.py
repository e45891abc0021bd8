"""What a file seems to be about: each guess with its reason, which a person reviews."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.errors import UsageError
from include.core.partition import Grain, Partition
from include.core.sections import Task
from include.core.text import shown
from include.lakehouse.schemas import ROW_NUMBER
from include.scaffold import names, times
from include.scaffold.profile import Column, Profile
from include.scaffold.source import Source
from include.scaffold.times import Times

T = TypeVar("T")

GIVEN = "given"
"""The reason of what the person said."""
TARGETS = ("target", "label", "y", "class", "outcome", "response")
ENDS_OF_KEYS = ("id", "key", "number", "no", "uuid", "index")
MOST_GUESSED_CLASSES = 20
MOST_SHOWN = 5
MOST_PARTS = 12
"""Columns of which pairs are tried as a key that is suggested."""


@dataclass(frozen=True)
class Guess(Generic[T]):
    """A value, and why."""

    value: T
    reason: str

    @property
    def mark(self) -> str:
        """What a comment beside it says."""
        return GIVEN if self.reason == GIVEN else f"guessed: {self.reason}"


@dataclass(frozen=True)
class Wanted:
    """What the person says instead of a guess; empty where it is to be guessed."""

    target: str = ""
    keys: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    grain: str = ""
    task: str = ""

    def by_name(self, sources: Mapping[str, str]) -> Wanted:
        """The same, where a column may be called as its file does."""
        named = {header: name for name, header in sources.items()}
        keys, time = (tuple(named.get(column, column) for column in some) for some in (self.keys, self.time))
        keys = self.keys if self.keys == (ROW_NUMBER,) else keys  # no column, also where one is called so
        return replace(self, target=named.get(self.target, self.target), keys=keys, time=time)


def target(profile: Profile, wanted: Wanted) -> Guess[Column]:
    """The column that is to be predicted.

    Raises:
        UsageError: none can be guessed, or it holds no numbers.
    """
    found = Guess(_column(profile, wanted.target, "TARGET"), GIVEN) if wanted.target else _guessed_target(profile)
    column = found.value
    if not column.is_of_numbers and column.has_decimal_commas:
        raise UsageError(
            f"{column.name} has numbers with a decimal comma",
            where="TARGET",
            fix="Have them delivered with a point: 6.71. So for each column of such numbers",
        )
    if not column.is_of_numbers:
        listed = ", ".join(map(shown, column.categories))
        values = f" ({listed})" if column.distinct <= MOST_SHOWN and not column.personal else ""
        raise UsageError(
            f"{column.name} has texts{values}, and a label is a number",
            where="TARGET",
            fix="Have classes delivered as whole numbers from 0: no as 0, yes as 1",
        )
    if column.distinct < 2:
        raise UsageError(f"{column.name} has one value only", where="TARGET", fix="Name a column that varies")
    return found


def _guessed_target(profile: Profile) -> Guess[Column]:
    for name, column in profile.columns.items():
        if name.lower() in TARGETS:
            return Guess(column, "its name says so")
    last = list(profile.columns.values())[-1]
    if last.is_of_numbers and not last.is_running and last.distinct > 1:
        return Guess(last, "the last column, as usual, and it holds numbers")
    numbers = [name for name, column in profile.columns.items() if column.is_of_numbers and not column.is_running]
    commas = [name for name, column in profile.columns.items() if column.has_decimal_commas]
    if commas:
        raise UsageError(
            f"the numbers of {', '.join(commas)} have a decimal comma",
            where="DATA",
            fix="Have them delivered with a point: 6.71",
        )
    raise UsageError(
        "no column looks like what is to be predicted",
        where="TARGET",
        fix=f"Name one: TARGET={numbers[-1] if numbers else '…'}. "
        + (f"The columns of numbers are {', '.join(numbers)}" if numbers else "It has to hold numbers, and none does"),
    )


def task(column: Column, wanted: Wanted) -> Guess[Task]:
    """Whether a number or a class is predicted, by the values of the target.

    Raises:
        UsageError: there is no such task, or the values are no classes of it.
    """
    values = np.unique(column.numbers[np.isfinite(column.numbers)])
    whole = bool((values % 1 == 0).all())
    if wanted.task:
        if wanted.task not in set(Task):
            raise UsageError(f"{wanted.task!r} is no task", where="TASK", fix=f"Use one of {', '.join(Task)}")
        found = Task(wanted.task)
        are_classes = whole and values[0] >= 0 and (found is not Task.BINARY or values[-1] <= 1)
        if found is not Task.REGRESSION and not are_classes:
            classes = "0 and 1" if found is Task.BINARY else "whole numbers from 0"
            what = f"the values of {column.name} are not {classes}, as classes are"
            raise UsageError(what, where="TASK", fix="Have them delivered so, or name another task")
        return Guess(found, GIVEN)
    if whole and values.tolist() == [0, 1]:
        return Guess(Task.BINARY, f"{column.name} is 0 or 1")
    if whole and values.tolist() == list(range(len(values))) and len(values) <= MOST_GUESSED_CLASSES:
        return Guess(Task.MULTICLASS, f"{column.name} has the {len(values)} whole numbers from 0 to {values[-1]:g}")
    return Guess(Task.REGRESSION, f"{column.name} has {len(values)} different numbers")


def time(profile: Profile, target: str, wanted: Wanted) -> Guess[Times | None]:
    """When each row was so.

    Raises:
        UsageError: as `times.find`.
    """
    others = Profile(profile.rows, {name: item for name, item in profile.columns.items() if name != target})
    found = times.find(others, wanted.time)
    if wanted.time:
        return Guess(found, GIVEN)
    if found is None:
        return Guess(None, "no column has a date in every row")
    date, *hours = found.columns
    said = f"{date} has dates" + (f", and {hours[0]} the hours of a day" if hours else "")
    return Guess(found, f"{said}, from {found.values.min():%Y-%m-%d} to {found.values.max():%Y-%m-%d}")


def grain(when: Times | None, wanted: Wanted) -> Guess[Grain]:
    """How long a partition is.

    Raises:
        UsageError: there is no such grain.
    """
    if wanted.grain:
        if wanted.grain not in set(Grain):
            raise UsageError(f"{wanted.grain!r} is no grain", where="GRAIN", fix=f"Use one of {', '.join(Grain)}")
        return Guess(Grain(wanted.grain), GIVEN)
    if when is None:
        return Guess(Grain.DAY, "the rows have no time")
    found = when.grain
    return Guess(found, f"{when.columns[0]} has rows of nearly each {found}")


def keys(
    profile: Profile, target: str, when: Times | None, length: Grain, wanted: Wanted, source: Source
) -> Guess[tuple[Column, ...]]:
    """The columns that name a row, together.

    Raises:
        UsageError: the given ones do not, or only a person can tell which do.
    """
    others = {name: column for name, column in profile.columns.items() if name != target}
    if wanted.keys == (ROW_NUMBER,):
        return Guess(_place(profile), GIVEN)
    if wanted.keys:
        return Guess(_given_keys(profile, target, when, length, wanted.keys), GIVEN)
    dates = set(when.columns) if when else set()
    named = [column for name, column in others.items() if column.is_key and not column.personal and name not in dates]
    tests: Sequence[tuple[Callable[[Column], bool], str]] = (
        (lambda column: column.is_running, "it numbers the rows"),
        (lambda column: column.name.split("_")[-1] in ENDS_OF_KEYS, "its name says so, and no two rows share a value"),
    )
    for test, reason in tests:
        if found := next((column for column in named if test(column)), None):
            return Guess((found,), reason)
    return _without_key(profile, others, when, length, source)


def _given_keys(
    profile: Profile, target: str, when: Times | None, length: Grain, given: Sequence[str]
) -> tuple[Column, ...]:
    found = tuple(_column(profile, name, "KEYS") for name in given)
    for column in found:
        problem = (
            "is the target" if column.name == target
            else "holds numbers with fractions, and a key is of whole numbers or texts" if column.type == "number"
            else f"has no value in {column.nulls} rows" if column.nulls
            else f"may be personal data: {column.personal}" if column.personal
            else ""
        )  # fmt: skip
        if problem:
            raise UsageError(f"{column.name} {problem}", where="KEYS", fix="Name columns that name each row")
    if not _name_rows(found, when, length):
        within = f" of one {length}" if when else ""
        raise UsageError(
            f"two rows{within} have the same {', '.join(given)}",
            where="KEYS",
            fix="Name more columns: KEYS=store_id,product_id",
        )
    return found


def _name_rows(columns: Sequence[Column], when: Times | None, length: Grain) -> bool:
    """Whether no two rows, of one partition where they have a time, have the same values."""
    frame = pd.DataFrame({column.name: column.texts.to_pandas() for column in columns})
    if frame.duplicated().any() and when is not None:
        frame["__partition"] = [Partition.of(at, length).key for at in when.values]
    return not frame.duplicated().any()


def _without_key(
    profile: Profile, others: Mapping[str, Column], when: Times | None, length: Grain, source: Source
) -> Guess[tuple[Column, ...]]:
    """A key that is made of each row's place in its delivery.

    Raises:
        UsageError: columns would do, if they name a row in every later delivery, too: only a person knows.
    """
    parts = [
        column
        for column in others.values()
        if column.type != "number" and not column.nulls and not column.personal and column.distinct > 1
    ][:MOST_PARTS]
    sets: list[tuple[Column, ...]] = [(column,) for column in parts if _name_rows((column,), when, length)]
    sets = sets or [pair for pair in combinations(parts, 2) if _name_rows(pair, when, length)]
    fits = [f"KEYS={','.join(column.name for column in some)}" for some in sets[:3]]
    if fits:
        raise UsageError(
            "no column numbers or names the rows",
            where=source.name,
            fix=f"If they name a row in every later delivery, too, take {' or '.join(fits)}. If none does, take "
            f"KEYS={ROW_NUMBER}: then a row is named by its place, and its label by the same place among the labels",
        )
    return Guess(_place(profile), "no column names the rows: they are told by their place, and so are their labels")


def _place(profile: Profile) -> tuple[Column, ...]:
    texts = pa.chunked_array([pa.array(np.arange(1, profile.rows + 1)).cast(pa.string())])
    name = names.unused("row_id", set(profile.columns))
    return (Column(name, "text", name, texts, "", generated=True),)


def _column(profile: Profile, name: str, where: str) -> Column:
    if name not in profile.columns:
        raise UsageError(f"there is no column {name}", where=where, fix=f"The columns are {', '.join(profile.columns)}")
    return profile.columns[name]
