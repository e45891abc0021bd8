"""The rows that a folder is checked on, and the deliveries that are made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from include.core.errors import UsageError
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.ingestion.delivery import KINDS, Delivery
from include.scaffold import profile, source, times, windows
from include.scaffold.guess import Wanted
from include.scaffold.source import Source

ROWS = 10_000
"""Of a larger file so many are taken: the newest ones where they have a time, others by chance."""
PARTITIONS = 12
"""So many are delivered where keys come again in each, or each row's time counts."""


@dataclass(frozen=True)
class Sample:
    """Rows by the partition that they are delivered for, oldest first; every column as text."""

    name: str
    parts: Mapping[Partition, pa.Table]
    usual_rows: int | None = None
    """Of a partition, were every row delivered with the one that it is of; None where the rows have no time."""

    @property
    def rows(self) -> int:
        return sum(part.num_rows for part in self.parts.values())

    def deliver(self, settings: Settings, spec: ModelSpec, partition: Partition) -> None:
        """Put the batch and the labels of a partition where they are expected."""
        rows = self.parts[partition]
        for kind in KINDS:
            delivery = Delivery.expected(settings, spec, kind, partition)
            content = pa.BufferOutputStream()
            written = rows.select(list(delivery.sources)).rename_columns(list(delivery.sources.values()))
            pacsv.write_csv(written, content, pacsv.WriteOptions(delimiter=spec.deliveries.delimiter))
            delivery.write(f"{spec.name}.csv", content.getvalue().to_pybytes())


def of(spec: ModelSpec, data: str, time: Sequence[str], scratch: Path) -> Sample:
    """The rows of a file, or of what the section replay names, cut into deliveries.

    Where the keys are there once, the oldest rows are the first partition's, the history; the newest are those of the
    next one that a split by time tests on. Where they come again, or each row's time counts (``event_time``), the
    newest partitions are delivered as they are.

    Args:
        time: columns that say when a row was so; nothing where the folder says it.
        scratch: a folder that a generated sample can be written to.

    Raises:
        UsageError: no file is named, or it lacks columns of the model.
        BadFile: it cannot be read.
    """
    read = _source(spec, data, scratch)
    texts = _with_key(spec, read.texts)
    wanted = [*spec.columns, spec.target]
    if missing := [spec.sources.get(name, name) for name in wanted if name not in texts.column_names]:
        raise UsageError(
            f"has no column {', '.join(missing)}, which model.yaml names",
            where=read.name,
            fix="Name a file that has the columns and the target, or change model.yaml",
        )
    found = profile.of(replace(read, texts=texts.select(wanted), types={}))
    when = times.find(found, Wanted(time=tuple(time)).by_name(spec.sources).time or _dates(spec))
    usual = windows.usual_rows(when.values, spec.grain) if when else None
    keys = pd.DataFrame({name: texts[name].to_pandas() for name in spec.entity.keys})
    if when is not None and (spec.event_time or keys.duplicated().any()):
        return Sample(read.name, _by_partition(spec, texts, when.values), usual)
    order = (
        np.random.default_rng(spec.training.seed).permutation(texts.num_rows)
        if when is None
        else when.values.argsort(kind="stable").to_numpy()
    )[-ROWS:]
    newest = max(1, int(len(order) * spec.training.split.test_share))
    parts = {spec.first_partition: order[:-newest], _tested(spec): order[-newest:]}
    return Sample(read.name, {partition: texts.take(pa.array(rows)) for partition, rows in parts.items()}, usual)


def _source(spec: ModelSpec, data: str, scratch: Path) -> Source:
    if data:
        return source.read(data, spec.sources)
    if spec.replay is None:
        raise UsageError(
            "no file is named, and there is no section replay",
            where=spec.file(),
            fix=f"make check-model NAME={spec.name} DATA=file.csv",
        )
    named = os.environ.get(spec.replay.file_variable, "").strip()
    if named and "://" not in named:
        return source.read(named, spec.sources)
    file = scratch / f"{spec.name}.csv"
    resolve_name(spec.replay.sample)().to_csv(file, index=False, lineterminator="\n")
    return source.read(str(file), spec.sources)


def _with_key(spec: ModelSpec, texts: pa.Table) -> pa.Table:
    """The rows, with a key that is made, or with the numbers that a replayed source gives them."""
    missing = [key for key in spec.entity.keys if key not in texts.column_names]
    if (spec.replay is None and spec.generated_key is None) or len(missing) != 1:
        return texts
    numbers = [str(number) for number in range(1, texts.num_rows + 1)]
    return texts.append_column(missing[0], pa.array(numbers, pa.string()))


def _dates(spec: ModelSpec) -> Sequence[str]:
    """Where the folder says when a row was so; ``none`` where its rows are split without regard to that."""
    if spec.event_time:
        return [spec.event_time]
    if spec.training.split.kind != "by_time":
        return [times.NONE]
    return [spec.ingestion.freshness.column] if spec.ingestion.freshness else []


def _tested(spec: ModelSpec) -> Partition:
    return spec.first_partition.shift(1 + spec.training.split.gap)


def _by_partition(spec: ModelSpec, texts: pa.Table, when: pd.Series) -> dict[Partition, pa.Table]:
    partitions = np.array([Partition.of(at.to_pydatetime(), spec.grain).key for at in when])
    newest = [Partition.parse(key, spec.grain) for key in np.unique(partitions)[-PARTITIONS:]]
    places = {partition: np.flatnonzero(partitions == partition.key) for partition in newest}
    return {partition: texts.take(pa.array(rows)) for partition, rows in places.items()}
