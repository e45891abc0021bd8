"""What each column of a file holds, as far as a draft needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import UsageError
from include.evaluation.metrics import Floats
from include.ingestion.rows import cast
from include.ingestion.scan import looks_personal
from include.scaffold.source import Source

Type = Literal["integer", "number", "text"]
LEAST_ROWS = 30
"""Fewer say nothing about what their columns hold."""
MOST_MISFITS = 0.05
"""Share of cells without a number up to which a column is one of numbers: some tools write NA."""
MOST_CATEGORIES = 20
"""Texts of more values are not encoded one by one."""
_NUMBERS: Mapping[Type, pa.DataType] = {"integer": pa.int64(), "number": pa.float64()}
_LEADING_ZERO = r"^[+-]?0\d"
_PARQUET: Mapping[str, Type] = {
    **dict.fromkeys(("int", "uint"), "integer"),
    **dict.fromkeys(("float", "double", "halffloat", "decimal"), "number"),
    **dict.fromkeys(("string", "large_string", "dictionary", "date", "timestamp", "null"), "text"),
}
"""By the start of the Arrow type's name; ingestion takes no others."""
_PERSONAL_NAMES = re.compile(
    r"(^|_)(first_?name|last_?name|full_?name|surname|e?mail|phone|mobile|ssn|passport|iban|dob|birth_?(day|date))($|_)"
)


@dataclass(frozen=True)
class Column:
    """One column of the file."""

    name: str
    type: Type
    texts: pa.ChunkedArray
    misfits: int
    """Cells of a column of numbers that hold none."""
    personal: str
    """Why its values may be personal data; empty where nothing says so."""

    @cached_property
    def numbers(self) -> Floats:
        """One a row, not a number where there is none."""
        typed = cast(pa.table({self.name: self.texts}), {self.name: pa.float64()}).columns[self.name]
        return np.asarray(typed.to_numpy(), dtype=np.float64)

    @cached_property
    def codes(self) -> Floats:
        """Its values as numbers: texts numbered in the order in which they come, not a number where there is none."""
        if self.type != "text":
            return self.numbers
        codes = pd.factorize(self.texts.to_pandas())[0].astype(np.float64)
        codes[codes < 0] = np.nan
        return codes

    @property
    def nulls(self) -> int:
        return int(self.texts.null_count)

    @cached_property
    def categories(self) -> list[str]:
        """Its different texts, the most frequent first."""
        return [str(value) for value in self.texts.to_pandas().value_counts().index]

    @cached_property
    def distinct(self) -> int:
        """How many different values it has, null not counted."""
        if self.type == "text":
            return int(pc.count_distinct(self.texts).as_py())
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
        return self.type != "number" and not self.nulls and not self.misfits and self.distinct == len(self.texts)

    @property
    def is_running(self) -> bool:
        """Whether it numbers the rows."""
        return self.type == "integer" and self.is_key and self.high - self.low == len(self.texts) - 1


@dataclass(frozen=True)
class Profile:
    """All columns of a file, by name."""

    rows: int
    columns: Mapping[str, Column]


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
            fix="Write them as numbers or texts: a yes or no as 1 or 0",
        )
    names = source.texts.column_names
    return Profile(rows, {name: _column(name, source.texts[name], types.get(name)) for name in names})


def _of_parquet(kind: str) -> Type | None:
    return next((type_ for start, type_ in _PARQUET.items() if kind.startswith(start)), None)


def _column(name: str, texts: pa.ChunkedArray, declared: Type | None) -> Column:
    found, misfits = (declared, 0) if declared else _type(name, texts)
    personal = "its name says so" if _PERSONAL_NAMES.search(name.lower()) else ""
    if found == "text" and looks_personal(texts).size:
        personal = "values look like e-mail addresses, phone or card numbers, or national ids"
    return Column(name, found, texts, misfits, personal)


def _type(name: str, texts: pa.ChunkedArray) -> tuple[Type, int]:
    """The narrowest type that the values fit, and how many do not. A number with leading zeros is a name."""
    present = len(texts) - texts.null_count
    if not present or pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py():
        return "text", 0
    table, misfits = pa.table({name: texts}), {}
    for type_, arrow in _NUMBERS.items():
        errors = cast(table, {name: arrow}).errors.get(name)
        misfits[type_] = int(errors.true_count) if errors is not None else 0
    whole = not misfits["integer"] and not pc.any(pc.match_substring(texts, ".")).as_py()
    if whole:
        return "integer", 0
    return ("number", misfits["number"]) if misfits["number"] <= MOST_MISFITS * present else ("text", 0)
