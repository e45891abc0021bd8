"""The features that a draft selects, and the columns that it leaves out, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import duckdb

from include.scaffold import determined, names
from include.scaffold.profile import MOST_CATEGORIES, Column, Profile


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
    known = {
        name: column.codes
        for name, column in others.items()
        if (column.type != "text" or _is_encoded(column)) and name not in dates[:1]
    }
    given_away = determined.find(numbers, known, target.name, target.numbers)
    left_out = {
        name: reason
        for name, column in others.items()
        if (reason := given_away.get(name) or _reason(column, name in dates[:1]))
    }
    taken = set(profile.columns)
    features = [feature for name, column in others.items() if name not in left_out for feature in _of(column, taken)]
    return Selection(tuple(features), left_out, given_away)


def _is_encoded(column: Column) -> bool:
    return column.type == "text" and not column.personal and 0 < column.distinct <= MOST_CATEGORIES


def _reason(column: Column, is_date: bool) -> str:
    if column.personal:
        return f"it may be personal data: {column.personal}"
    if is_date:
        return "it is the time of the row"
    if not column.distinct:
        return "it has no value"
    if column.distinct == 1:
        return "it has one value only"
    if column.type == "text" and column.distinct > MOST_CATEGORIES:
        return f"it has {column.distinct} different texts: encode them as numbers in SQL to use it"
    return ""


def _of(column: Column, taken: set[str]) -> list[Feature]:
    """A column of numbers as it is; of texts one feature for each value, one alone where there are two.

    Of a date its year and its month, of a timestamp its hour, too, of a boolean 1 or 0.
    """
    if column.is_of_numbers:
        return [Feature(column.name, quoted(column.name), "")]
    if column.type == "boolean":
        return [Feature(column.name, f"CAST({quoted(column.name)} AS INTEGER) AS {quoted(column.name)}", "")]
    if column.type in ("date", "timestamp"):
        return [
            Feature(
                name := names.unused(f"{column.name}_{part}", taken),
                f"EXTRACT({part.upper()} FROM {quoted(column.name)}) AS {name}",
                f"{part.capitalize()} of {column.name}",
            )
            for part in ("year", "month", "hour")[: 3 if column.type == "timestamp" else 2]
        ]
    values = sorted(column.categories)
    found = []
    for value in values[1:] if len(values) == 2 and not column.nulls else values:
        name = names.unused(f"{column.name}_{names.ending(value) or 'other'}", taken)
        text = value.replace("'", "''")
        sql = f"CASE WHEN {quoted(column.name)} = '{text}' THEN 1 ELSE 0 END AS {name}"
        found.append(Feature(name, sql, f"1 if {column.name} is {value}"))
    return found


def quoted(name: str) -> str:
    """The name of a column in SQL: in quotes where it is a word of SQL's own."""
    return f'"{name}"' if name in _words() else name


@cache
def _words() -> frozenset[str]:
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        return frozenset(str(word) for (word,) in rows.fetchall())
