"""Lengths of time as model.yaml writes them: ``28 days``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"hours": timedelta(hours=1), "days": timedelta(days=1), "weeks": timedelta(weeks=1)}
PATTERN = r"[1-9][0-9]{0,5} (hour|day|week)s?"


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


def said(length: timedelta) -> str:
    """A length of whole hours in words: ``28 days``, or ``36 hours``."""
    unit = "days" if length % UNITS["days"] == timedelta() else "hours"
    number = length / UNITS[unit]
    return f"{number:g} {unit if number != 1 else unit.removesuffix('s')}"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(said, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$", "examples": ["28 days", "6 hours"]}),
]
