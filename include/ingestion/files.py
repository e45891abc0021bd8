"""One delivered file, CSV or Parquet, read in chunks of a bounded size; every column as text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from include.core.errors import DeliveryError
from include.core.spec import Deliveries
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import EXTRA_COLUMNS, PARTITION, ROW_NUMBER, SOURCE_FILE

BLOCK_BYTES = 4 << 20
"""Of a CSV file that is parsed at a time; no row can be longer."""
PARQUET_ROWS = 200_000
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
LET_READ = "Let the account that Airflow's workers run as read it"
_REDELIVER = "Have the sender deliver it again"


class BadFile(DeliveryError):
    """A delivery that can be seen but not be read: its batch is rejected, the file stays where it is."""

    def __init__(self, reason: str, what: str, *, where: str, fix: str) -> None:
        super().__init__(what, where=where, fix=fix)
        self.reason = str(reason)
        """The reason code, e.g. ``malformed_csv``."""


class DeliveredFile:
    """A file that is there.

    Args:
        files: the fsspec file system.
        path: where the file is on it.
        where: how a message names the file.
        form: delimiter and line ends that the model expects.
    """

    def __init__(self, files: Any, path: str, where: str, form: Deliveries) -> None:
        self._files, self._path, self._where, self._form = files, path, where, form
        self.unfinished = False
        """Whether the last line, once it has been read, has no line end: who knows what it lacks."""
        self.retyped: dict[str, str] = {}
        """By column the type it has in a Parquet file."""

    def chunks(self) -> Iterator[pa.Table]:
        """The rows, every column as string, null where a cell is empty; at least one table, if only of no rows.

        Raises:
            BadFile: the content is not what the name promises, or breaks off.
        """
        try:
            with self._files.open(self._path, "rb") as file:
                head = file.read(_HEAD_BYTES)
                file.seek(0)
                if self._path.endswith(".parquet"):
                    yield from self._parquet(file, head)
                else:
                    yield from self._csv(file, head)
        except PermissionError:
            raise self._bad(Reason.NO_PERMISSION, "may not be read", LET_READ) from None

    def _csv(self, file: Any, head: bytes) -> Iterator[pa.Table]:
        self._check_text(head)
        if not head.strip():
            yield pa.table({})
            return
        watched = _Watched(file)
        last: pa.RecordBatch | None = None
        try:
            reader = self._open_csv(watched, head)
            self._check_columns(reader.schema.names)
            yield pa.Table.from_batches([], reader.schema)
            for batch in reader:
                last = batch if batch.num_rows else last
                yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise self._malformed(str(error).splitlines()[0]) from None
        # The parser takes an open quote for one value up to the end: all rows in it would be lost.
        if watched.quotes % 2 and last is not None and _has_line_end(last.slice(last.num_rows - 1)):
            raise self._bad(Reason.MALFORMED_CSV, "cannot be read as CSV in UTF-8: a quoted value does not end")
        self.unfinished = self._form.final_newline and watched.last not in b"\r\n"

    def _open_csv(self, file: _Watched, head: bytes) -> pacsv.CSVStreamingReader:
        parse = pacsv.ParseOptions(delimiter=self._form.delimiter, newlines_in_values=True)
        first = pa.BufferReader(_header_line(head))
        with pacsv.open_csv(first, parse_options=parse) as reader:
            names = reader.schema.names
        as_text = pacsv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        blocks = pacsv.ReadOptions(block_size=BLOCK_BYTES)
        return pacsv.open_csv(
            pa.PythonFile(file, mode="r"), read_options=blocks, parse_options=parse, convert_options=as_text
        )

    def _parquet(self, file: Any, head: bytes) -> Iterator[pa.Table]:
        if not head:
            yield pa.table({})
            return
        try:
            content = pq.ParquetFile(file)
            schema = content.schema_arrow
            self._check_columns(schema.names)
            self._check_types(schema)
            yield _as_text(schema.empty_table())
            for batch in content.iter_batches(batch_size=PARQUET_ROWS):
                yield _as_text(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, PermissionError):
                raise
            raise self._bad(Reason.MALFORMED_PARQUET, f"is no Parquet file, or breaks off: {_first(error)}") from None

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

    def _check_columns(self, names: list[str]) -> None:
        for name in names:
            if name in RESERVED:
                raise self._bad(Reason.RESERVED_COLUMN.about(name), f"column {name!r} is reserved", "Rename it")
            if names.count(name) > 1:
                raise self._bad(
                    Reason.REPEATED_COLUMN.about(name), f"column {name!r} occurs more than once", "Rename one"
                )
        if len(names) == 1:
            for other, called in DELIMITERS.items():
                if other in names[0] and other != self._form.delimiter:
                    raise self._bad(
                        Reason.WRONG_DELIMITER,
                        f"is not delimited by {self._form.delimiter!r} but, it seems, by {called}",
                        f"Deliver it with {self._form.delimiter!r}, or set deliveries.delimiter in model.yaml",
                    )

    def _check_types(self, schema: pa.Schema) -> None:
        for field in schema:
            if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
                raise self._bad(
                    Reason.UNSUPPORTED_TYPE.about(field.name),
                    f"column {field.name!r} is {field.type}",
                    "Deliver plain values",
                )
            self.retyped[field.name] = str(field.type)

    def _malformed(self, problem: str) -> BadFile:
        if "invalid UTF8" in problem or "utf-8" in problem:
            return self._bad(Reason.NOT_UTF8, "cannot be read as CSV in UTF-8: a value is in another encoding")
        # What follows is the line itself, with whatever it holds.
        short = problem.partition(": ")[2] or problem
        short = short.split(": ")[0] + ": " + short.split(": ")[1] if short.startswith("Row #") else short
        if "straddl" in short:
            short = "a quoted value does not end"
        return self._bad(Reason.MALFORMED_CSV, f"cannot be read as CSV in UTF-8: {short}")

    def _bad(self, reason: str, what: str, fix: str = _REDELIVER) -> BadFile:
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


def _has_line_end(row: pa.RecordBatch) -> bool:
    return any("\n" in str(value) for value in row.to_pylist()[0].values())


def _as_text(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
