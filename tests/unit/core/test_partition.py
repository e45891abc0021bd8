from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue, partition


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_the_last_moment_of_a_day_is_just_before_the_next_one(day: date) -> None:
    assert partition.day_end(day) + timedelta(microseconds=1) == partition.known_after(day)
    assert partition.known_after(day) == partition.day_start(day + timedelta(days=1))


def test_labels_are_known_after_the_delay_of_the_model() -> None:
    spec = catalogue.load("california_housing")
    assert partition.labels_known_after(spec, date(2025, 1, 31)) == datetime(2025, 2, 1, tzinfo=UTC)
