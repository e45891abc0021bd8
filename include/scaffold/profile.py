"""What each column of a file holds, as far as a draft needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.core.column import has_personal_name
from include.core.errors import UsageError
from include.evaluation.metrics import Floats
from include.ingestion.rows import Cast, Notation, cast
from include.ingestion.scan import looks_personal
from include.lakehouse.schemas import COLUMN_TYPES
from include.scaffold.source import Source

Type = Literal["integer", "number", "text", "date", "timestamp", "boolean"]
LEAST_ROWS = 30
"""Fewer say nothing about what their columns hold."""
MOST_CAST_ERRORS = 0.05
"""Share of cells that are no number, or date, up to which a column is one of them."""
NULL_TEXTS = ("na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".")
"""What tools write for no value, in any case."""
NULL_NUMBERS = (-999, -9999, -99999)
"""The same where there are numbers."""
_FAR = 3
"""Times the range of all other values: nothing that is measured is as far from them."""
FORMATS = (None, "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y")
"""Of dates; None is ISO 8601."""
CLOCKS = ("%H:%M", "%H:%M:%S")
"""After a date, of timestamps that are not ISO 8601."""
_TRIED = 100
"""Values that are read first: most columns of texts hold no dates."""
MOST_CATEGORIES = 20
"""Texts that are named one by one."""
_DECIMAL_COMMA = r"^\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+\s*$"
_NUMBERS: tuple[Type, ...] = ("integer", "number")
_LEADING_ZERO = r"^[+-]?0\d"
_PARQUET: Mapping[str, Type] = {
    **dict.fromkeys(("int", "uint"), "integer"),
    **dict.fromkeys(("float", "double", "halffloat", "decimal"), "number"),
    **dict.fromkeys(("string", "large_string", "dictionary", "null"), "text"),
    "date": "date",
    "timestamp": "timestamp",
    "bool": "boolean",
}
"""By the start of the Arrow type's name; ingestion takes no others."""


@dataclass(frozen=True)
class Column:
    """One column of the file."""

    name: str
    type: Type
    header: str
    """What the file calls it."""
    texts: pa.ChunkedArray
    """Its cells as they are in the file."""
    personal: str
    """Why its values may be personal data; empty where nothing says so."""
    notation: Notation = field(default_factory=Notation)
    """How its cells are written, where that is not as usual."""
    generated: bool = False
    """Whether it is a key that no file has: each row's place."""

    @cached_property
    def _cast(self) -> Cast:
        return cast(pa.table({self.name: self.texts}), {self.name: COLUMN_TYPES[self.type]}, {self.name: self.notation})

    @cached_property
    def cast_errors(self) -> int:
        """Cells that are no value of the type."""
        return int(self._cast.errors[self.name].true_count) if self._cast.errors else 0

    @cached_property
    def numbers(self) -> Floats:
        """One a row, not a number where there is none: of dates the day, of timestamps the microsecond, of booleans
        0 or 1, of texts what is one."""
        if self.type == "text":
            typed = cast(pa.table({self.name: self.texts}), {self.name: pa.float64()}).columns[self.name]
        else:
            typed = self._cast.columns[self.name]
            typed = typed.cast(pa.int32()) if self.type in ("date", "boolean") else typed
            typed = typed.cast(pa.int64()) if self.type == "timestamp" else typed
        return np.asarray(typed.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)

    @cached_property
    def codes(self) -> Floats:
        """Its values as numbers: texts numbered in the order in which they come, not a number where there is none."""
        if self.type != "text":
            return self.numbers
        codes = pd.factorize(self.texts.to_pandas())[0].astype(np.float64)
        codes[codes < 0] = np.nan
        return codes

    @property
    def is_of_numbers(self) -> bool:
        return self.type in _NUMBERS

    @property
    def has_decimal_commas(self) -> bool:
        """Whether its texts are numbers, written with a comma where a point is read."""
        texts = self.texts.drop_null()
        return bool(len(texts)) and bool(pc.all(pc.match_substring_regex(texts, _DECIMAL_COMMA)).as_py())

    @cached_property
    def null_values(self) -> dict[str, int]:
        """The texts that stand for no value, each with its rows."""
        bare = pc.utf8_trim_whitespace(self.texts)
        counts = {text: int(pc.sum(pc.equal(bare, text)).as_py() or 0) for text in sorted(self.notation.null_values)}
        numbers = cast(pa.table({self.name: self.texts}), {self.name: pa.float64()}).columns[self.name]
        for text in set(counts) & set(map(str, NULL_NUMBERS)):
            counts[text] = int(pc.sum(pc.equal(numbers, float(text))).as_py() or 0)
        return counts

    @property
    def nulls(self) -> int:
        return int(self._cast.columns[self.name].null_count) - self.cast_errors

    @cached_property
    def categories(self) -> dict[str, int]:
        """Its different texts, each with its rows, the most frequent first."""
        return {str(value): int(rows) for value, rows in self.texts.to_pandas().value_counts().items()}

    @cached_property
    def distinct(self) -> int:
        """How many different values it has, null not counted."""
        if self.type == "text":
            return int(pc.count_distinct(self._cast.columns[self.name]).as_py())
        return len(np.unique(self.numbers[np.isfinite(self.numbers)]))

    @property
    def low(self) -> float:
        return float(np.nanmin(self.numbers))

    @property
    def high(self) -> float:
        return float(np.nanmax(self.numbers))

    @property
    def is_key(self) -> bool:
        """Whether each row has a value of its own."""
        return (
            self.type in ("integer", "text")
            and not self.nulls
            and not self.cast_errors
            and self.distinct == len(self.texts)
        )

    @property
    def is_running(self) -> bool:
        """Whether it numbers the rows."""
        return self.type == "integer" and self.is_key and self.high - self.low == len(self.texts) - 1


@dataclass(frozen=True)
class Profile:
    """All columns of a file, by name."""

    rows: int
    columns: Mapping[str, Column]

    def with_texts(self, names: Iterable[str]) -> Profile:
        """The same, where some columns are texts if they are no numbers: what a key is of."""
        others = {
            name: replace(self.columns[name], type="text", notation=Notation())
            for name in names
            if name in self.columns and not self.columns[name].is_of_numbers
        }
        return Profile(self.rows, {**self.columns, **others})


def of(source: Source) -> Profile:
    """Look at every column.

    Raises:
        UsageError: there are too few rows, or a Parquet column of a type that no delivery can have.
    """
    rows = source.texts.num_rows
    if rows < LEAST_ROWS:
        counted = "no row" if not rows else "1 row" if rows == 1 else f"{rows} rows"
        raise UsageError(
            f"has {counted}, and nothing can be guessed from fewer than {LEAST_ROWS}",
            where=source.name,
            fix="Name a file with more",
        )
    types = {name: _of_parquet(kind) for name, kind in source.types.items()}
    if unfit := [f"{name} ({source.types[name]})" for name, kind in types.items() if kind is None]:
        raise UsageError(
            f"no delivery can have the types of {', '.join(unfit)}",
            where=source.name,
            fix="Write them as numbers, texts or dates",
        )
    return Profile(
        rows,
        {
            name: _column(name, source.sources.get(name, name), source.texts[name], types.get(name))
            for name in source.texts.column_names
        },
    )


def _of_parquet(kind: str) -> Type | None:
    return next((type_ for start, type_ in _PARQUET.items() if kind.startswith(start)), None)


def _column(name: str, header: str, texts: pa.ChunkedArray, declared: Type | None) -> Column:
    if declared in (None, "text"):
        found, notation = _guessed(name, header, texts, _NUMBERS if declared else ())
    else:
        found, notation = declared or "text", Notation()
    if found in _NUMBERS:
        numbers = Column(name, found, header, texts, "", notation).numbers
        notation = replace(notation, null_values=notation.null_values | _null_numbers(numbers))
    personal = "its name says so" if has_personal_name(name) else ""
    if found == "text" and looks_personal(texts).size:
        personal = "values look like e-mail addresses, phone or card numbers, or national ids"
    return Column(name, found, header, texts, personal, notation)


def _guessed(name: str, header: str, texts: pa.ChunkedArray, without: tuple[Type, ...] = ()) -> tuple[Type, Notation]:
    """The narrowest type that the values fit, but for a few, and what stands for no value among them.

    Args:
        without: types that it is not, since the file says so.
    """
    notation = _null_texts(texts)
    tried: list[tuple[Type, Notation]] = [("boolean", notation), ("integer", notation), ("number", notation)]
    tried += [("date", replace(notation, format=form)) for form in FORMATS]
    clocks = [form and f"{form} {clock}" for form in FORMATS for clock in CLOCKS]
    tried += [("timestamp", replace(notation, format=form)) for form in dict.fromkeys(clocks)]
    fitting = [
        column
        for type_, written in tried
        if type_ not in without and _fits(column := Column(name, type_, header, texts, "", written))
    ]
    if not fitting:
        return "text", Notation()
    kind = fitting[0].type
    same = [column for column in fitting if column.type == kind or (kind, column.type) == ("date", "timestamp")]
    fewest = min(column.cast_errors for column in same)
    best = [column for column in same if column.cast_errors == fewest]
    best = [column for column in best if column.type == best[0].type]
    if any(not np.array_equal(best[0].numbers, other.numbers, True) for other in best[1:]):
        return "text", Notation()  # days that may be months: nobody knows which they are
    return best[0].type, best[0].notation


def _fits(column: Column) -> bool:
    first = replace(column, texts=column.texts.drop_null().slice(0, _TRIED))
    if column.type in ("date", "timestamp", "boolean") and 2 * first.cast_errors > len(first.texts):
        return False
    present = len(column.texts) - column.nulls
    if not present:
        return False
    if column.type == "boolean":  # 1 and 0 are numbers
        digits = pc.any(pc.match_substring_regex(column.texts, r"\d")).as_py()
        return not digits and not column.cast_errors and column.distinct == 2
    # A number with leading zeros is a name.
    if column.is_of_numbers and pc.any(pc.match_substring_regex(column.texts, _LEADING_ZERO)).as_py():
        return False
    if column.type == "integer":
        return not column.cast_errors and not pc.any(pc.match_substring(column.texts, ".")).as_py()
    return column.cast_errors <= MOST_CAST_ERRORS * present


def _null_texts(texts: pa.ChunkedArray) -> Notation:
    """The texts of no value, as they are written in a column."""
    bare = pc.utf8_trim_whitespace(pc.unique(texts).drop_null())
    found = bare.filter(pc.is_in(pc.utf8_lower(bare), value_set=pa.array(NULL_TEXTS)))
    return Notation(frozenset(map(str, found.to_pylist())))


def _null_numbers(numbers: Floats) -> frozenset[str]:
    """A number of no value: no other one is below 0, or near it."""
    for number in NULL_NUMBERS:
        others = numbers[np.isfinite(numbers) & (numbers != number)]
        is_there = len(others) and (numbers == number).any()
        if is_there and (others.min() >= 0 or others.min() - number > _FAR * np.ptp(others)):
            return frozenset({str(number)})
    return frozenset()
