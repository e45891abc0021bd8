"""A column of a delivery: its type, and how its cells are written."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from include.core.text import is_one_line


def _one_line(text: str) -> str:
    """A header as it stands in a file, without what no header shows."""
    if not is_one_line(text):
        raise ValueError("has a line break, or another control character: have the header delivered without it")
    return text


def _says(form: str, at: datetime) -> bool:
    """Whether what is written by a format is read as the same moment again."""
    try:
        return datetime.strptime(at.strftime(form), form).replace(tzinfo=None) == at  # noqa: DTZ007
    except ValueError:
        return False


def _as_text(value: object) -> object:
    """``-999`` needs no quotes."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_PERSONAL_NAMES = re.compile(
    r"(^|_)(first_?name|last_?name|full_?name|surname|e?mail|phone|mobile|ssn|passport|iban|dob|birth_?(day|date)"
    r"|date_of_birth)($|_)"
)
SourceName = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
"""A column's name in the delivered files, exactly as it stands there."""
NullValue = Annotated[str, BeforeValidator(_as_text), WithJsonSchema({"type": ["string", "number"]})]
"""A text that stands for no value. Spaces around it do not count; case does."""


def has_personal_name(column: str) -> bool:
    """Whether a column's name says that it holds personal data: ``email``, ``date_of_birth``, ``last_name``."""
    return _PERSONAL_NAMES.search(column.lower()) is not None


class Column(BaseModel, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """A column of a delivery."""

    type: Literal["integer", "number", "text", "date", "timestamp", "boolean"]
    """A boolean is true, yes, t, y, 1 or false, no, f, n, 0, in any case. A timestamp without a zone is UTC."""
    description: str
    source: SourceName | None = None
    """Its name in the delivered files, where that is another: spaces, dots, capitals, exactly as it stands there."""
    null_values: tuple[NullValue, ...] = ()
    """What stands for no value here, besides the empty cell and ``deliveries.null_values``: ``[-999]``."""
    format: str | None = None
    """Of dates and timestamps, as for ``strptime``: ``"%d.%m.%Y %H:%M"``. By default they are ISO 8601: 2025-01-31."""
    generated: Literal["row_number"] | None = None
    """Of a key that no column is: it is not delivered, but made of the partition and the row's place in its delivery,
    over all files in the order of their names, from 1: ``2025-01-31/17``. The labels are delivered in the same order,
    one for each row. Where a batch comes again with other rows, or in another order, its labels are taken out until
    they come again, too."""
    pii: bool = False
    """Personal data: never in features, pages, logs or plots."""

    @field_validator("format")
    @classmethod
    def _says_a_day(cls, form: str | None) -> str | None:
        """What is written by it is read as the same day again, on every machine."""
        if form is not None and "%Z" in form:
            raise ValueError(f"{form!r} has names of zones, which each machine reads otherwise: have +01:00 sent, %z")
        if form is not None and "%p" in form and "%I" not in form:
            raise ValueError(f"{form!r} reads AM and PM, and an hour that does not heed them: write %I instead of %H")
        for day in (datetime(2001, 12, 31), datetime(1999, 2, 3)):  # noqa: DTZ001  (a day has no zone)
            if form is not None and not _says(form, day):
                raise ValueError(f"{form!r} does not say year, month and day: '%d.%m.%Y' does")
        return form

    @model_validator(mode="after")
    def _nothing_delivered(self) -> Column:
        if self.generated and (self.type != "text" or self.source or self.null_values or self.pii):
            raise ValueError("a generated column is of type text; it has no source, null_values or pii")
        return self

    @model_validator(mode="after")
    def _format_of_its_type(self) -> Column:
        if self.format is None:
            return self
        if self.type not in ("date", "timestamp"):
            raise ValueError(f"format is of dates and timestamps, and the type is {self.type}")
        if self.type == "timestamp" and not _says(self.format, datetime(2001, 12, 31, 23)):  # noqa: DTZ001
            raise ValueError(f"{self.format!r} does not say the hour: '%d.%m.%Y %H:%M' does. A day is of type date")
        return self
