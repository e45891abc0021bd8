"""What the rows themselves say, before any rule: cells that fit no type, personal data, the newest time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion import casting
from include.ingestion.casting import Cast
from include.ingestion.profile import Profile
from include.ingestion.validation import pii
from include.ingestion.validation.result import EXAMPLES, HIDDEN, Failure, Rows
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import typed_columns

_TYPES = {
    "integer": ("int", "uint"),
    "number": ("int", "uint", "float", "double", "halffloat", "decimal"),
    "text": ("string", "large_string", "dictionary", "date", "timestamp", "null"),
}
"""Arrow types, by the start of their names, that a column of model.yaml can have in a Parquet file."""


class BatchScan:
    """Gathered chunk by chunk; positions count from 0 over the whole batch."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.rows = 0
        self.profile = Profile(spec)
        self._cast_errors: dict[str, list[Rows]] = {}
        self._examples: dict[str, list[str]] = {}
        self._suspects: dict[str, list[Rows]] = {}
        self._hidden: set[str] = set(spec.personal_columns)
        self._valid: Counter[str] = Counter()
        self._newest: pd.Timestamp | None = None

    def update(self, delivered: pa.Table, cast: Cast) -> None:
        """Take in the next rows, as delivered and as they are typed."""
        start, self.rows = self.rows, self.rows + delivered.num_rows
        self.profile.update(cast.columns)
        for name, column in self._spec.columns.items():
            if name not in delivered.column_names:
                continue
            self._valid[name] += delivered.num_rows - delivered[name].null_count
            if name in cast.errors:
                self._add_cast_errors(name, delivered[name], np.flatnonzero(cast.errors[name]), start)
            if column.type == "text" and not column.pii:
                self._add_suspects(name, delivered[name], start)
        fresh = self._spec.ingestion.freshness
        if fresh is not None and fresh.column in delivered.column_names:
            times = pd.to_datetime(delivered[fresh.column].to_pandas(), utc=True, errors="coerce", format="ISO8601")
            newest = times.max()
            if not pd.isna(newest) and (self._newest is None or newest > self._newest):
                self._newest = newest

    def _add_cast_errors(self, name: str, texts: pa.ChunkedArray, rows: Rows, start: int) -> None:
        self._cast_errors.setdefault(name, []).append(rows + start)
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
    def cast_errors(self) -> dict[str, Rows]:
        """By column, the rows whose cell does not fit the type, in the order of the columns."""
        return {
            name: np.concatenate(self._cast_errors[name]) for name in self._spec.columns if name in self._cast_errors
        }

    @property
    def suspects(self) -> dict[str, Rows]:
        """By reason, the rows whose value in an untagged text column looks like personal data."""
        return {Reason.SUSPECTED_PII.about(name): np.concatenate(parts) for name, parts in self._suspects.items()}

    def cast_failures(self) -> list[tuple[Failure, Rows]]:
        """The cells that fit no type, as failures of their columns, each with its rows."""
        types = typed_columns(self._spec)
        found = []
        for name, rows in self.cast_errors.items():
            examples = (HIDDEN,) if name in self._hidden else tuple(self._examples[name])
            reason = casting.error_reason(types[name], name)
            found.append((Failure(reason, "quarantine_row", int(rows.size), examples), rows))
        return found

    def retyped(self, file_types: dict[str, str]) -> list[str]:
        """Columns that have another type than model.yaml says: by a Parquet file's schema, or in every value."""
        by_schema = {
            name
            for name, type_ in file_types.items()
            if name in self._spec.columns and not type_.startswith(_TYPES[self._spec.columns[name].type])
        }
        by_value = {name for name, rows in self.cast_errors.items() if rows.size == self._valid[name] > 1}
        return [Reason.RETYPED_COLUMN.about(name) for name in self._spec.columns if name in by_schema | by_value]

    def is_stale(self, complete: datetime) -> bool:
        """Whether the newest row is older than ``ingestion.freshness`` allows.

        Args:
            complete: the moment at which the rows of the partition are complete.
        """
        fresh = self._spec.ingestion.freshness
        if fresh is None or not self.rows:
            return False
        return self._newest is None or self._newest < complete - timedelta(hours=fresh.max_age_hours)
