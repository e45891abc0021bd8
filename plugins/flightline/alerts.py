"""What Airflow calls when a deadline has passed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)


async def warn_of_late_delivery(model: str, context: dict[str, Any] | None = None, **_: Any) -> None:
    """Say which run waits for what; the sensor goes on waiting until its own deadline."""
    from include.ingestion import conditions

    run = (context or {}).get("dag_run") or {}
    key = run.get("partition_key") if isinstance(run, dict) else getattr(run, "partition_key", None)
    day = str(key)[:10] if key else None
    delivered = await asyncio.to_thread(conditions.batch_delivered, model, day) if day else False
    if delivered:
        log.warning("%s: the batch of %s is there, but its run is not done. See where it stands", model, day)
        return
    expected = conditions.batch_marker(model, day) if day else "the batch of a run without a day"
    log.warning("%s: late. Expected: %s. Ask the supplier for it; the run goes on waiting", model, expected)
