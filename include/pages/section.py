"""What a part of a page is made of: a verdict in words, a few facts, tables below. Texts and numbers, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "good", "mixed", "bad"]
Cell = str | int | float | None


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table; one without rows is not shown."""

    title: str
    head: Sequence[str]
    rows: Sequence[Row]
    note: str = ""

    @property
    def numbers(self) -> set[int]:
        """Which columns hold numbers."""
        columns = zip(*(row.cells for row in self.rows), strict=True)
        return {place for place, cells in enumerate(columns) if all(not isinstance(cell, str) for cell in cells)}


@dataclass(frozen=True)
class Section:
    """One decision."""

    kind: str
    headline: str
    tone: Tone = ""
    sentences: Sequence[str] = ()
    facts: Sequence[tuple[str, Cell]] = ()
    tables: Sequence[Table] = ()
