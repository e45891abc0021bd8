"""The profile of a batch: counts, moments, quantiles and categories of each column, as a table that others read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PROFILES

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SAMPLE_ROWS = 100_000
"""Quantiles are exact up to so many rows; of more rows, each n-th is taken."""
CATEGORIES = 50
"""The most frequent ones that are kept; the statistic ``categories`` counts all, up to a limit."""
_MOST_CATEGORIES = 10_000


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
            name: [] for name, column in spec.columns.items() if column.type != "text"
        }

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
            elif name not in self._spec.personal_columns:
                seen.add_texts(column)
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
        elif name not in self._samples:
            lines.append(("categories", None, float(len(seen.categories))))
            lines += [("frequency", text, float(n)) for text, n in seen.categories.most_common(CATEGORIES)]
        return lines


class _Column:
    def __init__(self) -> None:
        self.nulls = self.count = 0
        self.total, self.least, self.greatest = 0.0, np.inf, -np.inf
        self.categories: Counter[str] = Counter()

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
            if text in self.categories or len(self.categories) < _MOST_CATEGORIES:
                self.categories[text] += n


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The values that are not null; an integer above 2^53 is rounded."""
    return column.cast(pa.float64(), safe=False).drop_null().to_numpy()
