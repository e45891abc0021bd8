"""From strings as delivered to the types of model.yaml, without losing a value that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from include.core.spec import ModelSpec

ColumnType = Literal["integer", "number", "text"]

_ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
}
_REASONS: dict[ColumnType, str] = {
    "integer": "not_an_integer",
    "number": "not_a_number",
    "text": "not_a_text",
}

# Plain decimal notation. Not taken: inf, nan, hexadecimal, thousands separators.
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# At most 18 digits, so that it fits 64 bits. Some tools write 7.0 for 7 where a column has nulls.
_INTEGER = r"^[+-]?\d{1,18}(\.0*)?$"


@dataclass(frozen=True)
class Cast:
    """Typed columns, and the cells that are null there only because their value does not fit the type."""

    columns: pa.Table
    misfits: dict[str, pa.BooleanArray]
    """By column, one flag a row. Only columns that have such cells."""


def types(spec: ModelSpec) -> dict[str, ColumnType]:
    return {name: column.type for name, column in spec.columns.items()}


def schema(columns: Mapping[str, ColumnType]) -> pa.Schema:
    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in columns.items()])


def reason(kind: ColumnType, column: str) -> str:
    """The reason code of a misfit, e.g. ``not_a_number:total_rooms``."""
    return f"{_REASONS[kind]}:{column}"


def cast(table: pa.Table, columns: Mapping[str, ColumnType]) -> Cast:
    """Cast the named columns of a table of strings, plain or in dictionaries.

    Null stays null; a column that is absent is all null. Spaces around a number are ignored. A number that is not
    finite as float64 does not fit.
    """
    typed: dict[str, pa.Array] = {}
    misfits: dict[str, pa.BooleanArray] = {}
    for name, kind in columns.items():
        if name not in table.column_names:
            typed[name] = pa.nulls(table.num_rows, _ARROW_TYPES[kind])
            continue
        delivered = table[name].combine_chunks()
        typed[name] = _typed(delivered, kind)
        if typed[name].null_count > delivered.null_count:
            misfits[name] = pc.and_(pc.is_valid(delivered), pc.is_null(typed[name]))
    return Cast(pa.table(typed, schema=schema(columns)), misfits)


def _typed(strings: pa.Array, kind: ColumnType) -> pa.Array:
    if pa.types.is_dictionary(strings.type):
        return strings.cast(pa.string()) if kind == "text" else _typed(strings.dictionary, kind).take(strings.indices)
    if kind == "text":
        return strings
    plainly = _all_plain(strings, kind)
    if plainly is not None:
        return plainly
    trimmed = pc.utf8_trim_whitespace(strings)
    fits = pc.match_substring_regex(trimmed, _INTEGER if kind == "integer" else _NUMBER)
    plain = pc.replace_substring_regex(pc.if_else(fits, trimmed, None), r"^\+", "")
    if kind == "integer":
        return pc.replace_substring_regex(plain, r"\..*$", "").cast(pa.int64())
    numbers = plain.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _all_plain(strings: pa.Array, kind: ColumnType) -> pa.Array | None:
    """The values where all are written in the plainest way, as nearly always: many times faster than patterns."""
    try:
        if kind == "number":
            numbers = strings.cast(pa.float64())
            return numbers if pc.all(pc.is_finite(numbers)).as_py() in (True, None) else None
        longest = pc.max(pc.binary_length(strings)).as_py() or 0
        # Arrow also reads hexadecimal integers, and those of 19 digits.
        if longest > 18 or _may_be_hexadecimal(strings):
            return None
        return strings.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def _may_be_hexadecimal(strings: pa.Array) -> bool:
    """Whether an x is in the memory that the strings are a part of."""
    buffer = strings.buffers()[2]
    content = b"" if buffer is None else buffer.to_pybytes()
    return b"x" in content or b"X" in content
