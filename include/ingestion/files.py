"""One delivered file, CSV or Parquet, read in chunks of a bounded size; every column as text.

Of what a file holds, a message has positions and names of columns that the model declares, and nothing else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from include.core.sections import Deliveries
from include.core.text import composed, shown
from include.ingestion import parquet_rows
from include.ingestion.bad_file import LET_READ, REDELIVER, BadFile, position
from include.ingestion.plain_files import NotPlainError
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import EXTRA_COLUMNS, PARTITION, ROW_NUMBER, SOURCE_FILE, WORKING

BLOCK_BYTES = 4 << 20
"""Of a CSV file that is parsed at a time; no row can be longer."""
CELL_BYTES = 64 << 10
"""Of one value, as text: no category is longer, and no few bytes of Parquet become many rows of longer ones."""
MORE_COLUMNS = 200
"""So many more columns than the model declares are kept beside its rows; a file of more is none of the model's."""
MOST_LINES = 100
"""A CSV value of more lines has swallowed the rows between two stray quotes."""
RESERVED = (PARTITION, SOURCE_FILE, ROW_NUMBER, EXTRA_COLUMNS)
"""Columns that ingestion adds; a file cannot have them."""
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

_HEAD_BYTES = 64 << 10
_OTHER_FORMATS = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip (a spreadsheet?)",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}


@dataclass(frozen=True)
class Flag:
    """A row that its file could not hold as it was meant."""

    reason: Reason
    row: int
    """Its number in the file, from 1."""
    where: str
    """For people, e.g. ``lines 3 to 9``."""


class DeliveredFile:
    """A file that is there.

    Args:
        opened: opens it for reading.
        where: how a message names it; a CSV file or a Parquet file by its end.
        form: delimiter and line ends that the model expects.
        sources: by column that the model expects, its name in the file.
    """

    def __init__(self, opened: Callable[[], Any], where: str, form: Deliveries, sources: Mapping[str, str]) -> None:
        self._opened, self._where, self._form, self._sources = opened, where, form, sources
        self._names = {composed(source): name for name, source in sources.items()}
        self._rows = self._lines = 0
        self.flags: list[Flag] = []
        """Rows to look at, once they have been read."""
        self.retyped: dict[str, str] = {}
        """By column the type it has in a Parquet file."""
        self.ignored: dict[str, int] = {}
        """What the file calls the columns that are left out, and which they are of its columns, from 0."""

    def chunks(self) -> Iterator[pa.Table]:
        """The rows, every column as string, null where a cell is empty; at least one table, if only of no rows.

        Columns have the names that the model gives them. Others keep their own, or are left out, as the model says.

        Raises:
            BadFile: the content is not what the name promises, or breaks off.
        """
        try:
            with self._opened() as file:
                head = file.read(_HEAD_BYTES)
                file.seek(0)
                if self._where.endswith(".parquet"):
                    yield from self._parquet(file, head)
                else:
                    yield from self._csv(file, head)
        except PermissionError:
            raise self._bad(Reason.NO_PERMISSION, "may not be read", LET_READ) from None
        except NotPlainError as found:
            raise self._bad(Reason.NOT_A_FILE, f"is, or is reached by, a {found.kind}", "Deliver plain files") from None

    def _csv(self, file: Any, head: bytes) -> Iterator[pa.Table]:
        self._check_text(head)
        if not head.strip():
            yield pa.table({})
            return
        header = _header_line(head)
        if len(header) == _HEAD_BYTES:
            raise self._bad(Reason.TOO_MANY_COLUMNS, f"its header line is longer than {_HEAD_BYTES} bytes")
        self._lines = header.count(b"\n")
        watched = _Watched(file)
        last: pa.RecordBatch | None = None
        try:
            reader = self._open_csv(watched, header)
            yield self._as_declared(pa.Table.from_batches([], reader.schema))
            for batch in reader:
                last = batch if batch.num_rows else last
                self._check_cells(batch)
                self._look_for_swallowed(batch, watched)
                yield self._as_declared(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise self._malformed(str(error)) from None
        # The parser takes an open quote for one value up to the end: all rows in it would be lost.
        if watched.quotes % 2 and last is not None and _line_ends(last.slice(last.num_rows - 1)).any():
            raise self._bad(Reason.MALFORMED_CSV, "cannot be read as CSV in UTF-8: a quoted value does not end")
        if self._rows and self._form.final_newline and watched.last not in b"\r\n":
            self.flags.append(Flag(Reason.TRUNCATED_LINE, self._rows, f"row {self._rows}"))

    def _open_csv(self, file: _Watched, header: bytes) -> pacsv.CSVStreamingReader:
        parse = pacsv.ParseOptions(delimiter=self._form.delimiter, newlines_in_values=True)
        with pacsv.open_csv(pa.BufferReader(header), parse_options=parse) as reader:
            names = reader.schema.names
        self._check_columns(names)
        as_text = pacsv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        parse.ignore_empty_lines = len(names) > 1  # of one column each line is a row, with a value or without
        blocks = pacsv.ReadOptions(block_size=BLOCK_BYTES)
        return pacsv.open_csv(
            pa.PythonFile(file, mode="r"), read_options=blocks, parse_options=parse, convert_options=as_text
        )

    def _look_for_swallowed(self, rows: pa.RecordBatch, watched: _Watched) -> None:
        """Flag each row with a value that holds other rows: between two stray quotes the parser sees one value.

        It holds as many delimiters as the lines that it spans, whichever they are. Empty lines are not counted.
        """
        before, self._rows, self._lines = self._rows, self._rows + rows.num_rows, self._lines + rows.num_rows
        if not watched.quotes or not (ends := _line_ends(rows)).any():
            return
        swallowed = np.zeros(rows.num_rows, dtype=bool)
        for column in rows.columns:
            breaks = _count(column, "\n")
            delimiters = _count(column, self._form.delimiter)
            whole_rows = (rows.num_columns > 1) & (delimiters >= breaks * (rows.num_columns - 1))
            swallowed |= (breaks > 0) & whole_rows | (breaks >= MOST_LINES)
        last = self._lines - rows.num_rows + np.cumsum(ends + 1)
        for n in np.flatnonzero(swallowed):
            lines = f"lines {last[n] - ends[n]} to {last[n]}"
            self.flags.append(Flag(Reason.SWALLOWED_LINES, before + int(n) + 1, lines))
        self._lines += int(ends.sum())

    def _parquet(self, file: Any, head: bytes) -> Iterator[pa.Table]:
        if not head:
            yield pa.table({})
            return
        try:
            content = pq.ParquetFile(file)
            schema, metadata = content.schema_arrow, content.metadata
            parquet_rows.check_metadata(file, metadata, self._bad)
            self._check_columns(schema.names)
            known = self._as_declared(schema.empty_table())
            self._check_types(known.schema)
            yield parquet_rows.as_text(known)
            # Texts that repeat are few bytes in the file and many in memory: they stay in their dictionaries.
            texts = [field.name for field in schema if parquet_rows.is_text(field.type)]
            content = pq.ParquetFile(file, metadata=metadata, read_dictionary=texts, pre_buffer=False)
            parquet_rows.check_pages(file, metadata, self._bad)
            rows = parquet_rows.at_once(metadata)
            yield from parquet_rows.gathered(self._decoded(content, min(rows, parquet_rows.DECODED_ROWS)), rows)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, PermissionError):
                raise
            if "UTF" in str(error) or isinstance(error, UnicodeDecodeError):
                raise self._bad(Reason.NOT_UTF8, "cannot be read: a text in it is not UTF-8") from None
            raise self._bad(Reason.MALFORMED_PARQUET, "is no Parquet file, or breaks off") from None

    def _decoded(self, content: pq.ParquetFile, rows: int) -> Iterator[pa.Table]:
        # A name with a dot is also taken for a path: what comes beside is left out after that.
        wanted = [name for name in content.schema_arrow.names if self._is_known(name)] if self.ignored else None
        for batch in content.iter_batches(batch_size=rows, columns=wanted):
            self._check_cells(batch)
            self._rows += batch.num_rows
            for part in parquet_rows.bounded(self._as_declared(pa.Table.from_batches([batch]))):
                yield parquet_rows.as_text(part)

    def _check_text(self, head: bytes) -> None:
        for magic, name in _OTHER_FORMATS.items():
            if head.startswith(magic):
                raise self._bad(
                    Reason.COMPRESSED_FILE, f"cannot be read as CSV in UTF-8: it is {name}", "Deliver it as CSV"
                )
        if head.startswith(b"PAR1"):
            raise self._bad(Reason.MISNAMED_FILE, "is a Parquet file", "Name it *.parquet")
        if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head:
            raise self._bad(
                Reason.NOT_UTF8, "cannot be read as CSV in UTF-8: it is UTF-16, or binary", "Deliver it in UTF-8"
            )

    def _is_known(self, header: str) -> bool:
        return composed(header) in self._names

    def _named(self, headers: Sequence[str]) -> list[str]:
        """The columns as they are called from here on. None that is unknown is called as a known one."""
        return [
            self._names.get(composed(header)) or (f"{WORKING}{header}" if header in self._sources else header)
            for header in headers
        ]

    def _as_declared(self, rows: pa.Table) -> pa.Table:
        """The rows with the names of model.yaml, and without what is ignored."""
        headers = rows.column_names
        if self.ignored:
            rows = rows.select([n for n, header in enumerate(headers) if self._is_known(header)])
        names = self._named(rows.column_names)
        return rows if names == rows.column_names else rows.rename_columns(names)

    def _check_columns(self, headers: list[str]) -> None:
        known = [self._is_known(header) for header in headers]
        ignores = self._form.extra_columns == "ignore"
        if ignores and headers and not any(known):
            raise self._bad(
                Reason.NO_HEADER, "names no column of model.yaml: its header is missing, or another",
                "Have the sender deliver it with a header",
            )  # fmt: skip
        if not ignores and len(headers) > len(self._sources) + MORE_COLUMNS:
            raise self._bad(
                Reason.TOO_MANY_COLUMNS, f"has {len(headers)} columns, model.yaml declares {len(self._sources)}"
            )
        names = self._named(headers)
        for n, name in enumerate(names):
            if ignores and not known[n]:
                self.ignored.setdefault(headers[n], n)
            elif name in RESERVED:
                raise self._bad(Reason.RESERVED_COLUMN.about(name), f"column {name!r} is reserved", "Rename it")
            elif names.count(name) > 1:
                code = name if known[n] else position(n)
                what = f"column {self._called(name, n)} occurs more than once"
                raise self._bad(Reason.REPEATED_COLUMN.about(code), what, "Rename one")
        self._check_delimiter(headers)

    def _check_delimiter(self, names: list[str]) -> None:
        if len(names) == 1:
            for other, called in DELIMITERS.items():
                if other in names[0] and other != self._form.delimiter:
                    raise self._bad(
                        Reason.WRONG_DELIMITER,
                        f"is not delimited by {self._form.delimiter!r} but, it seems, by {called}",
                        f"Deliver it with {self._form.delimiter!r}, or set deliveries.delimiter in model.yaml",
                    )

    def _check_cells(self, rows: pa.RecordBatch) -> None:
        for n, name in enumerate(rows.schema.names):
            values = parquet_rows.texts_of(rows.column(n))
            if values is None or (pc.max(pc.binary_length(values)).as_py() or 0) <= CELL_BYTES:
                continue
            where = f"column {self._called(self._named([name])[0], n)}, after row {self._rows}"
            long = values.filter(pc.greater(pc.binary_length(values), CELL_BYTES))
            if self._where.endswith(".csv") and _count(long, "\n").any():
                problem = f"a quoted value does not end, or has more than {CELL_BYTES} bytes: {where}"
                raise self._bad(Reason.MALFORMED_CSV, f"cannot be read as CSV in UTF-8: {problem}")
            if name in self.ignored:
                continue
            problem = f"has a value of more than {CELL_BYTES} bytes: {where}"
            raise self._bad(Reason.TOO_LARGE, problem, "Deliver shorter values")

    def _check_types(self, schema: pa.Schema) -> None:
        for n, field in enumerate(schema):
            try:
                pa.nulls(0, field.type).cast(pa.string())
                plain = not parquet_rows.is_bytes(field.type)
            except pa.ArrowException:
                plain = False
            if not plain:
                code = field.name if field.name in self._sources else position(n)
                raise self._bad(
                    Reason.UNSUPPORTED_TYPE.about(code),
                    f"column {self._called(field.name, n)} has no plain values",
                    "Deliver plain values",
                )
            self.retyped[field.name] = str(field.type)

    def _called(self, name: str, n: int) -> str:
        """How a message names a column: as the file does, where the model knows it."""
        source = self._sources.get(name)
        return position(n) if source is None else name if source == name else repr(shown(source))

    def _malformed(self, problem: str) -> BadFile:
        if "invalid UTF8" in problem or "utf-8" in problem:
            return self._bad(Reason.NOT_UTF8, "cannot be read as CSV in UTF-8: a value is in another encoding")
        # The rest of what the parser says is the line itself, with whatever it holds.
        fields = re.match(r"CSV parse error: (?:Row #\d+: )?Expected (\d+) columns, got (\d+)", problem)
        if fields:
            short = f"a row has {fields[2]} fields instead of {fields[1]}, somewhere after row {self._rows}"
        else:
            short = "a quoted value does not end" if "straddl" in problem else "it breaks off, or a row is too long"
        return self._bad(Reason.MALFORMED_CSV, f"cannot be read as CSV in UTF-8: {short}")

    def _bad(self, reason: str, what: str, fix: str = REDELIVER) -> BadFile:
        return BadFile(reason, what, where=self._where, fix=fix)


def _header_line(head: bytes) -> bytes:
    """The start of the file up to the first line end, for the names alone: its rows may be malformed."""
    lines = io.BytesIO(head)
    line = lines.readline()
    while not line.strip(b"\xef\xbb\xbf\r\n\t ") or line.count(b'"') % 2:
        more = lines.readline()
        if not more:
            break
        line += more
    return line


class _Watched:
    """A file that remembers what an end of its content says: its last byte, and how many quotes there were."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.quotes = 0
        self.last = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data = bytes(self.file.read(size))
        if b'"' in data:  # which is found out faster than their number
            self.quotes += data.count(b'"')
        self.last = data[-1:] or self.last
        return data

    def close(self) -> None:
        self.closed = True


def _count(texts: pa.Array, part: str) -> np.ndarray:
    return pc.count_substring(texts, part).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _line_ends(rows: pa.RecordBatch) -> np.ndarray:
    """Of each row, how many of them its values hold."""
    return sum((_count(column, "\n") for column in rows.columns), np.zeros(rows.num_rows, dtype=np.int64))
