"""When a day's data is known. All times are UTC and follow from the partition, never from the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from include.core.spec import ModelSpec


def day_start(day: date) -> datetime:
    """The event time of every row of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_end(day: date) -> datetime:
    """The last moment of a day, in the microseconds that tables keep: the next midnight belongs to the next day."""
    return known_after(day) - timedelta(microseconds=1)


def known_after(day: date) -> datetime:
    """The moment at which a day's rows are complete: the next midnight."""
    return day_start(day) + timedelta(days=1)


def labels_known_after(spec: ModelSpec, day: date) -> datetime:
    """The moment at which a day's labels have arrived, as far as the model's schedule promises."""
    return day_start(day) + timedelta(days=spec.deliveries.label_delay_days)
