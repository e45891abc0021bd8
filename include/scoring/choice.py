"""Which version scores a partition. What was served stays served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse import alias_history
from include.lakehouse.decisions import Reason
from include.lakehouse.tables import Lakehouse
from include.registry import promotion

AsOf = Literal["history", "current"]


@dataclass(frozen=True)
class Choice:
    """The version that scores a partition, and why."""

    version: str
    served: bool
    """Whether its predictions are those that count as served; otherwise they stand beside."""
    why: Reason
    in_production: str | None
    """The version that is in production now."""


def choose(
    spec: ModelSpec, lake: Lakehouse, partition: Partition, served: str | None, as_of: AsOf = "history"
) -> Choice | None:
    """The version that scores a partition; None where none is in production.

    ``history``: the version that was served for it, whatever is in production now. Where it was never scored, the one
    in production, if that knew nothing of what came after the partition; else the last one to be put in production that
    did not; else, of a partition from before the first promotion, the one in production after all.

    ``current``: the one in production, beside what was served.

    Args:
        served: the version that was served for it.
    """
    serving = promotion.in_production(spec, lake)
    now = serving.version if serving else None
    if as_of == "history" and served:
        return Choice(served, True, Reason.SERVED_BEFORE, now)
    if serving is None:
        return None
    if as_of == "current":
        return Choice(serving.version, served in (None, now), Reason.ASKED_FOR, now)
    if serving.known_at <= partition.last_moment:
        return Choice(serving.version, True, Reason.IN_PRODUCTION, now)
    then = alias_history.as_of(lake, spec.name, partition.last_moment)
    if then:
        return Choice(then.version, True, Reason.IN_PRODUCTION_THEN, now)
    return Choice(serving.version, True, Reason.BEFORE_FIRST_PROMOTION, now)
