"""What was predicted for a partition: by the version that was served, and by those that scored it beside."""

from __future__ import annotations

import pyarrow as pa

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import FEATURES_VERSION, MODEL_VERSION, PREDICTION, PREDICTIONS, SERVED
from include.lakehouse.tables import Lakehouse, Where, within


def served_rows(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> pa.Table | None:
    """The predictions that were served, None where there is none: key columns, prediction, model_version and
    features_version."""
    return _rows(spec, lake, partition, (SERVED, "=", True))


def rows_of(spec: ModelSpec, lake: Lakehouse, partition: Partition, version: str) -> pa.Table | None:
    """The predictions of one version, served and beside, as `served_rows`."""
    return _rows(spec, lake, partition, (MODEL_VERSION, "=", version))


def served_version(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> str | None:
    """The version whose predictions were served; None where there is none."""
    table = PREDICTIONS.of(spec)
    if not lake.exists(table):
        return None
    with lake.reader(table, where=[*within(partition), (SERVED, "=", True)], columns=[MODEL_VERSION]) as batches:
        return next((str(batch[MODEL_VERSION][0]) for batch in batches if batch.num_rows), None)


def first_served_rows(spec: ModelSpec, lake: Lakehouse, version: str, before: Partition) -> pa.Table | None:
    """Of the partitions before one, the predictions of the first that a version was served for; None without one.

    Only partitions are looked into of which the table's own record says that the version may be there.
    """
    for key in lake.partitions_with(PREDICTIONS.of(spec), [(MODEL_VERSION, "=", version), (SERVED, "=", True)]):
        found = Partition.parse(key, spec.grain)
        if found >= before:
            break
        rows = served_rows(spec, lake, found)
        if rows is not None and rows[MODEL_VERSION][0].as_py() == version:
            return rows
    return None


def _rows(spec: ModelSpec, lake: Lakehouse, partition: Partition, chosen: tuple[str, str, object]) -> pa.Table | None:
    where: Where = [*within(partition), chosen]
    columns = [*spec.entity.keys, PREDICTION, MODEL_VERSION, FEATURES_VERSION]
    table = lake.read_if_exists(PREDICTIONS.of(spec), where=where, columns=columns)
    return table if table is not None and table.num_rows else None
