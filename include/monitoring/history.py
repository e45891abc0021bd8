"""What the retraining policy needs of the past: read back no further than its rules reach."""

from __future__ import annotations

from datetime import datetime, timedelta

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse import decisions, windows
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import WindowMetrics
from include.monitoring.policy import Request

LOOK_BACK = 32
"""The last labelled windows are looked for among so many times as many partitions, no further back."""


def labelled_windows(spec: ModelSpec, lake: Lakehouse, before: Partition, count: int) -> list[WindowMetrics]:
    """The last labelled windows before a partition, oldest first: at most ``count``.

    Partitions are read in ranges that double, from the newest on: usually the first range has them all.
    """
    oldest = max(spec.first_partition, before.shift(-LOOK_BACK * count))
    found: list[WindowMetrics] = []
    last, step = before.shift(-1), count
    while len(found) < count and last >= oldest:
        first = max(last.shift(1 - step), oldest)
        found = [item for item in windows.read(spec, lake, first, last) if item.labelled] + found
        last, step = first.shift(-1), 2 * step
    return found[-count:] if count else []


def requests(spec: ModelSpec, lake: Lakehouse, at: datetime) -> list[Request]:
    """The retrainings that the policy asked for, as far before a moment as budget and cool-down reach.

    One a window, the first: a window that is decided on again asks for nothing more.
    """
    rules = spec.monitoring.retraining
    since = at - timedelta(days=max(rules.budget_days, rules.cooldown_days))
    first: dict[str, Request] = {}
    for item in decisions.history(lake, spec.name, Kind.RETRAINING_POLICY, since=since):
        if item.outcome == Outcome.REQUEST_RETRAINING:
            first.setdefault(item.subject, Request(Partition.parse(item.subject, spec.grain), item.decided_at))
    return list(first.values())
