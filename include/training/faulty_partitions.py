"""Partitions whose rows nothing is learned from: what was delivered is a mistake, and nobody has mended it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse import decisions, windows
from include.lakehouse.decisions import Kind, Reason
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import WindowMetrics

FAULTS = {Reason.UPSTREAM_FAULT.value, Reason.CHANGE_OF_UNIT.value}


def find(spec: ModelSpec, lake: Lakehouse, keys: Sequence[str]) -> list[str]:
    """Those of some partitions whose window has a fault, oldest first.

    A batch that was accepted after a person had been alerted is taken for mended: the window goes on saying what was
    served. Of those in ``monitoring.faults.confirmed`` a person has said that they are as they should be.

    Args:
        keys: sorted.
    """
    if not keys:
        return []
    first, last = (Partition.parse(key, spec.grain) for key in (keys[0], keys[-1]))
    return [
        item.partition.key
        for item in windows.read(spec, lake, first, last)
        if item.faults and item.partition.key in keys and not _answered(spec, lake, item)
    ]


def _answered(spec: ModelSpec, lake: Lakehouse, window: WindowMetrics) -> bool:
    """Whether a batch of the window came again after the first alert, or a person has confirmed one of them."""
    keys = window.partitions or (window.partition.key,)
    if set(keys) & set(spec.monitoring.faults.confirmed):
        return True
    alerted = _first_alert(spec, lake, window.partition)
    if alerted is None:
        return False
    decided = (decisions.on_batch(lake, spec.name, Partition.parse(key, spec.grain)) for key in keys)
    return any(item is not None and item.recorded_at > alerted for item in decided)


def _first_alert(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> datetime | None:
    decided = decisions.history(lake, spec.name, Kind.RETRAINING_POLICY, since=partition.end, subject=partition.key)
    return min((item.recorded_at for item in decided if set(item.reasons) & FAULTS), default=None)
