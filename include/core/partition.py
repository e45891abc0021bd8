"""Partitions: the slices of time that data comes in. Times are UTC and follow from the key, never from the clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import total_ordering
from typing import Self

from include.core.errors import DataError, UsageError


class Grain(StrEnum):
    """How long a partition is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


KEY_FORMATS = {Grain.HOUR: "%Y-%m-%dT%H", Grain.DAY: "%Y-%m-%d", Grain.WEEK: "%G-W%V", Grain.MONTH: "%Y-%m"}
"""``strftime`` formats of the keys. The keys of one grain sort as the partitions do."""
CRONS = {Grain.HOUR: "0 * * * *", Grain.DAY: "0 0 * * *", Grain.WEEK: "0 0 * * 1", Grain.MONTH: "0 0 1 * *"}
"""When a partition begins."""
EXAMPLES = {Grain.HOUR: "2025-01-31T05", Grain.DAY: "2025-01-31", Grain.WEEK: "2025-W05", Grain.MONTH: "2025-01"}
KEY_SHAPES = {
    Grain.HOUR: r"\d{4}-\d\d-\d\dT\d\d",
    Grain.DAY: r"\d{4}-\d\d-\d\d",
    Grain.WEEK: r"\d{4}-W\d\d",
    Grain.MONTH: r"\d{4}-\d\d",
}
"""Regular expressions of the keys."""
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
_TICK = timedelta(microseconds=1)


@total_ordering
@dataclass(frozen=True)
class Partition:
    """One slice of time: from ``start`` up to, and without, ``end``. Those of one grain are ordered."""

    grain: Grain
    start: datetime

    def __lt__(self, other: Partition) -> bool:
        if self.grain is not other.grain:
            raise DataError(
                f"{self}, a {self.grain}, and {other}, a {other.grain}, have no order",
                fix="Compare the start or the end of each",
            )
        return self.start < other.start

    @classmethod
    def parse(cls, key: str, grain: Grain) -> Self:
        """The partition of a key, e.g. ``2025-01-31``; a time that a partition starts at is taken, too, with its date
        and its minutes, as Airflow writes it. So no key of one grain is taken for one of another.

        Raises:
            UsageError: it is no key of this grain.
        """
        try:
            if re.fullmatch(KEY_SHAPES[grain], key, re.ASCII):
                return cls(grain, _start(key, grain))
            at = datetime.fromisoformat(key) if re.match(_TIME, key, re.ASCII) else None
            if at is not None and (found := cls.of(at, grain)).start == _utc(at):
                return found
        except (ValueError, OverflowError):
            pass
        raise UsageError(f"{key!r} is not the key of a {grain}", fix=f"A key looks like {EXAMPLES[grain]}")

    @classmethod
    def of(cls, at: datetime | date, grain: Grain) -> Self:
        """The partition that a moment is in; a time without a zone is UTC."""
        moment = _utc(at)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        starts = {
            Grain.HOUR: moment.replace(minute=0, second=0, microsecond=0),
            Grain.DAY: midnight,
            Grain.WEEK: midnight - timedelta(days=midnight.weekday()),
            Grain.MONTH: midnight.replace(day=1),
        }
        return cls(grain, starts[grain])

    def require_begun(self, at: datetime, where: str) -> None:
        """Refuse what is asked of a partition of the future.

        Raises:
            UsageError: it has not begun.
        """
        if self.start > at:
            raise UsageError(
                f"the partition key is {self.key!r}: that {self.grain} has not begun on {at:%Y-%m-%d %H:%M} UTC",
                where=where,
                fix="Take the key of one that has",
            )

    @property
    def key(self) -> str:
        return self.start.strftime(KEY_FORMATS[self.grain])

    def __str__(self) -> str:
        return self.key

    @property
    def end(self) -> datetime:
        """The start of the next one: the moment at which the rows of this one are complete."""
        return self.shift(1).start

    @property
    def last_moment(self) -> datetime:
        """The last moment within, in the microseconds that tables keep."""
        return self.end - _TICK

    def labels_available_at(self, delay: int) -> datetime:
        """The moment at which its labels have arrived, as far as the model's schedule promises.

        Args:
            delay: ``deliveries.label_delay`` of model.yaml, in partitions.
        """
        return self.shift(delay).start

    def shift(self, count: int) -> Partition:
        """The partition so many later; earlier where ``count`` is negative.

        Raises:
            UsageError: it is beyond the years 1 to 9999.
        """
        try:
            return self._shifted(count)
        except (OverflowError, ValueError):
            raise UsageError(f"there is no {self.grain} {count:+} from {self}", fix="Take another partition") from None

    def _shifted(self, count: int) -> Partition:
        if self.grain is Grain.MONTH:
            months = self.start.year * 12 + self.start.month - 1 + count
            return Partition(self.grain, self.start.replace(year=months // 12, month=months % 12 + 1))
        length = {Grain.HOUR: timedelta(hours=1), Grain.DAY: timedelta(days=1), Grain.WEEK: timedelta(weeks=1)}
        return Partition(self.grain, self.start + count * length[self.grain])

    def to(self, last: Partition) -> Iterator[Partition]:
        """This one and those after it, up to and with ``last``."""
        current = self
        while current <= last:
            yield current
            current = current.shift(1)


def _start(key: str, grain: Grain) -> datetime:
    text, form = (f"{key}-1", "%G-W%V-%u") if grain is Grain.WEEK else (key, KEY_FORMATS[grain])
    start = datetime.strptime(text, form).replace(tzinfo=UTC)
    # Python before 3.13 reads the 53rd week of a year that has 52 as the first one of the next.
    if start.strftime(KEY_FORMATS[grain]) != key:
        raise ValueError(key)
    return start


def _utc(at: datetime | date) -> datetime:
    if not isinstance(at, datetime):
        at = datetime.combine(at, time())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
