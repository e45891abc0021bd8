"""A trigger that waits for a condition on the package's own stores, holding no worker slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pkgutil import resolve_name
from typing import Any

from airflow.sdk import timezone
from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.core.errors import FlightlineError


class ConditionTrigger(BaseTrigger):
    """Fires ``{"met": True}`` when the condition holds, ``{"met": False}`` once the deadline has passed.

    A condition that cannot be told (`FlightlineError`) ends the waiting too, with ``problem``: what is wrong.

    Args:
        condition: import path of a function that returns whether the condition holds.
        arguments: keyword arguments of that function.
        deadline: moment, ISO 8601, at which waiting ends.
        poll_seconds: pause between two looks.
    """

    def __init__(self, condition: str, arguments: dict[str, Any], deadline: str, poll_seconds: float) -> None:
        super().__init__()
        self.condition = condition
        self.arguments = arguments
        self.deadline = deadline
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "flightline.triggers.ConditionTrigger",
            {
                "condition": self.condition,
                "arguments": self.arguments,
                "deadline": self.deadline,
                "poll_seconds": self.poll_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        holds = resolve_name(self.condition)
        deadline = datetime.fromisoformat(self.deadline)
        met = False
        # The wall clock is right here: a deadline is a promise to the people who wait.
        while not met and timezone.utcnow() < deadline:
            # First the pause: the task looked just before, and an event that overtakes the task's own report of
            # being deferred makes the scheduler think that the task was lost.
            await asyncio.sleep(self.poll_seconds)
            try:
                met = await asyncio.to_thread(holds, **self.arguments)
            except FlightlineError as error:
                yield TriggerEvent({"met": False, "problem": str(error)})
                return
        yield TriggerEvent({"met": met})
