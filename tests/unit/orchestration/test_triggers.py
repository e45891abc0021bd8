"""The trigger that looks for requests: none is missed, and a registry that is down for a while is no end of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from airflow.serialization.encoders import encode_trigger

from include.core.errors import StackError
from include.orchestration import triggers
from include.orchestration.assets import assets_of
from include.orchestration.triggers import OpenRequests

FOUND: list[Any] = []
"""What each look finds, the next one first; the last for ever. An error is raised."""
ENDED = {"9": "the end of the test"}


def look(model: str) -> dict[str, str]:
    assert model == "m"
    found = FOUND.pop(0) if len(FOUND) > 1 else FOUND[0]
    if isinstance(found, Exception):
        raise found
    return dict(found)


def events(*found: Any) -> list[list[str]]:
    """The versions of each event, until the end of the test is found."""
    FOUND[:] = [*found, ENDED]

    async def collect() -> list[list[str]]:
        told = []
        async for event in OpenRequests("m", f"{__name__}:look", poll_seconds=0).run():
            if event.payload["versions"] == ["9"]:
                return told
            told.append(event.payload["versions"])
        raise AssertionError("it looks for ever")

    return asyncio.run(collect())


def test_a_request_is_told_when_it_is_found_and_not_at_each_look() -> None:
    assert events({}, {"3": "Production"}, {"3": "Production"}, {"3": "Production"}) == [["3"]]


def test_another_request_of_the_same_version_is_another() -> None:
    assert events({"3": "Staging"}, {"3": "Production"}, {}, {"3": "Production"}) == [["3"], ["3"], ["3"]]


def test_versions_are_told_in_their_order() -> None:
    assert events({"10": "Staging", "2": "Staging"}) == [["2", "10"]]


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), TimeoutError(), StackError("another's process"), KeyError()]
)
def test_a_registry_that_does_not_answer_is_asked_again(error: Exception) -> None:
    assert events(*[error] * 5, {"3": "Staging"}, *[error] * 5, {"3": "Staging"}, {}) == [["3"]]


def test_what_stays_open_is_told_again_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of the first event: the run that it started may have failed."""
    clock: dict[str, float] = {"now": 0.0}

    async def sleep(seconds: float) -> None:
        clock["now"] += 20

    class Loop:
        def time(self) -> float:
            return clock["now"]

    async def at_once(function: Callable[[], Any]) -> Any:
        return function()

    told_at = []
    monkeypatch.setattr(triggers.asyncio, "sleep", sleep)
    monkeypatch.setattr(triggers.asyncio, "to_thread", at_once)
    monkeypatch.setattr(triggers.asyncio, "get_running_loop", Loop)
    FOUND[:] = [{"3": "Production"}]

    async def collect() -> None:
        async for _ in OpenRequests("m", f"{__name__}:look").run():
            told_at.append(clock["now"])
            if len(told_at) == 9:
                return

    coroutine = collect()
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert told_at == [0, 60, 180, 420, 900, 1860, 3660, 5460, 7260]


def test_airflow_keeps_one_trigger_for_a_model_and_reads_it_back() -> None:
    (watcher,) = assets_of("m").transition_requested.watchers
    encoded = encode_trigger(watcher.trigger)
    assert encoded["classpath"] == f"{triggers.__name__}.OpenRequests"
    again = OpenRequests(**watcher.trigger.serialize()[1])
    assert encode_trigger(again) == encoded
    assert encode_trigger(assets_of("other").transition_requested.watchers[0].trigger) != encoded
