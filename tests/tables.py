"""Rows for tests: what a test does not care about is null."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable

from include.core.partition import Grain, Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import FEATURES, FEATURES_VERSION, MODEL_VERSION, PARTITION, PREDICTIONS, ModelTable
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse


def day(key: str) -> Partition:
    return Partition.parse(key, Grain.DAY)


def put(
    lake: Lakehouse, table: ModelTable, rows: pd.DataFrame | pa.Table, partition: Partition | Mapping[str, Any]
) -> int:
    """Make rows a partition of a table; columns that they lack are null, those of the partition are filled in."""
    values = {PARTITION: partition.key} if isinstance(partition, Partition) else dict(partition)
    given = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
    for name, value in values.items():
        if name in given.column_names:
            given = given.drop_columns([name])
        given = given.append_column(name, pa.repeat(pa.scalar(value, table.schema.field(name).type), given.num_rows))
    for field in table.schema:
        if field.name not in given.column_names:
            given = given.append_column(field.name, pa.nulls(given.num_rows, field.type))
    return lake.replace(table, given, values)


def put_predictions(
    lake: Lakehouse, spec: ModelSpec, partition: Partition, version: str, predictions: pd.DataFrame
) -> int:
    """Make rows the predictions of a version, beside those of others; made from the features of now, if there are."""
    features, table = FEATURES.of(spec), PREDICTIONS.of(spec)
    own = predictions.assign(**{MODEL_VERSION: version})
    if lake.exists(features):
        own[FEATURES_VERSION] = lake.version(features)
    before = lake.read_if_exists(table, where=[*within(partition), (MODEL_VERSION, "!=", version)])
    if before is not None and before.num_rows:
        own = pd.concat([before.to_pandas(integer_object_nulls=True), own], ignore_index=True)
    return put(lake, table, own, partition)


class Overtaken(Lakehouse):
    """Of the first write another one comes before: between its look at the table, and its commit."""

    def __init__(self, root: str, other: Callable[[], object]) -> None:
        super().__init__(root)
        self._other: Callable[[], object] | None = other

    @contextmanager
    def _writable(self, table: ModelTable) -> Iterator[DeltaTable]:
        with super()._writable(table) as opened:
            other, self._other = self._other, None
            if other:
                other()
            yield opened
