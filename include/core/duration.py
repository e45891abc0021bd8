"""Lengths of time as model.yaml writes them: ``28 days``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"hours": timedelta(hours=1), "days": timedelta(days=1), "weeks": timedelta(weeks=1)}
PATTERN = r"[1-9][0-9]{0,5} (hour|day|week)s?"
MINUTE = timedelta(minutes=1)
WAIT_PATTERN = r"[1-9][0-9]{0,5} (minute|hour|day|week)s?"


def parse(text: object) -> timedelta:
    """The length that a text such as ``28 days`` says.

    Raises:
        ValueError: it is no whole number above 0 of hours, days or weeks.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is no number of hours, days or weeks above 0: write 28 days, or 6 hours")
    number, unit = text.split()
    return int(number) * UNITS[f"{unit.removesuffix('s')}s"]


def parse_wait(text: object) -> timedelta:
    """The length that a text such as ``30 minutes`` says: how long somebody has, not how far data reaches.

    Raises:
        ValueError: it is no whole number above 0 of minutes, hours, days or weeks.
    """
    if isinstance(text, str) and re.fullmatch(WAIT_PATTERN, text):
        number, unit = text.split()
        return int(number) * (UNITS | {"minutes": MINUTE})[f"{unit.removesuffix('s')}s"]
    if isinstance(text, timedelta):
        return text
    raise ValueError(f"{text!r} is no number of minutes, hours, days or weeks above 0: write 3 days, or 30 minutes")


def said(length: timedelta) -> str:
    """A length of whole minutes in words: ``28 days``, ``36 hours``, or ``90 minutes``."""
    units = UNITS | {"minutes": MINUTE}
    unit = next((name for name in ("days", "hours") if length % units[name] == timedelta()), "minutes")
    number = length / units[unit]
    return f"{number:g} {unit if number != 1 else unit.removesuffix('s')}"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(said, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$", "examples": ["28 days", "6 hours"]}),
]

Wait = Annotated[
    timedelta,
    BeforeValidator(parse_wait),
    PlainSerializer(said, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{WAIT_PATTERN}$", "examples": ["3 days", "30 minutes"]}),
]
"""How long somebody has."""
