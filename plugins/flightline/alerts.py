"""What Airflow calls when a deadline has passed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)


async def warn_of_late_delivery(model: str, context: dict[str, Any] | None = None, **_: Any) -> None:
    """Say which run waits for what; the sensor goes on waiting until its own deadline."""
    from include.core import catalogue
    from include.core.partition import Partition
    from include.ingestion import delivery

    run = (context or {}).get("dag_run") or {}
    known = run if isinstance(run, dict) else {name: getattr(run, name, None) for name in ("partition_key", "state")}
    key = known.get("partition_key")
    if known.get("state") in ("success", "failed"):
        return  # nobody waits any more
    expected = "the batch of a run without a partition"
    if key:
        key = Partition.parse(str(key), catalogue.load(model).grain).key
        if await asyncio.to_thread(delivery.batch_delivered, model, key):
            log.warning("%s: the batch of %s is there, but its run is not done. See where it stands", model, key)
            return
        expected = delivery.batch_marker(model, key)
    log.warning("%s: late. Expected: %s. Ask the supplier for it; the run goes on waiting", model, expected)
