"""What the rows themselves say, before any rule: profile, cells that fit no type, personal data, the newest time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion import event_time
from include.ingestion.bad_file import position
from include.ingestion.expectations import EXAMPLES, Failure
from include.ingestion.rows import NO_ROWS, Cast, Rows, ascending, error_reason
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import PROFILES, ROW_NUMBER, SOURCE_FILE, typed_columns

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SAMPLE_ROWS = 100_000
"""Quantiles are exact up to so many rows; of more rows, each n-th is taken."""
CATEGORIES = 50
"""The most frequent ones that are kept; the statistic ``categories`` counts all, up to a limit."""
_MOST_CATEGORIES = 10_000
_CATEGORY_CHARACTERS = 16 << 20
"""Of all that are counted."""

_TYPES = {
    "integer": ("int", "uint"),
    "number": ("int", "uint", "float", "double", "halffloat", "decimal"),
    "text": ("string", "large_string", "dictionary", "date", "timestamp", "null"),
    "date": ("string", "large_string", "dictionary", "date", "timestamp", "null"),
    "timestamp": ("string", "large_string", "dictionary", "date", "timestamp", "null"),
    "boolean": ("string", "large_string", "dictionary", "bool", "int", "uint", "null"),
}
"""Arrow types, by the start of their names, that a column of model.yaml can have in a Parquet file."""

# Personal data in columns that nobody tagged: by the look of the values, so this can be mistaken.
_PATTERNS = {
    "e-mail": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    "phone": (
        r"(^|[^\d])(\+\d{1,3}[ .-]?(\(?\d{2,4}\)?[ .-]?){2,4}\d{2,4}"
        r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4})($|[^\d])"
    ),
    "national id": r"(^|[^\d-])\d{3}-\d{2}-\d{4}($|[^\d-])",
}
_CARD = r"(^|[^\d])\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}($|[^\d])"
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,18}")


class BatchScan:
    """Gathered chunk by chunk; positions count from 0 over the whole batch."""

    def __init__(self, spec: ModelSpec, partition: Partition) -> None:
        self._spec, self._partition = spec, partition
        self.rows = 0
        self.profile = Profile(spec)
        self._cast_errors: dict[str, list[Rows]] = {}
        self._suspects: dict[str, list[Rows]] = {}
        self._misdated: dict[str, list[Rows]] = {}
        self._hidden: set[str] = set(spec.personal_columns)
        self._valid: Counter[str] = Counter()
        self._newest: pd.Timestamp | None = None

    def update(self, delivered: pa.Table, cast: Cast) -> Rows:
        """Take in the next rows, as delivered and as they are typed.

        Returns:
            Those of them that are misdated, counted from 0.
        """
        start, self.rows = self.rows, self.rows + delivered.num_rows
        self.profile.update(cast.columns)
        for name, column in self._spec.columns.items():
            if name not in delivered.column_names:
                continue
            self._valid[name] += delivered.num_rows - cast.columns[name].null_count
            if name in cast.errors:
                failed_casts = np.flatnonzero(cast.errors[name])
                self._valid[name] += failed_casts.size
                self._cast_errors.setdefault(name, []).append(failed_casts + start)
            if column.type == "text" and not column.pii and not column.generated:
                self._add_suspects(name, delivered[name], start)
        misdated = event_time.misdated(self._spec, self._partition, cast)
        for reason, rows in misdated.items():
            self._misdated.setdefault(reason, []).append(rows + start)
        fresh = self._spec.ingestion.freshness
        if fresh is not None and fresh.column in delivered.column_names:
            texts = cast.columns[fresh.column].cast(pa.string()).to_pandas()
            times = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
            newest = times.max()
            if not pd.isna(newest) and (self._newest is None or newest > self._newest):
                self._newest = newest
        return ascending(*misdated.values())

    def _add_suspects(self, name: str, texts: pa.ChunkedArray, start: int) -> None:
        found = looks_personal(texts)
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

    @property
    def misdated(self) -> dict[str, Rows]:
        """By reason, the rows whose event time is missing or not in the partition; only reasons that a row has."""
        found = {reason: np.concatenate(parts) for reason, parts in self._misdated.items()}
        return {reason: rows for reason, rows in found.items() if rows.size}

    def cast_failures(self) -> list[tuple[Failure, Rows]]:
        """The cells that fit no type, as failures of their columns, each with its rows.

        No value is shown: what does not belong into a column may come out of another, with personal data.
        """
        types = typed_columns(self._spec)
        found = []
        for name, rows in self.cast_errors.items():
            reason = error_reason(types[name], name)
            found.append((Failure(reason, "quarantine_row", int(rows.size), row_numbers(rows)), rows))
        return found

    def shape(self, names: Sequence[str], file_types: Mapping[str, str]) -> list[str]:
        """Why the batch cannot be what model.yaml describes: its columns, and their types.

        Args:
            names: the columns of the delivery's table.
            file_types: by column the type in a Parquet file.
        """
        columns = [name for name in names if name not in (SOURCE_FILE, ROW_NUMBER, self._spec.generated_key)]
        if not columns:
            return [Reason.EMPTY_FILE.value]
        if not set(columns) & set(self._spec.columns):
            return [Reason.NO_HEADER.value]
        return [
            *([] if self.rows else [Reason.NO_ROWS.value]),
            *(Reason.MISSING_COLUMN.about(name) for name in self._spec.columns if name not in names),
            *(
                Reason.EXTRA_COLUMN.about(position(n))
                for n, name in enumerate(columns)
                if name not in self._spec.columns
            ),
            *(Reason.RETYPED_COLUMN.about(name) for name in self._retyped(file_types)),
        ]

    def _retyped(self, file_types: Mapping[str, str]) -> list[str]:
        """Columns that have another type than model.yaml says: by a Parquet file's schema, or in every value."""
        by_schema = {
            name
            for name, type_ in file_types.items()
            if name in self._spec.columns and not type_.startswith(_TYPES[self._spec.columns[name].type])
        }
        by_value = {name for name, rows in self.cast_errors.items() if rows.size == self._valid[name] > 1}
        return [name for name in self._spec.columns if name in by_schema | by_value]

    def is_stale(self, complete: datetime) -> bool:
        """Whether the newest row is older than ``ingestion.freshness`` allows.

        Args:
            complete: the moment at which the rows of the partition are complete.
        """
        fresh = self._spec.ingestion.freshness
        if fresh is None or not self.rows:
            return False
        return self._newest is None or self._newest < complete - timedelta(hours=fresh.max_age_hours)


def row_numbers(rows: Rows) -> tuple[str, ...]:
    """The first of them as people count them: all files of a delivery together, from 1."""
    return tuple(f"row {n + 1}" for n in rows[:EXAMPLES])


class Profile:
    """Gathers what ``table`` tells, chunk by chunk, in memory that does not grow with the rows."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._rows = 0
        self._hidden: frozenset[str] = spec.personal_columns
        self._columns = {name: _Column() for name in spec.columns}
        self._stride = 1
        self._sampled = 0
        self._samples: dict[str, list[np.ndarray]] = {
            name: [] for name, column in spec.columns.items() if column.type in ("integer", "number")
        }
        # Each day, and each made key, is a new one: they are counted only.
        self._of_categories = [
            name
            for name, column in spec.columns.items()
            if column.type in ("text", "boolean") and name != spec.generated_key
        ]

    def update(self, typed: pa.Table) -> None:
        """Count in the next rows: the columns of model.yaml, typed."""
        start, self._rows = self._rows, self._rows + typed.num_rows
        taken = np.arange((-start) % self._stride, typed.num_rows, self._stride)
        for name, seen in self._columns.items():
            column = typed[name]
            seen.nulls += column.null_count
            if name in self._samples:
                seen.add_numbers(column)
                self._samples[name].append(_numbers(column.take(pa.array(taken))))
            elif name in self._of_categories and name not in self._spec.personal_columns:
                seen.add_texts(column.cast(pa.string()))
        self._sampled += taken.size
        while self._sampled > SAMPLE_ROWS:
            self._thin()

    def _thin(self) -> None:
        """Keep every second row of the sample."""
        for name, parts in self._samples.items():
            self._samples[name] = [np.concatenate(parts)[::2]]
        self._stride *= 2
        self._sampled = (self._sampled + 1) // 2

    def table(self, partition: Partition, hidden: Collection[str] = ()) -> pa.Table:
        """Statistics as ``profiles_<model>`` has them. Of hidden columns, and those with ``pii: true``, only counts."""
        self._hidden = self._spec.personal_columns.union(hidden)
        rows = [(partition.key, name, *line) for name in self._columns for line in self._lines(name)]
        schema = PROFILES.of(self._spec).schema
        return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)

    def _lines(self, name: str) -> list[tuple[str, str | None, float]]:
        seen = self._columns[name]
        lines: list[tuple[str, str | None, float]] = [
            ("count", None, float(self._rows)),
            ("nulls", None, float(seen.nulls)),
        ]
        if name in self._hidden:
            return lines
        if name in self._samples and seen.count:
            sample = np.concatenate(self._samples[name])
            lines += [
                ("min", None, float(seen.least)),
                ("max", None, float(seen.greatest)),
                ("mean", None, seen.total / seen.count),
                *((f"quantile_{q:g}", None, float(np.nanquantile(sample, q))) for q in QUANTILES if len(sample)),
            ]
        elif name in self._of_categories:
            lines.append(("categories", None, float(len(seen.categories))))
            lines += [("frequency", text, float(n)) for text, n in seen.categories.most_common(CATEGORIES)]
        return lines


class _Column:
    def __init__(self) -> None:
        self.nulls = self.count = 0
        self.total, self.least, self.greatest = 0.0, np.inf, -np.inf
        self.categories: Counter[str] = Counter()
        self.characters = 0

    def add_numbers(self, column: pa.ChunkedArray) -> None:
        valid = len(column) - column.null_count
        if not valid:
            return
        bounds = pc.min_max(column).as_py()
        self.count += valid
        self.total += float(pc.sum(column.cast(pa.float64(), safe=False)).as_py())
        self.least, self.greatest = min(self.least, bounds["min"]), max(self.greatest, bounds["max"])

    def add_texts(self, column: pa.ChunkedArray) -> None:
        counts = pc.value_counts(column.drop_null())
        for text, n in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
            if text not in self.categories:
                if len(self.categories) >= _MOST_CATEGORIES or self.characters + len(text) > _CATEGORY_CHARACTERS:
                    continue
                self.characters += len(text)
            self.categories[text] += n


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The values that are not null; an integer above 2^53 is rounded."""
    return column.cast(pa.float64(), safe=False).drop_null().to_numpy()


def looks_personal(texts: pa.ChunkedArray | pa.Array) -> Rows:
    """Positions of the values that look like an e-mail address, a phone or card number, or a national id."""
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = column.dictionary_encode()
    values = encoded.dictionary
    hit = pa.array(np.zeros(len(values), dtype=bool))
    for pattern in _PATTERNS.values():
        hit = pc.or_(hit, pc.match_substring_regex(values, pattern))
    like_cards = np.flatnonzero(pc.match_substring_regex(values, _CARD))
    flags = np.asarray(hit).copy()
    for place in like_cards:
        flags[place] = flags[place] or _holds_card(values[int(place)].as_py())
    if not flags.any():
        return NO_ROWS
    suspects = pa.array(np.flatnonzero(flags), encoded.indices.type)
    return np.flatnonzero(pc.is_in(encoded.indices, value_set=suspects)).astype(np.int64)


def _holds_card(text: str) -> bool:
    """Whether a run of 13 to 19 digits has the check digit of ISO/IEC 7812 (Luhn)."""
    for found in _DIGITS.findall(text):
        digits = [int(character) for character in found if character.isdigit()][::-1]
        doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
        if (sum(digits[::2]) + sum(doubled)) % 10 == 0:
            return True
    return False
