"""How many partitions a monitored window needs, by how many rows one has."""

from __future__ import annotations

from math import ceil

import pandas as pd

from include.core.partition import Grain, Partition
from include.core.sections import MOST_PARTITIONS
from include.evaluation.metrics import Metric

ENOUGH = 4
"""Times the least rows: some wait in quarantine or have no label, and of the least nearly all may be chance."""


def usual_rows(when: pd.Series, grain: Grain) -> int:
    """The rows of a usual partition: the median of those that have any.

    Args:
        when: the time of each row, UTC.
    """
    hours = when.dt.floor("h").value_counts()
    starts = [Partition.of(hour, grain).start for hour in hours.index]
    return int(hours.groupby(starts).sum().median())


def partitions_needed(metric: Metric, n_features: int, rows: int) -> int:
    """How many partitions of so many rows a window needs to be judged by, at most as many as it can have; 1 where one
    alone can be judged."""
    least = metric.least_rows(n_features)
    return 1 if rows >= least else min(ceil(ENOUGH * least / max(rows, 1)), MOST_PARTITIONS)
