"""What the rows themselves say, before any rule: cells that fit no type, personal data, the newest time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion import casting, pii
from include.ingestion.casting import Cast
from include.ingestion.findings import EXAMPLES, HIDDEN, Failure, Rows
from include.ingestion.profile import Profile

RETYPED_COLUMN = "retyped_column"
STALE_ROWS = "stale_rows"

_TYPES = {
    "integer": ("int", "uint"),
    "number": ("int", "uint", "float", "double", "halffloat", "decimal"),
    "text": ("string", "large_string", "dictionary", "date", "timestamp", "null"),
}
"""Arrow types, by the start of their names, that a column of model.yaml can have in a Parquet file."""


class Facts:
    """Gathered chunk by chunk; positions count from 0 over the whole batch."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.rows = 0
        self.profile = Profile(spec)
        self._misfits: dict[str, list[Rows]] = {}
        self._examples: dict[str, list[str]] = {}
        self._suspects: dict[str, list[Rows]] = {}
        self._hidden: set[str] = set(spec.personal_columns)
        self._valid: Counter[str] = Counter()
        self._newest: pd.Timestamp | None = None

    def see(self, delivered: pa.Table, cast: Cast) -> None:
        """Take in the next rows, as delivered and as they are typed."""
        start, self.rows = self.rows, self.rows + delivered.num_rows
        self.profile.see(cast.columns)
        for name, column in self._spec.columns.items():
            if name not in delivered.column_names:
                continue
            self._valid[name] += delivered.num_rows - delivered[name].null_count
            if name in cast.misfits:
                self._add_misfits(name, delivered[name], np.flatnonzero(cast.misfits[name]), start)
            if column.type == "text" and not column.pii:
                self._add_suspects(name, delivered[name], start)
        fresh = self._spec.ingestion.freshness
        if fresh is not None and fresh.column in delivered.column_names:
            times = pd.to_datetime(delivered[fresh.column].to_pandas(), utc=True, errors="coerce", format="ISO8601")
            newest = times.max()
            if not pd.isna(newest) and (self._newest is None or newest > self._newest):
                self._newest = newest

    def _add_misfits(self, name: str, texts: pa.ChunkedArray, rows: Rows, start: int) -> None:
        self._misfits.setdefault(name, []).append(rows + start)
        if pii.positions(texts.take(pa.array(rows))).size:
            self._hidden.add(name)
        examples = self._examples.setdefault(name, [])
        wanted = rows[: EXAMPLES - len(examples)]
        examples += [repr(value) for value in texts.take(pa.array(wanted)).to_pylist()]

    def _add_suspects(self, name: str, texts: pa.ChunkedArray, start: int) -> None:
        found = pii.positions(texts)
        if found.size:
            self._hidden.add(name)
            self._suspects.setdefault(name, []).append(found + start)

    @property
    def hidden(self) -> frozenset[str]:
        """Columns of which no value may be shown."""
        return frozenset(self._hidden)

    @property
    def misfits(self) -> dict[str, Rows]:
        """By column, the rows whose cell does not fit the type, in the order of the columns."""
        return {name: np.concatenate(self._misfits[name]) for name in self._spec.columns if name in self._misfits}

    @property
    def suspects(self) -> dict[str, Rows]:
        """By untagged text column, the rows whose value looks like personal data."""
        return {f"{pii.SUSPECTED}:{name}": np.concatenate(parts) for name, parts in self._suspects.items()}

    def misfit_failures(self) -> list[Failure]:
        return [
            Failure(
                casting.reason(self._spec.columns[name].type, name),
                "quarantine_row",
                int(rows.size),
                (HIDDEN,) if name in self._hidden else tuple(self._examples[name]),
            )
            for name, rows in self.misfits.items()
        ]

    def retyped(self, file_types: dict[str, str]) -> list[str]:
        """Columns that have another type than model.yaml says: by a Parquet file's schema, or in every value."""
        by_schema = {
            name
            for name, type_ in file_types.items()
            if name in self._spec.columns and not type_.startswith(_TYPES[self._spec.columns[name].type])
        }
        by_value = {name for name, rows in self.misfits.items() if rows.size == self._valid[name] > 1}
        return [f"{RETYPED_COLUMN}:{name}" for name in self._spec.columns if name in by_schema | by_value]

    def is_stale(self, day_end: datetime) -> bool:
        """Whether the newest row is older than ``ingestion.freshness`` allows."""
        fresh = self._spec.ingestion.freshness
        if fresh is None or not self.rows:
            return False
        return self._newest is None or self._newest < day_end - timedelta(hours=fresh.max_age_hours)
