"""The file that a model is drafted from, or checked on: read as a delivery is read, by its own columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.core.errors import UsageError
from include.core.sections import Deliveries
from include.ingestion.delivery import SUFFIXES
from include.ingestion.files import DELIMITERS, DeliveredFile
from include.lakehouse.decisions import Reason
from include.scaffold.names import of_headers, require_headers

MOST_CELLS = 10_000_000
"""Of a larger file the first rows are looked at."""
MOST_COLUMNS = 1_000
"""A draft of more is nothing that a person reviews."""
_HEADER_BYTES = 64 << 10


@dataclass(frozen=True)
class Source:
    """What is in a file."""

    name: str
    texts: pa.Table
    """Every column as string, null where a cell is empty, by a name that model.yaml can have."""
    types: Mapping[str, str]
    """By column the Arrow type in a Parquet file; empty for CSV."""
    delimiter: str
    final_newline: bool
    is_whole: bool
    """Whether all of its rows are there: of a large file only the first ones are."""
    sources: Mapping[str, str]
    """By column its header in the file."""

    @property
    def file_name(self) -> str:
        return Path(self.name).name


def read(path: str, sources: Mapping[str, str] | None = None) -> Source:
    """Read a CSV or Parquet file.

    Args:
        sources: by column its header in the file; where it is not given, every header has a name made of it.

    Raises:
        UsageError: there is no such file, or nothing in it, or a header that model.yaml cannot have.
        BadFile: it cannot be read, has a column twice, or values that are not plain.
    """
    file = Path(path).expanduser()
    if not path:
        raise UsageError("no file is named", where="DATA", fix="Name one: DATA=sales.csv")
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise UsageError(what, where=path, fix="Name a CSV or Parquet file: DATA=sales.csv")
    if file.suffix not in SUFFIXES:
        raise UsageError("is no CSV file and no Parquet file", where=path, fix=f"Name it *{' or *'.join(SUFFIXES)}")
    names, delimiter = _parquet_names(file) if file.suffix == ".parquet" else _csv_names(file)
    if len(names) > MOST_COLUMNS:
        raise UsageError(
            f"has {len(names)} columns, and {MOST_COLUMNS} are taken",
            where=path,
            fix="Keep those that name a row, that are to be predicted, and that are known before",
        )
    drafted = sources is None
    sources = of_headers(names) if sources is None else sources
    form = Deliveries(first_day=date.min, deadline_minutes=1, label_delay=0, delimiter=delimiter)
    delivered = DeliveredFile(lambda: file.open("rb"), path, form, sources)
    most, parts, rows, is_whole = MOST_CELLS // max(len(names), 1), [], 0, True
    for part in delivered.chunks():
        parts.append(part.slice(0, most - rows))
        rows += part.num_rows
        if rows > most:
            is_whole = False
            break
    if drafted:
        require_headers(names, path)
    texts = pa.concat_tables(parts)
    if not texts.num_columns:
        raise UsageError("is empty", where=path, fix="Name a file with a header and rows")
    ended = all(flag.reason is not Reason.TRUNCATED_LINE for flag in delivered.flags)
    return Source(path, texts, dict(delivered.retyped), delimiter, ended, is_whole, sources)


def _csv_names(file: Path) -> tuple[list[str], str]:
    """The names in the header, as far as it can be read, and what stands between them."""
    try:
        with file.open("rb") as content:
            line = content.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
        delimiter = max(DELIMITERS, key=line.count)  # the comma is the first of them
        return next(csv.reader(io.StringIO(line), delimiter=delimiter), []), delimiter
    except (OSError, csv.Error):
        return [], ","  # what is wrong with it says whoever reads it


def _parquet_names(file: Path) -> tuple[list[str], str]:
    try:
        return pq.read_schema(file).names, ","
    except (pa.ArrowException, OSError):
        return [], ","
