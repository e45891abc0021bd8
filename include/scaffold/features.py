"""The features that a draft selects, and the columns that it leaves out, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import duckdb

from include.core.category import Category
from include.scaffold import determined, names
from include.scaffold.guess import Guess
from include.scaffold.profile import MOST_CATEGORIES, Column, Profile

LEAST_SHARE = 0.5
"""Of the rows that the texts have which are named, where not all are: those of free text, or names, hardly repeat."""


@dataclass(frozen=True)
class Feature:
    """One line of the SELECT."""

    name: str
    sql: str
    description: str
    """Empty where it is a delivered column."""


@dataclass(frozen=True)
class Selection:
    features: tuple[Feature, ...]
    categories: Mapping[str, Guess[Category]]
    """By text column among them."""
    left_out: Mapping[str, str]
    """By column the reason; no key is among them."""
    given_away: Mapping[str, str]
    """Those of them that say what the target is."""


def select(profile: Profile, target: Column, keys: tuple[Column, ...], dates: tuple[str, ...]) -> Selection:
    """Choose the features among the columns of a file.

    Args:
        dates: columns that say when a row was so.
    """
    named = {target.name, *(key.name for key in keys)}
    others = {name: column for name, column in profile.columns.items() if name not in named}
    numbers = {name: column.numbers for name, column in others.items() if column.is_of_numbers}
    categories = {name: found for name, column in others.items() if (found := _category(column))}
    known = {
        name: column.codes
        for name, column in others.items()
        if (column.type != "text" or name in categories) and name not in dates[:1]
    }
    given_away = determined.find(numbers, known, target.name, target.numbers)
    left_out = {
        name: reason
        for name, column in others.items()
        if (reason := given_away.get(name) or _reason(column, name in dates[:1]))
    }
    taken = set(profile.columns)
    features = [feature for name, column in others.items() if name not in left_out for feature in _of(column, taken)]
    categories = {name: found for name, found in categories.items() if name not in left_out}
    return Selection(tuple(features), categories, left_out, given_away)


def _category(column: Column) -> Guess[Category] | None:
    """What is declared of a text column; None of what is none, or has too many texts."""
    if column.type != "text" or column.personal or not column.distinct:
        return None
    values = tuple(sorted(list(column.categories)[:MOST_CATEGORIES]))
    if column.distinct <= MOST_CATEGORIES:
        return Guess(Category(values=values, unseen="missing"), "all that the file has")
    share = _share_of_most_frequent(column)
    if share < LEAST_SHARE:
        return None
    said = f"the {MOST_CATEGORIES} most frequent of {column.distinct} texts, {share:.1%} of the rows that have one"
    return Guess(Category(values=values, unseen="other"), said)


def _share_of_most_frequent(column: Column) -> float:
    """Of the rows with a text those with one of the most frequent texts."""
    rows = list(column.categories.values())
    return sum(rows[:MOST_CATEGORIES]) / sum(rows)


def _reason(column: Column, is_date: bool) -> str:
    if column.personal:
        return f"it may be personal data: {column.personal}"
    if is_date:
        return "it is the time of the row"
    if not column.distinct:
        return "it has no value"
    if column.distinct == 1:
        return "it has one value only"
    if column.type == "text" and _category(column) is None:
        return (
            f"it has {column.distinct} different texts, and the {MOST_CATEGORIES} most frequent are "
            f"{_share_of_most_frequent(column):.1%} of the rows: name in features.categories those that matter"
        )
    return ""


def _of(column: Column, taken: set[str]) -> list[Feature]:
    """A column of numbers or texts as it is; of a date its year and its month, of a timestamp its hour, too.

    A boolean is 1 or 0.
    """
    if column.is_of_numbers or column.type == "text":
        return [Feature(column.name, quoted(column.name), "")]
    if column.type == "boolean":
        return [Feature(column.name, f"CAST({quoted(column.name)} AS INTEGER) AS {quoted(column.name)}", "")]
    return [
        Feature(
            name := names.unused(f"{column.name}_{part}", taken),
            f"EXTRACT({part.upper()} FROM {quoted(column.name)}) AS {name}",
            f"{part.capitalize()} of {column.name}",
        )
        for part in ("year", "month", "hour")[: 3 if column.type == "timestamp" else 2]
    ]


def quoted(name: str) -> str:
    """The name of a column in SQL: in quotes where it is a word of SQL's own."""
    return f'"{name}"' if name in _words() else name


@cache
def _words() -> frozenset[str]:
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        return frozenset(str(word) for (word,) in rows.fetchall())
