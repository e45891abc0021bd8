"""Whether features know of rows that come after them: they are computed once more without those, and compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import ConfigError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import lookback, query
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP, TIMESTAMP
from include.lakehouse.tables import Lakehouse

MOMENTS = 4
"""Of a partition: at so many of its event times it is compared."""
TOLERANCE = 1e-9
"""Of floats, as a share of the feature's largest value: sums in another order differ in their last digits."""


def check(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> int:
    """Compare a partition's features with those that features.sql gives before its later rows are there, and with those
    that it gives for the same rows in another order.

    Returns:
        At how many moments it was compared; 0 where all rows of the partition are of one, and know no later one.

    Raises:
        ConfigError: naming the features that differ.
    """
    clean = lake.read(CLEAN.of(spec), where=lookback.where(spec, partition))
    features = query.of_rows(spec, clean, partition)
    reversed_rows = clean.take(pa.array(np.arange(clean.num_rows)[::-1]))
    if differing := _differing(spec, features, query.of_rows(spec, reversed_rows, partition)):
        raise ConfigError(
            f"{_named(differing)} when the same rows of {partition} come in another order",
            where=spec.file("features.sql"),
            fix="Rows of one event_timestamp have no order: have ORDER BY name the entity's key, too",
        )
    moments = list(_moments(clean, partition))
    for moment in moments:
        until = pa.scalar(moment, TIMESTAMP)
        known = query.of_rows(spec, clean.filter(pc.less_equal(clean[EVENT_TIMESTAMP], until)), partition)
        then = features.filter(pc.less_equal(features[EVENT_TIMESTAMP], until))
        if differing := _differing(spec, then, known):
            raise ConfigError(
                f"{_named(differing)} of {moment:%Y-%m-%d %H:%M:%S} UTC or before once later rows are there, which no "
                "prediction at that time can know",
                where=spec.file("features.sql"),
                fix="End each window at its row: ORDER BY event_timestamp RANGE BETWEEN INTERVAL ... PRECEDING AND "
                "CURRENT ROW, or INTERVAL 1 MICROSECOND PRECEDING to leave out rows of the same time",
            )
    return len(moments)


def _moments(clean: pa.Table, partition: Partition) -> Iterator[datetime]:
    """Some event times of the partition, evenly among them, but for the last: nothing is after that."""
    times = sorted(at for at in pc.unique(clean[EVENT_TIMESTAMP]).to_pylist() if at >= partition.start)[:-1]
    for place in np.unique(np.linspace(0, len(times) - 1, min(MOMENTS, len(times)), dtype=int)):
        yield times[place]


def _differing(spec: ModelSpec, one: pa.Table, other: pa.Table) -> dict[str, tuple[int, int]]:
    """By feature in how many rows, of how many, two tables differ; or that they have not the same rows."""
    named = [*spec.entity.keys, EVENT_TIMESTAMP]
    one, other = (table.sort_by([(name, "ascending") for name in named]) for table in (one, other))
    if not one.select(named).equals(other.select(named)):
        both = pa.concat_tables([one.select(named), other.select(named)]).group_by(named).aggregate([([], "count_all")])
        return {"the choice of rows": (int(pc.sum(pc.less(both["count_all"], 2)).as_py()), both.num_rows)}
    found = {name: _count(one[name], other[name]) for name in one.column_names if name not in named}
    return {name: (count, one.num_rows) for name, count in found.items() if count}


def _count(one: pa.ChunkedArray, other: pa.ChunkedArray) -> int:
    """How many values differ; null is the same as null alone."""
    if pa.types.is_floating(one.type):
        largest = max(pc.max(pc.abs(column)).as_py() or 0.0 for column in (one, other))
        same = pc.less_equal(pc.abs(pc.subtract(one, other)), TOLERANCE * largest)
    else:
        same = pc.equal(one, other)
    unknown = pc.and_(pc.is_null(one), pc.is_null(other))
    return int(pc.sum(pc.invert(pc.or_(unknown, pc.fill_null(same, False)))).as_py() or 0)


def _named(differing: dict[str, tuple[int, int]]) -> str:
    """``avg_income differs in 120 of 400 rows``."""
    return ", ".join(f"{name} differs in {count} of {rows} rows" for name, (count, rows) in differing.items())
