"""When each row of a batch was so: the start of its partition, or what the column ``event_time`` of model.yaml says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion.rows import Cast, Rows
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import TIMESTAMP


def of(spec: ModelSpec, partition: Partition, typed: pa.Table) -> pa.Array:
    """One moment a row, microseconds in UTC: of a date its midnight; null where the column is."""
    if spec.event_time is None:
        return pa.repeat(pa.scalar(partition.start, TIMESTAMP), typed.num_rows)
    said = typed[spec.event_time].combine_chunks()
    return said.cast(pa.timestamp("us")).cast(TIMESTAMP) if pa.types.is_date(said.type) else said


def misdated(spec: ModelSpec, partition: Partition, cast: Cast) -> dict[str, Rows]:
    """By reason, the rows whose column says no moment, or one that is not in the partition.

    A cell that does not fit its type is not among them: it has a reason of its own.
    """
    if spec.event_time is None:
        return {}
    at = of(spec, partition, cast.columns)
    missing = pc.is_null(at)
    if spec.event_time in cast.errors:
        missing = pc.and_not(missing, cast.errors[spec.event_time])
    first, last = (pa.scalar(moment, TIMESTAMP) for moment in (partition.start, partition.last_moment))
    outside = pc.or_(pc.less(at, first), pc.greater(at, last)).fill_null(False)
    found = {Reason.NULL: missing, Reason.OUTSIDE_PARTITION: outside}
    return {reason.about(spec.event_time): np.flatnonzero(flags) for reason, flags in found.items()}
