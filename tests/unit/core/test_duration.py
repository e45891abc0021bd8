from __future__ import annotations

from datetime import timedelta

import pytest

from include.core import duration


@pytest.mark.parametrize(
    ("text", "length", "said"),
    [
        ("28 days", timedelta(days=28), "28 days"),
        ("1 day", timedelta(days=1), "1 day"),
        ("2 weeks", timedelta(days=14), "14 days"),
        ("1 hour", timedelta(hours=1), "1 hour"),
        ("36 hours", timedelta(hours=36), "36 hours"),
        ("48 hours", timedelta(days=2), "2 days"),
    ],
)
def test_a_length_is_read_and_said(text: str, length: timedelta, said: str) -> None:
    assert duration.parse(text) == length
    assert duration.said(length) == said
    assert duration.parse(said) == length


@pytest.mark.parametrize(
    "text", ["28", "days", "-1 days", "0 days", "1.5 days", "3 months", "28days", "28 days ", "1000000 days", 28, None]
)
def test_what_is_no_length_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no number of hours, days or weeks above 0: write 28 days"):
        duration.parse(text)


@pytest.mark.parametrize(
    ("text", "length", "said"),
    [
        ("30 minutes", timedelta(minutes=30), "30 minutes"),
        ("1 minute", timedelta(minutes=1), "1 minute"),
        ("90 minutes", timedelta(minutes=90), "90 minutes"),
        ("120 minutes", timedelta(hours=2), "2 hours"),
        ("3 days", timedelta(days=3), "3 days"),
    ],
)
def test_a_wait_is_read_and_said(text: str, length: timedelta, said: str) -> None:
    assert duration.parse_wait(text) == length
    assert duration.said(length) == said
    assert duration.parse_wait(said) == length


@pytest.mark.parametrize("text", ["30 seconds", "0 minutes", "soon", 3, None])
def test_what_is_no_wait_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no number of minutes, hours, days or weeks above 0: write 3 days"):
        duration.parse_wait(text)
