"""What the retraining policy needs of the past: read back no further than its rules reach."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse import decisions, windows
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.schemas import METRICS
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import WindowMetrics
from include.monitoring.policy import Request

LOOK_BACK = 32
"""The last labelled windows are looked for among so many times as many partitions, no further back."""


def labelled_windows(spec: ModelSpec, lake: Lakehouse, before: Partition, count: int) -> list[WindowMetrics]:
    """The last labelled windows without a fault before a partition, oldest first: at most ``count``.

    Partitions are read in ranges that double, from the newest on: usually the first range has them all.
    """
    oldest = max(spec.first_partition, before.shift(-LOOK_BACK * count))
    found: list[WindowMetrics] = []
    last, step = before.shift(-1), count
    while len(found) < count and last >= oldest:
        first = max(last.shift(1 - step), oldest)
        found = [item for item in windows.read(spec, lake, first, last) if counts(item)] + found
        last, step = first.shift(-1), 2 * step
    return found[-count:] if count else []


def counts(window: WindowMetrics) -> bool:
    """Whether later decisions look back on a window: what a fault has done to it says nothing of the model."""
    return window.labelled and not window.faults


def looked_back(past: Sequence[WindowMetrics]) -> dict[str, float | None]:
    """What a decision takes of the windows before its own, oldest first: by partition what each is judged by."""
    return {item.partition.key: item.judged_by for item in past}


def outdated(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> list[Partition]:
    """The windows after one that are to be decided on again, oldest first.

    Labelled ones whose last decision looked back on other windows than are there now, and those of several partitions
    that were made of other rows of its partition than are there now.

    So it is where a partition, or its labels, came later than the next ones', or was withdrawn.
    """
    count = spec.monitoring.retraining.of_windows - 1
    found = _made_of_others(spec, lake, partition)
    for item in labelled_windows_from(spec, lake, partition.shift(1), count):
        decided = decisions.history(lake, spec.name, Kind.RETRAINING_POLICY, subject=item.partition.key)
        last = max(decided, key=lambda decision: decision.recorded_at, default=None)
        there = looked_back(labelled_windows(spec, lake, item.partition, count))
        if last is not None and last.inputs.get("looked_back") != there:
            found.append(item.partition)
    return sorted(set(found))


def _made_of_others(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> list[Partition]:
    """The windows after a partition that would have other rows of it, were they measured now.

    The window that is its own says which are there: of a later one the same version's, and the labels if it saw any.
    """
    length = spec.monitoring.window.partitions
    if length == 1:
        return []
    later = windows.contents(spec, lake, partition, partition.shift(length - 1))
    nothing = windows.Content(None, {}, {})
    own, found = later.pop(partition, nothing), []
    for item, content in later.items():
        served, labels = (own if own.version == content.version else nothing).of(partition.key)
        if content.of(partition.key) != (served, labels if item.key in content.labels else None):
            found.append(item)
    return found


def labelled_windows_from(
    spec: ModelSpec, lake: Lakehouse, first: Partition, count: int, *, version: str | None = None
) -> list[WindowMetrics]:
    """The labelled windows without a fault from one on, oldest first: at most ``count``, among the next partitions.

    Args:
        version: only those that it served.
    """
    keys = sorted(key for key in lake.rows_by_partition(METRICS.of(spec)) if key >= first.key)[: LOOK_BACK * count]
    found: list[WindowMetrics] = []
    step = count
    while len(found) < count and keys:
        start, last = (Partition.parse(key, spec.grain) for key in (keys[0], keys[:step][-1]))
        read = windows.read(spec, lake, start, last)
        found += [item for item in read if counts(item) and version in (None, item.version)]
        keys, step = keys[step:], 2 * step
    return found[:count]


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
