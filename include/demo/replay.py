"""The outside system that the demo plays: it owns one file and delivers it partition by partition."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from http.client import HTTPException
from io import BufferedReader
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import urlsplit

import numpy as np

from include.core.errors import ConfigError, DataError, DeliveryError
from include.core.partition import Partition
from include.core.sections import Replay as ReplaySpec
from include.core.sections import ReplayTime
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.ingestion import plain_files
from include.ingestion.delivery import Delivery, Kind
from include.ingestion.plain_files import NotPlainError
from include.lakehouse.run import Run

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30
MOST_BYTES = 1 << 30
"""Of a download."""
CACHE = ".cache"
"""The folder of source files, below the landing folder."""


@dataclass(frozen=True)
class SourceFile:
    """The file that is replayed."""

    path: str
    origin: str
    """``file named by <variable>``, ``downloaded`` or ``generated sample``."""
    sha256: str
    verified: bool
    """Whether it is, byte for byte, the file that model.yaml pins; False where it pins none."""


def fetch(spec: ModelSpec, cache_folder: Path) -> SourceFile:
    """Find the source file: the one the user names, else the pinned download, else a generated sample.

    The sample is made only where the address cannot be reached, or model.yaml has none. A file that the user names by
    URL is downloaded once; delete it from the cache folder to download it again.

    Raises:
        ConfigError: model.yaml has no section ``replay``.
        DeliveryError: the named file is not there, or the download is not the file that model.yaml pins.
    """
    replay = section(spec)
    cache_folder.mkdir(parents=True, exist_ok=True)
    named = os.environ.get(replay.file_variable, "").strip()
    if named:
        return _described(replay, _named_file(replay, named, cache_folder), f"file named by {replay.file_variable}")
    if replay.url is None or replay.sha256 is None:
        return _sample(spec, replay, cache_folder)
    cached = cache_folder / f"{spec.name}-{replay.sha256[:12]}.csv"
    if not (cached.exists() and _sha256(cached) == replay.sha256):
        try:
            content = _download(replay.url)
        except (OSError, HTTPException) as error:
            log.warning("%s cannot be reached (%s): using the generated sample", replay.url, error)
            return _sample(spec, replay, cache_folder)
        _check(replay, content)
        _write(cached, content)
    return _described(replay, cached, "downloaded")


def keep(file: SourceFile, cache_folder: Path) -> SourceFile:
    """The same file in the cache folder, from where a run may play it."""
    kept = cache_folder / Path(file.path).name
    if Path(file.path) != kept:
        with _open(Path(file.path)) as content:
            _write(kept, content.read())
    return replace(file, path=str(kept))


def section(spec: ModelSpec) -> ReplaySpec:
    """The section ``replay`` of model.yaml.

    Raises:
        ConfigError: the model has none.
    """
    if spec.replay is None:
        raise ConfigError(
            "there is no section replay, so there is no source to play",
            where=spec.file(),
            fix="Add one, or deliver files to the landing folder",
        )
    return spec.replay


class Replay:
    """Deliver a source file as a history and then as one batch a partition, their labels apart.

    Number 0 is the first partition. Rows with a time of their own (``replay.time``) are delivered with the partition
    that they are of, in the order of the source; the history is the first of these partitions. Others are shuffled with
    the seed of model.yaml: the history is number 0, and the batches that follow are nearly equal in size. Texts are
    delivered as they are in the source. The same arguments give the same bytes.
    """

    def __init__(self, spec: ModelSpec, source_file: SourceFile, days: int, drift_from: int | None = None) -> None:
        """
        Args:
            days: number of batches after the history, each of them one partition of the model's grain.
            drift_from: first one whose ``replay.drift.column`` is multiplied by the factor; None for none.

        Raises:
            ConfigError: model.yaml has no section ``replay``, or none for the drift that is asked for, or more
                batches are wanted than its deliveries have.
        """
        self._replay = section(spec)
        where, last_day = spec.file(), spec.deliveries.last_day
        self._last = self._replay.history_partitions - 1 + days
        if days < 0 or (spec.last_partition and spec.first_partition.shift(self._last) > spec.last_partition):
            raise ConfigError(
                f"{days} {spec.grain}s of replay after {self._replay.history_partitions} of history do not fit "
                f"between {spec.deliveries.first_day} and {last_day}",
                where=f"{where}: deliveries",
                fix=f"Ask for fewer {spec.grain}s",
            )
        if drift_from is not None and self._replay.drift is None:
            raise ConfigError(
                "there is no section replay.drift, so nothing can drift",
                where=where,
                fix="Add one, or ask for no drift_day",
            )
        self.days, self.drift_from = days, drift_from
        self._spec, self._source = spec, source_file

    def deliver_batch(self, settings: Settings, n: int) -> Delivery:
        """Deliver the rows of partition n (0 is the history), without the target. Repeating it changes nothing."""
        target, rows = self._column(self._spec.target), self._rows_of(n)
        drift = self._replay.drift
        if drift is not None and self.drift_from is not None and n >= self.drift_from:
            drifting = self._column(drift.column)
            rows = [[*row[:drifting], _times(row[drifting], drift.factor), *row[drifting + 1 :]] for row in rows]
        return self._deliver(
            settings, "batches", n, [row[:target] + row[target + 1 :] for row in [self._header, *rows]]
        )

    def deliver_labels(self, settings: Settings, n: int) -> Delivery:
        """Deliver key and target of the rows of partition n. Repeating it changes nothing."""
        delivered = (*self._spec.entity.keys, self._spec.target)
        columns = [self._column(name) for name in delivered if name in self._spec.sources]
        rows = [self._header, *self._rows_of(n)]
        return self._deliver(settings, "labels", n, [[row[column] for column in columns] for row in rows])

    @cached_property
    def _table(self) -> list[list[str]]:
        """The source, header first. A column of the key that it lacks is the number of the row, from 1."""
        where = self._source.path
        try:
            with io.TextIOWrapper(_open(Path(where)), encoding="utf-8-sig", newline="") as file:
                lines = [line for line in csv.reader(file) if line]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DeliveryError(f"cannot be read as CSV in UTF-8: {error}", where=where) from None
        header = lines[0] if lines else []
        for number, line in enumerate(lines, start=1):
            if len(line) != len(header):
                raise DeliveryError(
                    f"line {number} has {len(line)} fields instead of {len(header)}",
                    where=where,
                    fix="Mend the file",
                )
        sources = [self._spec.sources[key] for key in self._spec.entity.keys if key in self._spec.sources]
        missing = [source for source in sources if source not in header]
        if len(missing) != 1:  # of several, what is delivered lacks them, and is rejected
            return lines
        return [[missing[0], *header], *([str(number), *line] for number, line in enumerate(lines[1:], start=1))]

    @property
    def _header(self) -> list[str]:
        return self._table[0]

    @cached_property
    def _parts(self) -> list[list[int]]:
        """Line numbers of the source by partition."""
        replay = self._replay
        if replay.time is not None:
            return self._parts_by_time(replay.time)
        lines = 1 + np.random.default_rng(replay.seed).permutation(len(self._table) - 1)
        history = round(len(lines) * (replay.history_share or 0.0))
        batches = np.array_split(lines[history:], self.days) if self.days else []
        return [part.tolist() for part in (lines[:history], *batches)]

    def _parts_by_time(self, time: ReplayTime) -> list[list[int]]:
        column, found = self._column(time.column), defaultdict(list)
        partition_of: dict[str, Partition] = {}  # many rows have one date
        for line, row in enumerate(self._table[1:], start=1):
            text = row[column]
            if text not in partition_of:
                partition_of[text] = self._partition_of(text, time, line + 1)
            found[partition_of[text]].append(line)
        first = self._spec.first_partition
        return [found[partition] for partition in first.to(first.shift(self._last))]

    def _partition_of(self, text: str, time: ReplayTime, line: int) -> Partition:
        """The partition of a time as it is written.

        Raises:
            DeliveryError: it is no such time, or of no partition that model.yaml expects: its row would be lost.
        """
        where = f"{self._source.path}, line {line}"
        try:
            at = datetime.strptime(text, time.format)  # noqa: DTZ007  (without a zone it is UTC: `Partition.of`)
        except ValueError:
            raise DeliveryError(
                f"{time.column} is no time of the format {time.format!r}", where=where, fix="Mend the file"
            ) from None
        partition, last = Partition.of(at, self._spec.grain), self._spec.last_partition
        if partition < self._spec.first_partition or (last and partition > last):
            raise DeliveryError(
                f"{time.column} is of {partition}, and deliveries are from {self._spec.first_partition}"
                f"{f' to {last}' if last else ' on'}",
                where=where,
                fix=f"Change deliveries in {self._spec.file()}",
            )
        return partition

    def _rows_of(self, n: int) -> list[list[str]]:
        if not 0 <= n <= self._last:
            raise DataError(
                f"{self._spec.grain} {n} is not part of a replay of {self.days} {self._spec.grain}s",
                where=self._source.path,
                fix=f"There are 0 to {self._last}",
            )
        return [self._table[line] for line in self._parts[n]]

    def _column(self, name: str) -> int:
        """Which of the source's columns that of model.yaml is."""
        name = self._spec.sources[name]
        if name not in self._header:
            raise DeliveryError(
                f"there is no column {name!r}",
                where=self._source.path,
                fix="Name a file that has it, or none",
            )
        return self._header.index(name)

    def _deliver(self, settings: Settings, kind: Kind, n: int, rows: list[list[str]]) -> Delivery:
        content = io.StringIO(newline="")
        csv.writer(content, lineterminator="\n").writerows(rows)
        delivery = Delivery.expected(settings, self._spec, kind, self._spec.first_partition.shift(n))
        delivery.write(f"{self._spec.name}.csv", content.getvalue().encode())
        return delivery


def deliver(
    run: Run,
    *,
    file: str | None,
    batch: int | None,
    labels: int | None,
    days: int,
    drift_day: int | None,
) -> list[str]:
    """Deliver the batch of one partition and the labels of another, as the replay DAG is asked to.

    Args:
        file: path of the source file, in the cache folder or the one that the environment names; None: as `fetch`
            finds it.
        batch: number of the partition whose rows are delivered, 0 being the first; None for none.
        labels: number of the partition whose labels are delivered; None for none.
        days: number of partitions after the history.
        drift_day: number of the first partition that drifts; None for none.

    Returns:
        The folders that were delivered.
    """
    spec, settings = run.spec, run.settings
    cache_folder = Path(settings.landing_uri) / CACHE
    source = _given(section(spec), Path(file), cache_folder) if file else fetch(spec, cache_folder)
    replay = Replay(spec, source, days, drift_day)
    delivered = [] if batch is None else [replay.deliver_batch(settings, batch)]
    delivered += [] if labels is None else [replay.deliver_labels(settings, labels)]
    for delivery in delivered:
        log.info("Delivered %s from %s", delivery.folder, source.path)
    return [delivery.folder for delivery in delivered]


def _times(text: str, factor: float) -> str:
    """Multiply a decimal number as it is written; what is no number stays as it is."""
    try:
        return f"{(Decimal(text) * Decimal(str(factor))).normalize():f}"
    except InvalidOperation:
        return text


def _given(replay: ReplaySpec, path: Path, cache_folder: Path) -> SourceFile:
    """The file that a run names. Who may start a run may not read every file that Airflow may."""
    named = os.environ.get(replay.file_variable, "").strip()
    if named and path.resolve() == Path(named).expanduser().resolve():
        return _described(replay, path.resolve(), f"file named by {replay.file_variable}")
    if path.parent.resolve() != cache_folder.resolve():
        raise DeliveryError(
            f"{path} is not played: it is not in {cache_folder}",
            where="file",
            fix=f"Put it there, or name it by the environment variable {replay.file_variable}",
        )
    return _described(replay, path, "given")


def _named_file(replay: ReplaySpec, named: str, cache_folder: Path) -> Path:
    where = f"environment variable {replay.file_variable}"
    if named.startswith(("http://", "https://")):
        cached = cache_folder / f"named-{hashlib.sha256(named.encode()).hexdigest()[:12]}.csv"
        if not cached.exists():
            try:
                _write(cached, _download(named))
            except (OSError, HTTPException) as error:
                raise DeliveryError(
                    f"what it names at {urlsplit(named).hostname} cannot be downloaded: {error}",  # it may hold a key
                    where=where,
                    fix="Correct the address, or unset it",
                ) from None
        return cached
    path = Path(named).expanduser().resolve()
    if not path.is_file():
        raise DeliveryError(f"there is no file {path}", where=where, fix="Correct the path, or unset it")
    return path


def _download(url: str) -> bytes:
    # The address is that of model.yaml, or one of the user's that begins with http.
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
        content: bytes = response.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"it has more than {MOST_BYTES >> 20} MB")
    return content


def _check(replay: ReplaySpec, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if len(content) != replay.bytes or found != replay.sha256:
        raise DeliveryError(
            f"the download has {len(content)} bytes and SHA-256 {found}, "
            f"model.yaml pins {replay.bytes} bytes and SHA-256 {replay.sha256}",
            where=str(replay.url),
            fix=f"Name a file that you trust by the environment variable {replay.file_variable}",
        )


def _sample(spec: ModelSpec, replay: ReplaySpec, cache_folder: Path) -> SourceFile:
    path = cache_folder / f"{spec.name}-generated-sample.csv"
    sample = resolve_name(replay.sample)()
    _write(path, sample.to_csv(index=False, lineterminator="\n").encode())
    return _described(replay, path, "generated sample")


def _described(replay: ReplaySpec, path: Path, origin: str) -> SourceFile:
    sha256 = _sha256(path)
    return SourceFile(str(path), origin, sha256, verified=sha256 == replay.sha256)


def _sha256(path: Path) -> str:
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> BufferedReader:
    try:
        return plain_files.open_file(str(path.parent), path.name)
    except NotPlainError as found:
        raise DeliveryError(f"is a {found.kind}", where=str(path), fix="Name a plain file") from None


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)
