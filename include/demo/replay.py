"""The outside system that the demo plays: it owns one file and delivers it day by day."""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import logging
import os
import urllib.request
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property
from http.client import HTTPException
from pathlib import Path

import numpy as np

from include.core.errors import ConfigError, DataError, DeliveryError
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.core.spec import Replay as ReplaySpec
from include.ingestion.delivery import Delivery, Kind
from include.lakehouse.run import Workspace

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class SourceFile:
    """The file that is replayed."""

    path: str
    origin: str
    """``file named by <variable>``, ``downloaded`` or ``generated sample``."""
    sha256: str
    verified: bool
    """Whether it is, byte for byte, the file that model.yaml pins."""


def fetch(spec: ModelSpec, cache_folder: Path) -> SourceFile:
    """Find the source file: the one the user names, else the pinned download, else a generated sample.

    The sample is made only where the address cannot be reached. A file that the user names by URL is
    downloaded once; delete it from the cache folder to download it again.

    Raises:
        DeliveryError: the named file is not there, or the download is not the file that model.yaml pins.
    """
    replay = spec.replay
    cache_folder.mkdir(parents=True, exist_ok=True)
    named = os.environ.get(replay.file_variable, "").strip()
    if named:
        return _described(replay, _named_file(replay, named, cache_folder), f"file named by {replay.file_variable}")
    cached = cache_folder / f"{spec.name}-{replay.sha256[:12]}.csv"
    if not (cached.exists() and _sha256(cached) == replay.sha256):
        try:
            content = _download(replay.url)
        except (OSError, HTTPException) as error:
            log.warning("%s cannot be reached (%s): using the generated sample", replay.url, error)
            return _described(replay, _generate(spec, cache_folder), "generated sample")
        _check(replay, content)
        _write(cached, content)
    return _described(replay, cached, "downloaded")


class Replay:
    """Deliver a source file as a history and then as daily batches, their labels apart.

    The rows are shuffled with the seed of model.yaml. Day 0 is ``deliveries.first_day`` and has the history;
    the batches of the following days are nearly equal in size. Texts are delivered as they are in the source.
    The same arguments give the same bytes.
    """

    def __init__(self, spec: ModelSpec, source_file: SourceFile, days: int, drift_from: int | None = None) -> None:
        """
        Args:
            days: number of daily batches after the history.
            drift_from: first day whose ``replay.drift.column`` is multiplied by the factor; None for none.

        Raises:
            ConfigError: more days than the deliveries of model.yaml have.
            DeliveryError: the source cannot be read, or lacks the target or the drift column.
        """
        last_day = spec.deliveries.last_day
        if days < 0 or (last_day is not None and spec.deliveries.first_day + timedelta(days=days) > last_day):
            raise ConfigError(
                f"{days} days of replay do not fit between {spec.deliveries.first_day} and {last_day}",
                where=f"include/models/{spec.name}/model.yaml: deliveries",
                fix="Ask for fewer days",
            )
        self.days, self.drift_from = days, drift_from
        self._spec, self._source = spec, source_file

    def day(self, n: int) -> date:
        return self._spec.deliveries.first_day + timedelta(days=n)

    def deliver_batch(self, places: Places, n: int) -> Delivery:
        """Deliver the rows of day n (0 is the history), without the target. Repeating it changes nothing."""
        drifts = self.drift_from is not None and n >= self.drift_from
        target = self._column(self._spec.target)
        rows = [self._header, *(self._drifted(row) if drifts else row for row in self._rows_of(n))]
        return self._deliver(places, "batches", n, [row[:target] + row[target + 1 :] for row in rows])

    def deliver_labels(self, places: Places, n: int) -> Delivery:
        """Deliver key and target of the rows of day n. Repeating it changes nothing."""
        key, target = self._column(self._spec.entity.key), self._column(self._spec.target)
        rows = [self._header, *self._rows_of(n)]
        return self._deliver(places, "labels", n, [[row[key], row[target]] for row in rows])

    @cached_property
    def _table(self) -> list[list[str]]:
        """The source, header first. Where it has no key column, the number of the row, from 1, is the key."""
        where, key = self._source.path, self._spec.entity.key
        try:
            with Path(where).open(encoding="utf-8-sig", newline="") as file:
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
        if key in header:
            return lines
        return [[key, *header], *([str(number), *line] for number, line in enumerate(lines[1:], start=1))]

    @property
    def _header(self) -> list[str]:
        return self._table[0]

    @cached_property
    def _parts(self) -> list[list[int]]:
        """Line numbers of the source by day."""
        replay = self._spec.replay
        lines = 1 + np.random.default_rng(replay.seed).permutation(len(self._table) - 1)
        history = round(len(lines) * replay.history_share)
        batches = np.array_split(lines[history:], self.days) if self.days else []
        return [part.tolist() for part in (lines[:history], *batches)]

    def _rows_of(self, n: int) -> list[list[str]]:
        if not 0 <= n <= self.days:
            raise DataError(f"day {n} is not part of a replay of {self.days} days", where=self._source.path)
        return [self._table[line] for line in self._parts[n]]

    def _column(self, name: str) -> int:
        if name not in self._header:
            raise DeliveryError(
                f"there is no column {name!r}",
                where=self._source.path,
                fix="Name a file that has it, or none",
            )
        return self._header.index(name)

    def _drifted(self, row: list[str]) -> list[str]:
        drift = self._spec.replay.drift
        column = self._column(drift.column)
        return [*row[:column], _times(row[column], drift.factor), *row[column + 1 :]]

    def _deliver(self, places: Places, kind: Kind, n: int, rows: list[list[str]]) -> Delivery:
        content = io.StringIO(newline="")
        csv.writer(content, lineterminator="\n").writerows(rows)
        delivery = Delivery.expected(places, self._spec, kind, self.day(n))
        delivery.write(Path(self._source.path).name, content.getvalue().encode())
        return delivery


def deliver(
    workspace: Workspace,
    *,
    file: str | None,
    batch: int | None,
    labels: int | None,
    days: int,
    drift_day: int | None,
) -> list[str]:
    """Deliver the batch of one day and the labels of another, as the replay DAG is asked to.

    Args:
        file: path of the source file; None: as `fetch` finds it.
        batch: day whose rows are delivered, 0 being the history; None for none.
        labels: day whose labels are delivered; None for none.

    Returns:
        The folders that were delivered.
    """
    spec, places = workspace.spec, workspace.places
    source = _described(spec.replay, Path(file), "given") if file else fetch(spec, Path(places.landing_uri) / ".cache")
    replay = Replay(spec, source, days, drift_day)
    delivered = [] if batch is None else [replay.deliver_batch(places, batch)]
    delivered += [] if labels is None else [replay.deliver_labels(places, labels)]
    for delivery in delivered:
        log.info("Delivered %s from %s", delivery.folder, source.path)
    return [delivery.folder for delivery in delivered]


def _times(text: str, factor: float) -> str:
    """Multiply a decimal number as it is written; what is no number stays as it is."""
    try:
        return f"{(Decimal(text) * Decimal(str(factor))).normalize():f}"
    except InvalidOperation:
        return text


def _named_file(replay: ReplaySpec, named: str, cache_folder: Path) -> Path:
    where = f"environment variable {replay.file_variable}"
    if named.startswith(("http://", "https://")):
        cached = cache_folder / f"named-{hashlib.sha256(named.encode()).hexdigest()[:12]}.csv"
        if not cached.exists():
            try:
                _write(cached, _download(named))
            except (OSError, HTTPException) as error:
                raise DeliveryError(
                    f"{named} cannot be downloaded: {error}",
                    where=where,
                    fix="Correct the address, or unset it",
                ) from None
        return cached
    path = Path(named).expanduser().absolute()
    if not path.is_file():
        raise DeliveryError(f"there is no file {path}", where=where, fix="Correct the path, or unset it")
    return path


def _download(url: str) -> bytes:
    # The address is that of model.yaml, or one of the user's that begins with http.
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
        content: bytes = response.read()
    return content


def _check(replay: ReplaySpec, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if len(content) != replay.bytes or found != replay.sha256:
        raise DeliveryError(
            f"the download has {len(content)} bytes and SHA-256 {found}, "
            f"model.yaml pins {replay.bytes} bytes and SHA-256 {replay.sha256}",
            where=replay.url,
            fix=f"Name a file that you trust by the environment variable {replay.file_variable}",
        )


def _generate(spec: ModelSpec, cache_folder: Path) -> Path:
    module, function = spec.replay.sample.split(":")
    sample = getattr(importlib.import_module(module), function)()
    path = cache_folder / f"{spec.name}-generated-sample.csv"
    _write(path, sample.to_csv(index=False, lineterminator="\n").encode())
    return path


def _described(replay: ReplaySpec, path: Path, origin: str) -> SourceFile:
    sha256 = _sha256(path)
    return SourceFile(str(path), origin, sha256, verified=sha256 == replay.sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)
