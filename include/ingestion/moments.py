"""Days and moments, from the texts that say them. Each text that is there is read once: a column of days has few."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# A time of day that is none: spreadsheets and Parquet write days so.
_ISO_DAY = r"^\d{4}-\d\d-\d\d([T ]00:00(:00(\.0+)?)?Z?)?$"
# What Arrow reads, and a space before the zone: that a text is one does not depend on those beside it.
_ISO_MOMENT = r"^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,9})?)?)? ?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_FIRST_DAY = (date.min - date(1970, 1, 1)).days
_FIRST_MOMENT = _FIRST_DAY * 86_400_000_000
_UTC = pa.timestamp("us", tz="UTC")
_CHARACTERS = 64
"""No day or moment is longer: what is remembered of texts stays small."""


def days(texts: pa.Array, form: str | None) -> pa.Date32Array:
    """Days, date32; null where a text says none, or a time of day, too.

    Args:
        form: as for ``strptime``; None for ISO 8601.
    """
    if form is None:
        with suppress(pa.ArrowInvalid):
            found = texts.cast(pa.date32())
            # Arrow also reads a year 0.
            if len(texts) == found.null_count or pc.min(found.view(pa.int32())).as_py() >= _FIRST_DAY:
                return found
    return _each(texts, form, _day, pa.date32())


def moments(texts: pa.Array, form: str | None) -> pa.TimestampArray:
    """Moments, microseconds in UTC; null where a text says none. Without a zone they are UTC.

    Args:
        form: as for ``strptime``; None for ISO 8601.
    """
    if form is None:
        for type_ in (pa.timestamp("us"), _UTC):  # all without a zone, or all with one
            with suppress(pa.ArrowInvalid):
                found = texts.cast(type_).cast(_UTC)
                if len(texts) == found.null_count or pc.min(found.view(pa.int64())).as_py() >= _FIRST_MOMENT:
                    return found
    return _each(texts, form, _moment, _UTC)


def _each(texts: pa.Array, form: str | None, read: Callable[[str, str | None], Any], type_: pa.DataType) -> pa.Array:
    encoded = texts.dictionary_encode()
    values = [read(text, form) if len(text) <= _CHARACTERS else None for text in encoded.dictionary.to_pylist()]
    return pa.array(values, type_).take(encoded.indices)


@lru_cache(maxsize=1 << 16)
def _day(text: str, form: str | None) -> date | None:
    text = text.strip()
    try:
        if form is None:
            return date.fromisoformat(text[:10]) if re.fullmatch(_ISO_DAY, text, re.ASCII) else None
        at = datetime.strptime(text, form)  # noqa: DTZ007  (a day has no zone)
    except ValueError:
        return None
    return at.date() if at.time() == time.min and at.tzinfo is None else None


@lru_cache(maxsize=1 << 16)
def _moment(text: str, form: str | None) -> datetime | None:
    text = text.strip()
    try:
        if form is not None:
            at = datetime.strptime(text, form)  # noqa: DTZ007  (the line after the next gives it one)
        elif re.fullmatch(_ISO_MOMENT, text, re.ASCII):
            at = datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
        else:
            return None
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter: before the year 1, in UTC
        return None
