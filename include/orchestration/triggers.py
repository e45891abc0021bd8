"""A trigger that looks for requests in MLflow every so often, as its webhooks may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pkgutil import resolve_name
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

POLL_SECONDS = 20.0
AGAIN_SECONDS, AGAIN_AT_MOST_SECONDS = 60.0, 1800.0
"""After so long the same open requests are told again, and then after twice as long, and so on."""
LOOK = "include.registry.open_requests:look"


class OpenRequests(BaseEventTrigger):
    """Fires when the open requests of a model are others than before, and, ever more seldom, while they stay open.

    A version that waits for a person keeps its request for days. Whatever becomes of an event, then, there is a next
    one; and each asks for the same runs. A registry that does not answer is asked again.

    Args:
        look: import path of ``(model: str) -> dict[str, str]``: what is asked, by version.
        poll_seconds: pause between two looks.
    """

    def __init__(self, model: str, look: str = LOOK, poll_seconds: float = POLL_SECONDS) -> None:
        super().__init__()
        self.model = model
        self.look = look
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"model": self.model, "look": self.look, "poll_seconds": self.poll_seconds}
        return "include.orchestration.triggers.OpenRequests", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        told: dict[str, str] = {}
        answers, pause, next_time = True, AGAIN_SECONDS, 0.0
        while True:
            try:
                found = await asyncio.to_thread(self._look)
                answers = True
            except Exception as error:  # noqa: BLE001  (whatever it is, it is no reason to look no more)
                if answers:  # said once, not at each look
                    self.log.warning("MLflow does not answer, and is asked again: %s", type(error).__name__)
                found, answers = told, False
            now = asyncio.get_running_loop().time()
            if found != told:
                told, pause, next_time = found, AGAIN_SECONDS, 0.0
            if answers and found and now >= next_time:
                yield TriggerEvent({"versions": sorted(found, key=int)})
                next_time, pause = now + pause, min(2 * pause, AGAIN_AT_MOST_SECONDS)
            await asyncio.sleep(self.poll_seconds)

    def _look(self) -> dict[str, str]:
        # Imported with the first look, in its thread.
        found: dict[str, str] = resolve_name(self.look)(self.model)
        return found
