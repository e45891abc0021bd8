"""A delivery: the files that an outside system puts into one folder for one day, closed by a marker file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from include.errors import DeliveryError
from include.models.spec import ModelSpec
from include.places import Places

MARKER = "_SUCCESS"
RESERVED = ("batch_date", "source_file", "row_number", "extra_columns")
"""Columns that ingestion adds; a file cannot have them."""

Kind = Literal["batches", "labels"]


@dataclass(frozen=True)
class Delivery:
    """Where one day's files of one kind are expected, and what they hold."""

    model: str
    kind: Kind
    day: date
    folder: str
    """Local folder or fsspec URL; it need not exist yet."""

    @classmethod
    def expected(cls, places: Places, spec: ModelSpec, kind: Kind, day: date) -> Delivery:
        folder = f"{places.landing_uri}/{spec.name}/{kind}/batch_date={day.isoformat()}"
        return cls(spec.name, kind, day, folder)

    @property
    def marker(self) -> str:
        return f"{self.folder}/{MARKER}"

    def is_complete(self) -> bool:
        """Whether the marker is there: the sender writes it last."""
        self._files.invalidate_cache()  # object stores remember what a folder had
        return bool(self._files.exists(self._path(MARKER)))

    def read(self) -> pa.Table:
        """All rows of all files, in the order of file names.

        Returns:
            The columns ``source_file`` (string, below the landing folder) and ``row_number`` (int64, from 1
            in each file), then every delivered column as string, where an empty cell is null. A file without
            a byte has no further columns and no rows.

        Raises:
            DeliveryError: no marker, no file, or a file that cannot be read as CSV.
        """
        if not self.is_complete():
            raise DeliveryError(
                f"the delivery of {self.kind} for {self.day} is not complete: {MARKER} is missing",
                where=self.folder,
                fix=f"The sender writes the CSV file there first, and an empty file {MARKER} last",
            )
        names = self._file_names()
        tables = {name: self._read_file(name) for name in names}
        first = tables[names[0]]
        for name, table in tables.items():
            if table.column_names != first.column_names:
                raise DeliveryError(
                    f"{names[0]} and {name} differ in their columns",
                    where=self.folder,
                    fix="Deliver them alike",
                )
        return pa.concat_tables(tables.values())

    def write(self, name: str, content: bytes) -> None:
        """Deliver one file, the way a careful sender does: file first, each by a rename, marker last.

        Delivering the same bytes again changes nothing; another name or other bytes replace the delivery, and while
        that goes on there is no marker.
        """
        files = self._files
        files.makedirs(self._path(), exist_ok=True)
        former = self._names()
        if self.is_complete():
            if former == [name] and files.cat_file(self._path(name)) == content:
                return
            files.rm_file(self._path(MARKER))
        for other in former:
            files.rm_file(self._path(other))
        for target, data in ((name, content), (MARKER, b"")):
            partial = self._path(f".{target}.partial")
            files.pipe_file(partial, data)
            files.mv(partial, self._path(target))

    @cached_property
    def _location(self) -> tuple[Any, str]:
        files, path = fsspec.core.url_to_fs(self.folder)
        return files, path

    @property
    def _files(self) -> Any:
        return self._location[0]

    def _path(self, name: str = "") -> str:
        return f"{self._location[1]}/{name}".rstrip("/")

    def _names(self) -> list[str]:
        names = sorted(path.rsplit("/", 1)[-1] for path in self._files.ls(self._path(), detail=False))
        return [name for name in names if not name.startswith(("_", "."))]

    def _file_names(self) -> list[str]:
        names = self._names()
        if not names:
            raise DeliveryError(f"{MARKER} is there, but no file", where=self.folder, fix="Deliver the file again")
        for name in names:
            if not name.endswith(".csv"):
                raise DeliveryError("is no CSV file", where=f"{self.folder}/{name}", fix="Deliver files named *.csv")
        return names

    def _read_file(self, name: str) -> pa.Table:
        where = f"{self.folder}/{name}"
        try:
            content = self._files.cat_file(self._path(name))
            rows = _parse(content) if content.strip() else pa.table({})
        except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise DeliveryError(
                f"cannot be read as CSV in UTF-8: {str(error).splitlines()[0]}",
                where=where,
                fix="Have the sender deliver it again",
            ) from None
        columns = rows.column_names
        wrong = [column for column in columns if columns.count(column) > 1 or column in RESERVED]
        if wrong:
            why = "is reserved" if wrong[0] in RESERVED else "occurs more than once"
            raise DeliveryError(f"column {wrong[0]!r} {why}", where=where, fix="Rename it")
        source_file = f"{self.model}/{self.kind}/batch_date={self.day.isoformat()}/{name}"
        added = {
            "source_file": pa.repeat(source_file, rows.num_rows),
            "row_number": pa.array(np.arange(1, rows.num_rows + 1, dtype=np.int64)),
        }
        return pa.table({**added, **{column: rows[column] for column in columns}})


def _parse(content: bytes) -> pa.Table:
    """Parse CSV with a header line; a byte order mark is skipped. Every column is string."""
    quoted_newlines = pacsv.ParseOptions(newlines_in_values=True)
    with pacsv.open_csv(pa.BufferReader(content), parse_options=quoted_newlines) as reader:
        names = reader.schema.names
    as_strings = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    return pacsv.read_csv(pa.BufferReader(content), parse_options=quoted_newlines, convert_options=as_strings)
