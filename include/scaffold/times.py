"""Which column says when a row was so, and how long a partition may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from include.core.errors import UsageError
from include.core.partition import Grain
from include.scaffold.profile import Column, Profile

NONE = "none"
"""What TIME= says where no column is the time."""
HOURS = ("hr", "hour", "hour_of_day")
_ISO = r"^\d{4}-?\d\d-?\d\d"
_OTHER_FORMATS = ("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
_TRIED = 100
"""Rows that are read first: most columns of texts hold no times."""
_GAPS = ((Grain.DAY, pd.Timedelta(days=1)), (Grain.WEEK, pd.Timedelta(days=7)))


@dataclass(frozen=True)
class Times:
    """When each row was so."""

    columns: tuple[str, ...]
    """A column of dates or times, and perhaps one of hours."""
    values: pd.Series
    """One a row, UTC."""
    is_iso: bool
    """Whether they are written as ISO 8601 says: what ``ingestion.freshness`` can read."""

    @property
    def grain(self) -> Grain:
        """The shortest that has rows in most partitions; never an hour, which would be 24 runs a day."""
        days = self.values.dt.floor("D").drop_duplicates().sort_values()
        gap = days.diff().median()
        return next((grain for grain, most in _GAPS if pd.isna(gap) or gap <= most), Grain.MONTH)


def find(profile: Profile, given: Sequence[str] = ()) -> Times | None:
    """The times of the rows; None where no column has any.

    Args:
        given: names of the columns, or ``none``; nothing where they are to be guessed.

    Raises:
        UsageError: a given column has no times in some row, or times that can be read in two ways.
    """
    if list(given) == [NONE]:
        return None
    if given:
        return _of_given(profile, given)
    for column in profile.columns.values():
        if column.type in ("text", "date", "timestamp") and (times := parse(column)) is not None:
            return _joined(profile, column.name, _hours_beside(profile, times[0]), times)
    return None


def parse(column: Column) -> tuple[pd.Series, bool] | None:
    """The times in a column, and whether they are ISO 8601; None where a row has none, or two that differ."""
    if column.nulls or not len(column.texts):
        return None
    texts = column.texts.to_pandas()
    if texts.str.match(_ISO).all():
        found = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
        return (found, True) if found.notna().all() else None
    ways = [found for form in _OTHER_FORMATS if (found := _read(texts, form)) is not None]
    return (ways[0], False) if ways and all(ways[0].equals(other) for other in ways) else None


def _read(texts: pd.Series, form: str) -> pd.Series | None:
    """Times that are written in one way, with or without a clock; None where one is not."""
    for clock in _CLOCKS:
        some = pd.to_datetime(texts.head(_TRIED), format=form + clock, errors="coerce")
        found = pd.to_datetime(texts, format=form + clock, utc=True, errors="coerce") if some.notna().all() else some
        if found.notna().all():
            return found
    return None


def _of_given(profile: Profile, given: Sequence[str]) -> Times:
    fix = "Name a column of dates, or a column of dates and one of hours: TIME=day,hour; or none"
    if unknown := [name for name in given if name not in profile.columns]:
        raise UsageError(f"there is no column {unknown[0]}", where="TIME", fix=fix)
    if len(given) > 2 or (len(given) == 2 and not _is_hours(profile.columns[given[1]])):
        raise UsageError(f"{given[-1]} has no hours from 0 to 23", where="TIME", fix=fix)
    times = parse(profile.columns[given[0]])
    if times is None:
        what = f"{given[0]} has no date in some row, or dates that can be read in two ways"
        raise UsageError(what, where="TIME", fix="Have them delivered as 2025-01-31, or with a time: 2025-01-31T05:00")
    hours = given[1] if len(given) == 2 else _hours_beside(profile, times[0])
    return _joined(profile, given[0], hours, times)


def _joined(profile: Profile, date: str, hour: str | None, times: tuple[pd.Series, bool]) -> Times:
    values, is_iso = times
    if hour is None:
        return Times((date,), values, is_iso)
    return Times((date, hour), values + pd.to_timedelta(profile.columns[hour].numbers, unit="h"), is_iso)


def _hours_beside(profile: Profile, dates: pd.Series) -> str | None:
    """The column of hours that belongs to one of dates; None where those have a time of their own."""
    if not (dates == dates.dt.floor("D")).all():
        return None
    return next((name for name in HOURS if _is_hours(profile.columns.get(name))), None)


def _is_hours(column: Column | None) -> bool:
    if column is None or column.type != "integer" or column.nulls:
        return False
    return 0 <= column.low <= column.high <= 23 and column.distinct > 1
