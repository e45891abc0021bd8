"""A delivery: the files that an outside system puts into one folder for one partition, closed by a marker file."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, get_args

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import ConfigError, DeliveryError
from include.core.partition import Partition
from include.core.sections import Deliveries
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.ingestion import plain_files
from include.ingestion.bad_file import LET_READ, BadFile
from include.ingestion.files import DeliveredFile, Flag
from include.ingestion.plain_files import NotPlainError
from include.ingestion.weight import Weight
from include.lakehouse.decisions import Reason
from include.lakehouse.run import open_run
from include.lakehouse.schemas import ROW_NUMBER, SOURCE_FILE, WORKING

MARKER = "_SUCCESS"
WHOLE_BYTES = 1 << 30
"""Of a delivery that is read in one piece: ten million labels have as many."""
SUFFIXES = (".csv", ".parquet")

NAMES = re.compile(r"\w[\w .,()=+-]*")
"""Of files. Names are shown in logs and pages: one that is more than a name is not."""

PACKAGES = {"abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "gcs": "gcsfs", "gs": "gcsfs", "s3": "s3fs"}
"""By scheme of a URL, the package through which fsspec reads it. Not all of them need be installed."""

Kind = Literal["batches", "labels"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Delivery:
    """Where the files of one kind of a partition are expected, and what they hold."""

    model: str
    kind: Kind
    partition: Partition
    folder: str
    """Local folder or fsspec URL; it need not exist yet."""
    form: Deliveries
    """How the model's files are written."""
    sources: Mapping[str, str]
    """By column that the model declares, its name in the files."""
    generated_key: str | None = None
    """The column, of no file, that names each row by its place in the delivery."""
    flags: list[tuple[str, Flag]] = field(default_factory=list, compare=False)
    """By source file the rows that it could not hold as they were meant, once they have been read."""
    types: dict[str, str] = field(default_factory=dict, compare=False)
    """By column the Arrow type it has in Parquet files, once they have been read."""
    ignored: dict[str, int] = field(default_factory=dict, compare=False)
    """The further columns of the files that were left out, with their positions, once they have been read."""

    @classmethod
    def expected(cls, settings: Settings, spec: ModelSpec, kind: Kind, partition: Partition) -> Delivery:
        # The name of the folder is agreed with the outside systems.
        folder = f"{settings.landing_uri}/{spec.name}/{kind}/batch_date={partition.key}"
        columns = spec.columns if kind == "batches" else (*spec.entity.keys, spec.target)
        sources = {name: spec.sources[name] for name in columns if name in spec.sources}
        return cls(spec.name, kind, partition, folder, spec.deliveries, sources, spec.generated_key)

    @property
    def marker(self) -> str:
        return f"{self.folder}/{MARKER}"

    def is_complete(self) -> bool:
        """Whether the marker is there: the sender writes it last.

        Raises:
            BadFile: the folder may not be looked into, or is none, so nobody can tell.
        """
        try:
            return MARKER in self._kinds()
        except FileNotFoundError:
            return False
        except PermissionError:
            raise self._closed("may not be looked into") from None

    def read(self) -> pa.Table:
        """All rows of all files, in the order of file names; for deliveries that fit into memory.

        Returns:
            The columns ``source_file`` (string, below the landing folder) and ``row_number`` (int64, from 1
            in each file), the key where it is generated, then every delivered column as string, where an empty cell
            is null, by the name that the model gives it. A file without a byte has no further columns and no rows.

        Raises:
            DeliveryError: no marker, no file, or a file that cannot be read.
            BadFile: together they have more than `WHOLE_BYTES`.
        """
        parts, size = [], 0
        for part in self.chunks():
            parts.append(part)
            size += part.nbytes
            if size > WHOLE_BYTES:
                what = f"has more than {WHOLE_BYTES >> 20} MB, unpacked"
                raise BadFile(Reason.TOO_LARGE, what, where=self.folder, fix="Deliver fewer rows, or shorter values")
        return pa.concat_tables(parts)

    def chunks(self) -> Iterator[pa.Table]:
        """The rows as ``read`` returns them, in tables of a bounded size, at least one for each file.

        Raises:
            DeliveryError: no marker, or a file grew or went while it was read.
            BadFile: no file, or one that cannot be read; known only when its place is reached.
        """
        if not self.is_complete():
            raise DeliveryError(
                f"the delivery of {self.kind} for {self.partition} is not complete: {MARKER} is missing",
                where=self.folder,
                fix=f"The sender writes the file there first, and an empty file {MARKER} last",
            )
        names = self._file_names()
        before, is_whole = self._sizes(names), False
        with suppress(FileNotFoundError):
            yield from self._chunks_of(names)
            is_whole = before == self._sizes(names)
        if not is_whole:
            raise DeliveryError(
                f"the delivery of {self.kind} for {self.partition} was changed while it was read",
                where=self.folder,
                fix=f"The sender writes {MARKER} last, once no file changes any more. Clear this task then",
            )

    def _chunks_of(self, names: Sequence[str]) -> Iterator[pa.Table]:
        first: list[str] | None = None
        weight, before = Weight(), 0
        for name in names:
            number = 0
            file = DeliveredFile(partial(self._open, name), f"{self.folder}/{name}", self.form, self.sources)
            for rows in file.chunks():
                weight.add(rows, f"{self.folder}/{name}")
                first = first if first is not None else rows.column_names
                if rows.column_names != first:
                    raise BadFile(
                        Reason.FILES_DIFFER,
                        f"{names[0]} and {name} differ in their columns",
                        where=self.folder,
                        fix="Deliver them alike",
                    )
                yield self._numbered(name, rows, number, before + number)
                number += rows.num_rows
            before += number
            self.flags.extend((self.source_file(name), flag) for flag in file.flags)
            self.types.update(file.retyped)
            self.ignored.update(file.ignored)

    def _sizes(self, names: Sequence[str]) -> list[int | None]:
        """How long each file is now; None where it cannot be told."""
        self._files.invalidate_cache(self._path())
        found: list[int | None] = []
        for name in names:
            try:
                found.append(self._files.size(self._path(name)))
            except OSError:
                found.append(None)
        return found

    def write(self, name: str, content: bytes) -> None:
        """Deliver one file, the way a careful sender does: file first, in one step, marker last.

        Delivering the same bytes again changes nothing; another name or other bytes replace the delivery, and while
        that goes on there is no marker.
        """
        files = self._files
        files.makedirs(self._path(), exist_ok=True)
        former = list(self._names())
        if self.is_complete():
            if former == [name] and files.cat_file(self._path(name)) == content:
                return
            files.rm_file(self._path(MARKER))
        for other in former:
            files.rm_file(self._path(other))
        local = "file" in files.protocol
        for target, data in ((name, content), (MARKER, b"")):
            # An object store shows an object once it is whole; a folder needs a rename for that.
            partial = self._path(f".{target}.partial" if local else target)
            files.pipe_file(partial, data)
            if local:
                files.mv(partial, self._path(target))

    @cached_property
    def _location(self) -> tuple[Any, str]:
        """File system and path on it.

        Raises:
            ConfigError: the address is none, or the package for it is not installed.
        """
        try:
            files, path = fsspec.core.url_to_fs(self.folder)
        except (ImportError, ValueError) as error:
            raise _unreadable(self.folder, error) from None
        return files, path

    @property
    def _files(self) -> Any:
        return self._location[0]

    def _path(self, name: str = "") -> str:
        return f"{self._location[1]}/{name}".rstrip("/")

    @property
    def _is_local(self) -> bool:
        return "file" in self._files.protocol

    def _open(self, name: str) -> Any:
        if not self._is_local:
            return self._files.open(self._path(name), "rb")
        return plain_files.open_file(*self._below(), *name.split("/"))

    def _below(self) -> list[str]:
        """The landing folder, and the folders from there to this one."""
        return self._path().rsplit("/", 3)

    def _kinds(self, inner: str = "") -> dict[str, str]:
        """What is in the folder, or in one that is in it: by name ``file``, ``directory`` or what else it is."""
        if self._is_local:
            try:
                return plain_files.kinds(*self._below(), *([inner] if inner else []))
            except NotPlainError as found:
                problem = f"is, or is reached by, a {found.kind}"
                raise BadFile(
                    Reason.NOT_A_FILE, problem, where=f"{self.folder}/{inner}", fix="Deliver plain files"
                ) from None
        self._files.invalidate_cache()  # object stores remember what a folder had
        entries = self._files.ls(self._path(inner), detail=True)
        kinds = {entry["name"].rstrip("/"): entry["type"] for entry in entries}
        return {path.rsplit("/", 1)[-1]: kind for path, kind in kinds.items() if path != self._path(inner)}

    def _names(self, inner: str = "") -> dict[str, str]:
        try:
            kinds = self._kinds(inner)
        except FileNotFoundError:  # an object store has no empty folder
            kinds = {}
        return {name: kind for name, kind in sorted(kinds.items()) if not name.startswith(("_", "."))}

    def _file_names(self) -> list[str]:
        """The files, by their path in the folder: those in it, and the parts in folders that are named like files.

        Raises:
            BadFile: there is none, or something that is none.
        """
        try:
            files = [file for name, kind in self._names().items() for file in self._parts(name, kind)]
        except PermissionError:
            raise self._closed("may not be listed") from None
        if not files:
            raise BadFile(
                Reason.NO_FILE, f"{MARKER} is there, but no file", where=self.folder, fix="Deliver the file again"
            )
        return files

    def _parts(self, name: str, kind: str) -> list[str]:
        self._check_name(name)
        if kind != "directory":
            return [name]
        inside = self._names(name)
        if not inside:
            raise BadFile(Reason.NO_FILE, "has no part", where=f"{self.folder}/{name}", fix="Deliver it again")
        for part, what in inside.items():
            self._check_name(part, name, folder=what == "directory")
        return [f"{name}/{part}" for part in inside]

    def _check_name(self, name: str, *inside: str, folder: bool = False) -> None:
        where, problem, fix = "/".join([self.folder, *inside, name]), "", "Deliver files named *.csv or *.parquet"
        if not NAMES.fullmatch(name):
            where, problem = "/".join([self.folder, *inside]), "has a file whose name has more than letters and digits"
            fix = "Name it of letters, digits and . , - _ = + ( )"
        elif folder:
            problem = "is a folder in a folder of parts"
        elif not name.endswith(SUFFIXES):
            problem = "is no CSV file and no Parquet file"
        if problem:
            raise BadFile(Reason.FOREIGN_FILE, problem, where=where, fix=fix)

    def _closed(self, what: str) -> BadFile:
        return BadFile(Reason.NO_PERMISSION, what, where=self.folder, fix=LET_READ)

    def source_file(self, name: str) -> str:
        """How tables name a file: by its path below the landing folder."""
        return f"{self.model}/{self.kind}/batch_date={self.partition.key}/{name}"

    def _numbered(self, name: str, rows: pa.Table, in_file: int, in_delivery: int) -> pa.Table:
        """The rows with their places, and those before them in the file and in the delivery."""
        numbers = np.arange(1, rows.num_rows + 1, dtype=np.int64)
        added = {
            SOURCE_FILE: pa.repeat(self.source_file(name), rows.num_rows),
            ROW_NUMBER: pa.array(numbers + in_file),
        }
        if self.generated_key and rows.num_columns:
            places = pa.array(numbers + in_delivery).cast(pa.string())
            added[self.generated_key] = pc.binary_join_element_wise(self.partition.key, places, "/")
        # A delivered column of the key's name is another one.
        return pa.table(
            {**added, **{f"{WORKING}{own}" if own in added else own: rows[own] for own in rows.column_names}}
        )


# What the delivery sensors ask: is it there, and what exactly is waited for. Cheap, and safe to ask often.


def batch_delivered(model: str, partition: str) -> bool:
    return _delivery(model, "batches", partition).is_complete()


def batch_marker(model: str, partition: str) -> str:
    return _described("batch", _delivery(model, "batches", partition))


def labels_delivered(model: str, partition: str) -> bool:
    return _delivery(model, "labels", partition).is_complete()


def labels_marker(model: str, partition: str) -> str:
    return _described("labels", _delivery(model, "labels", partition))


def _described(kind: str, delivery: Delivery) -> str:
    return f"the {kind} of {delivery.partition}, marker {delivery.marker}"


def _delivery(model: str, kind: Kind, partition: str) -> Delivery:
    run = open_run(model, partition=partition)
    return Delivery.expected(run.settings, run.spec, kind, run.partition)


def _unreadable(folder: str, error: Exception) -> ConfigError:
    scheme = folder.partition("://")[0]
    package = PACKAGES.get(scheme)
    if package and importlib.util.find_spec(package) is None:
        return ConfigError(
            f"addresses of {scheme}:// need the package {package}, which is not installed",
            where=folder,
            fix=f"Install it where Airflow runs: pip install {package}",
        )
    return ConfigError(
        f"cannot be opened: {error}", where=folder, fix="FLIGHTLINE_LANDING_URI is a folder, or a URL that fsspec reads"
    )
