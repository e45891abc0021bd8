"""The rows that features.sql sees: those of its partition, and of ``features.lookback`` before it.

What a partition's features were made of is kept, so that a day which comes late, again, or is withdrawn names the
later ones that are to be computed again (docs/decisions/2026-11-22-features-that-look-back.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse import checksum
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP, METRICS, PARTITION, TIMESTAMP
from include.lakehouse.selection import Where, between, within
from include.lakehouse.tables import Lakehouse

SOURCE = "features"
"""Of the rows of ``metrics_`` that say which rows a partition's features were made of."""
CONTENT = "clean_content"
"""Their metric: by partition that was looked back on, a checksum of its rows; 0 where there was none."""

_RECORDED: Where = (("source", "=", SOURCE), ("metric", "=", CONTENT))


def first_partition(spec: ModelSpec, partition: Partition) -> Partition:
    """The first one of which features.sql sees rows; the partition itself where nothing is looked back on."""
    first = Partition.of(_since(spec, partition), spec.grain)
    return max(first, min(spec.first_partition, partition))


def where(spec: ModelSpec, partition: Partition) -> Where:
    """The accepted rows that features.sql sees for a partition: none of a later one."""
    if spec.features.lookback is None:
        return within(partition)
    return [*between(first_partition(spec, partition), partition), (EVENT_TIMESTAMP, ">=", _since(spec, partition))]


def own(spec: ModelSpec, features: pa.Table, partition: Partition) -> pa.Table:
    """The rows of the partition, of what features.sql makes of all that it sees."""
    if spec.features.lookback is None:
        return features
    before = pc.less(features[EVENT_TIMESTAMP], pa.scalar(partition.start, TIMESTAMP))
    return features.filter(pc.invert(pc.fill_null(before, False)))


def record(spec: ModelSpec, lake: Lakehouse, partition: Partition, clean: pa.Table) -> None:
    """Keep of which rows a partition's features were made.

    Args:
        clean: all that features.sql saw.
    """
    if not (seen := _seen(spec, partition, clean)):
        return
    rows = pa.table(
        {
            PARTITION: [partition.key] * len(seen),
            "metric": [CONTENT] * len(seen),
            "slice": list(seen),
            "value": list(seen.values()),
            "threshold": pa.nulls(len(seen), pa.float64()),
            "model_version": pa.nulls(len(seen), pa.string()),
            "source": [SOURCE] * len(seen),
        }
    )
    lake.replace(METRICS.of(spec), rows, {PARTITION: partition.key, "source": SOURCE})


def is_stale(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> bool:
    """Whether a partition's features looked back on other rows than there are now, or nothing says on which."""
    recorded = lake.read_if_exists(METRICS.of(spec), where=[*within(partition), *_RECORDED], columns=["slice", "value"])
    before = dict(zip(*(recorded[name].to_pylist() for name in ("slice", "value")), strict=True)) if recorded else {}
    return before != _seen(spec, partition, lake.read(CLEAN.of(spec), where=where(spec, partition)))


def stale(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> list[Partition]:
    """The later partitions whose features looked back on other rows of this one than there are now, oldest first.

    Only accepted ones: of another nobody makes features.
    """
    if spec.features.lookback is None:
        return []
    last = Partition.of(partition.last_moment + spec.features.lookback, spec.grain)
    table = METRICS.of(spec)
    if last == partition or not lake.exists(table):
        return []
    recorded = lake.read(
        table,
        where=[*between(partition.shift(1), last), *_RECORDED, ("slice", "=", partition.key)],
        columns=[PARTITION, "value"],
    )
    clean, accepted = CLEAN.of(spec), lake.rows_by_partition(CLEAN.of(spec))
    rows = lake.read(clean, where=within(partition))
    whole = checksum.by_partition(rows).get(partition.key, 0.0)
    found = []
    for key, content in zip(*(recorded[name].to_pylist() for name in (PARTITION, "value")), strict=True):
        later = Partition.parse(key, spec.grain)
        since = _since(spec, later)
        seen = whole if since <= partition.start else checksum.by_partition(_after(rows, since)).get(partition.key, 0.0)
        if content != seen and accepted.get(key):
            found.append(later)
    return sorted(found)


def _seen(spec: ModelSpec, partition: Partition, clean: pa.Table) -> dict[str, float]:
    """By each earlier partition that is looked back on the checksum of its rows; 0 where there are none."""
    first = first_partition(spec, partition)
    if first == partition:
        return {}
    found = checksum.by_partition(clean)
    return {item.key: found.get(item.key, 0.0) for item in first.to(partition.shift(-1))}


def _since(spec: ModelSpec, partition: Partition) -> datetime:
    return partition.start - (spec.features.lookback or timedelta())


def _after(rows: pa.Table, since: datetime) -> pa.Table:
    return rows.filter(pc.greater_equal(rows[EVENT_TIMESTAMP], pa.scalar(since, TIMESTAMP)))
