"""Rows of a batch: their positions, the reasons that they have, and their cells from delivered text to typed column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.core.spec import ModelSpec
from include.ingestion import moments
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import TIMESTAMP, WORKING, typed_columns

Rows = npt.NDArray[np.int64]
"""Positions of rows in a batch, from 0, ascending."""
POSITION = f"{WORKING}position"
"""The column of them, where rows go through an engine."""
NO_ROWS: Rows = np.empty(0, dtype=np.int64)

_REASONS = {
    pa.int64(): Reason.NOT_AN_INTEGER,
    pa.float64(): Reason.NOT_A_NUMBER,
    pa.date32(): Reason.NOT_A_DATE,
    TIMESTAMP: Reason.NOT_A_TIMESTAMP,
    pa.bool_(): Reason.NOT_A_BOOLEAN,
}

# Plain decimal notation. Not taken: inf, nan, hexadecimal, thousands separators.
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# Some tools write 7.0 for 7 where a column has nulls.
_INTEGER = r"^[+-]?\d{1,19}(\.0*)?$"
BOOLEANS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "yes": True, "t": True, "y": True, "1": True}
    | {"false": False, "no": False, "f": False, "n": False, "0": False}
)
"""What a boolean is written as, in any case."""
_LEAST, _MOST = (pa.scalar(Decimal(bound), pa.decimal128(38)) for bound in (-(2**63), 2**63 - 1))


def ascending(*parts: Rows) -> Rows:
    """The rows of all parts, each once. By sorting: `numpy.unique` hashes (2.4), and takes a hundred times as long."""
    rows = np.sort(np.concatenate([NO_ROWS, *parts]), kind="stable")
    first = np.ones(rows.size, dtype=np.bool_)
    first[1:] = rows[1:] != rows[:-1]
    return rows[first]


def are_among(rows: Rows, others: Rows) -> npt.NDArray[np.bool_]:
    """Of each row whether it is one of the others, which are ascending."""
    if not others.size:
        return np.zeros(rows.size, dtype=np.bool_)
    places = np.minimum(np.searchsorted(others, rows), others.size - 1)
    found: npt.NDArray[np.bool_] = others[places] == rows
    return found


class RowReasons:
    """Reason codes by row position. Rows without a reason are not kept, so a clean batch costs nothing."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    def add(self, reason: str, rows: Iterable[int] | Rows) -> None:
        added = np.asarray(rows, dtype=np.int64)
        if added.size:
            self._rows[str(reason)] = ascending(self._rows.get(reason, NO_ROWS), added)

    def add_all(self, other: RowReasons) -> None:
        for reason, rows in other._rows.items():
            self.add(reason, rows)

    def of(self, positions: Rows) -> RowReasons:
        """The reasons of some rows, which are then counted from 0 in the order given."""
        some = RowReasons()
        for reason, rows in self._rows.items():
            some.add(reason, np.flatnonzero(are_among(positions, rows)))
        return some

    def counts(self) -> dict[str, int]:
        """Rows by reason."""
        return {reason: int(rows.size) for reason, rows in self._rows.items()}

    def rows_of(self, reason: str) -> Rows:
        """The rows that have one reason, ascending."""
        return self._rows.get(reason, NO_ROWS)

    def rows(self) -> Rows:
        """Every row that has a reason, once, ascending."""
        return ascending(*self._rows.values())

    def column(self) -> pa.ListArray:
        """The reasons of each row of ``rows()``, list<string>, in the order in which they were added."""
        rows = np.concatenate([NO_ROWS, *self._rows.values()])
        codes = np.repeat(np.arange(len(self._rows)), [found.size for found in self._rows.values()])
        counts = np.unique(rows, return_counts=True)[1]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        names = pa.array(list(self._rows), pa.string())
        return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(codes[np.argsort(rows, kind="stable")])))


@dataclass(frozen=True)
class Cast:
    """Typed columns, and the cells that are null there only because their value does not fit the type."""

    columns: pa.Table
    errors: dict[str, pa.BooleanArray]
    """By column, one flag a row. Only columns that have such cells."""


def error_reason(type_: pa.DataType, column: str) -> str:
    """The reason code of a cell of the column that does not fit its type, e.g. ``not_a_number:total_rooms``."""
    return _REASONS[type_].about(column)


@dataclass(frozen=True)
class Notation:
    """How the cells of a column are written, where that is not as usual."""

    null_values: frozenset[str] = frozenset()
    """Texts that stand for null, without spaces around."""
    format: str | None = None
    """Of dates and timestamps, as for ``strptime``; None for ISO 8601."""


def notations(spec: ModelSpec) -> dict[str, Notation]:
    """By column how its cells are written; only columns of which model.yaml says anything."""
    everywhere = spec.deliveries.null_values
    found = {
        name: Notation(frozenset(text.strip() for text in (*everywhere, *column.null_values)), column.format)
        for name, column in spec.columns.items()
    }
    others = {spec.target: Notation(frozenset(text.strip() for text in everywhere))}
    return {name: notation for name, notation in {**others, **found}.items() if notation != Notation()}


def cast_delivered(spec: ModelSpec, delivered: pa.Table) -> Cast:
    """Cast the columns of model.yaml as it says."""
    return cast(delivered, typed_columns(spec), notations(spec))


def cast(
    table: pa.Table,
    columns: Mapping[str, pa.DataType],
    written: Mapping[str, Notation] = MappingProxyType({}),
) -> Cast:
    """Cast the named columns of a table of strings, plain or in dictionaries.

    Null stays null; a column that is absent is all null. Spaces around a value that is no text are ignored. A number
    that is not finite as float64 does not fit.

    Args:
        columns: int64, float64, date32, timestamp, bool or string, by name (`schemas.typed_columns`).
        written: how their cells are written, where that is not as usual.
    """
    typed: dict[str, pa.Array] = {}
    errors: dict[str, pa.BooleanArray] = {}
    for name, type_ in columns.items():
        if name not in table.column_names:
            typed[name] = pa.nulls(table.num_rows, type_)
            continue
        delivered, notation = table[name].combine_chunks(), written.get(name, Notation())
        if notation.null_values:
            delivered = _without_nulls(delivered, notation, type_)
        typed[name] = _typed(delivered, type_, notation.format)
        present = _present(delivered)
        if typed[name].null_count > present.false_count:
            errors[name] = pc.and_(present, pc.is_null(typed[name]))
    return Cast(pa.table(typed, schema=pa.schema(list(columns.items()))), errors)


def _without_nulls(strings: pa.Array, notation: Notation, type_: pa.DataType) -> pa.Array:
    """Null where a cell is written as null is, or is a number that is: -999.0, where -999 stands for none."""
    if pa.types.is_dictionary(strings.type):
        values = _without_nulls(strings.dictionary, notation, type_)
        return pa.DictionaryArray.from_arrays(strings.indices, values)
    texts = pa.array(sorted(notation.null_values), strings.type)
    stands_for_null = pc.is_in(pc.utf8_trim_whitespace(strings), value_set=texts)
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        numbers = _typed(texts, type_).drop_null()
        if len(numbers):
            stands_for_null = pc.or_(stands_for_null, pc.is_in(_typed(strings, type_), value_set=numbers))
    return pc.if_else(stands_for_null, pa.scalar(None, strings.type), strings)


def _present(strings: pa.Array) -> pa.BooleanArray:
    """Arrow asks a dictionary's indices only, and they may name a null."""
    if pa.types.is_dictionary(strings.type) and strings.dictionary.null_count:
        strings = strings.cast(pa.string())
    return pc.is_valid(strings)


def _typed(strings: pa.Array, type_: pa.DataType, form: str | None = None) -> pa.Array:
    if pa.types.is_dictionary(strings.type):
        text = pa.types.is_string(type_)
        return strings.cast(type_) if text else _typed(strings.dictionary, type_, form).take(strings.indices)
    if pa.types.is_string(type_):
        return strings
    if pa.types.is_boolean(type_):
        return _booleans(strings)
    if pa.types.is_date(type_):
        return moments.days(strings, form)
    if pa.types.is_timestamp(type_):
        return moments.moments(strings, form)
    plainly = _all_plain(strings, type_)
    if plainly is not None:
        return plainly
    trimmed = pc.utf8_trim_whitespace(strings)
    fits = pc.match_substring_regex(trimmed, _INTEGER if pa.types.is_integer(type_) else _NUMBER)
    plain = pc.replace_substring_regex(pc.if_else(fits, trimmed, None), r"^\+", "")
    if pa.types.is_integer(type_):
        whole = pc.replace_substring_regex(plain, r"\..*$", "").cast(pa.decimal128(38))  # 19 digits may not fit 64 bits
        return pc.if_else(pc.and_(pc.less_equal(_LEAST, whole), pc.less_equal(whole, _MOST)), whole, None).cast(type_)
    numbers = plain.cast(type_)
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _all_plain(strings: pa.Array, type_: pa.DataType) -> pa.Array | None:
    """The values where all are written in the plainest way, as nearly always: many times faster than patterns."""
    try:
        if pa.types.is_floating(type_):
            numbers = strings.cast(type_)
            return numbers if pc.all(pc.is_finite(numbers)).as_py() in (True, None) else None
        longest = pc.max(pc.binary_length(strings)).as_py() or 0
        # Arrow also reads hexadecimal integers.
        if longest > 18 or _may_be_hexadecimal(strings):
            return None
        return strings.cast(type_)
    except pa.ArrowInvalid:
        return None


def _may_be_hexadecimal(strings: pa.Array) -> bool:
    """Whether an x is in the memory that the strings are a part of."""
    buffer = strings.buffers()[2]
    content = b"" if buffer is None else buffer.to_pybytes()
    return b"x" in content or b"X" in content


def _booleans(strings: pa.Array) -> pa.BooleanArray:
    written = pc.utf8_lower(pc.utf8_trim_whitespace(strings))
    places = pc.index_in(written, value_set=pa.array(list(BOOLEANS)))
    return pa.array(list(BOOLEANS.values())).take(places)
