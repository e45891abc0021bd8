"""What is sent to the webhook's address by whoever can reach it: nothing is told to them, and nothing is done.

What a delivery of MLflow does is shown in tests/integration/test_registry_webhook.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import registry_webhook
from airflow.api_fastapi.common.db.common import _get_session
from fastapi import Request
from fastapi.testclient import TestClient
from mlflow.webhooks.delivery import _generate_hmac_signature

from include.registry import webhook
from include.registry.webhook import Refused
from include.runtime.tracking_server import WEBHOOK_PATH

KEY, ADDRESS = "of-an-installation", "/mlflow"
SAID = {
    "entity": "model_version_tag",
    "action": "set",
    "data": {"name": "california_housing", "version": "3", "key": "transition.request", "value": "Production"},
}


class NoDatabase:
    """Nothing that is refused, or of no concern, may come so far."""

    def scalar(self, *_: object) -> None:
        raise AssertionError("the database was asked")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("FLIGHTLINE_WEBHOOK_KEY", KEY)
    registry_webhook.app.dependency_overrides[_get_session] = NoDatabase
    yield TestClient(registry_webhook.app)
    registry_webhook.app.dependency_overrides.clear()


def signed(payload: str, seconds: int = 0) -> dict[str, str]:
    moment, delivery_id = str(int(time.time()) + seconds), "one-of-the-deliveries"
    signature = _generate_hmac_signature(KEY, delivery_id, moment, payload)
    own = {webhook.SIGNATURE: signature, webhook.TIMESTAMP: moment, webhook.DELIVERY_ID: delivery_id}
    return own | {"content-type": "application/json"}


SIGNED = [(name.encode(), value.encode()) for name, value in signed("").items()]


def test_mlflow_sends_where_it_is_taken() -> None:
    (app,) = registry_webhook.RegistryWebhook.fastapi_apps
    assert app["url_prefix"] + ADDRESS == WEBHOOK_PATH
    assert [route.path for route in registry_webhook.app.routes] == [ADDRESS]


@pytest.mark.parametrize(
    ("payload", "changed", "status"),
    [
        (json.dumps(SAID), {webhook.SIGNATURE: "v1,Zm9yZ2Vk"}, 401),
        (json.dumps(SAID), signed(json.dumps(SAID), -86_400), 401),
        (json.dumps(SAID), signed(json.dumps(SAID), 86_400), 401),
        ("{", {}, 400),
        (json.dumps(SAID), {"content-type": "text/plain"}, 415),
        (json.dumps(SAID), {"content-type": ""}, 415),
        (json.dumps(SAID | {"more": "x" * webhook.MOST_BYTES}), {}, 413),
    ],
)
def test_what_is_refused_is_told_a_number(
    client: TestClient, payload: str, changed: dict[str, str], status: int
) -> None:
    answer = client.post(ADDRESS, content=payload, headers=signed(payload) | changed)
    assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize(
    "said",
    [
        {**SAID, "data": {**SAID["data"], "name": "a_model_of_somebody_else"}},
        {**SAID, "data": {**SAID["data"], "key": "stage"}},
        {**SAID, "entity": "model_version", "action": "created"},
    ],
)
def test_what_concerns_nobody_here_is_taken_and_nothing_done(client: TestClient, said: dict) -> None:
    payload = json.dumps(said)
    answer = client.post(ADDRESS, content=payload, headers=signed(payload))
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_body_without_an_end_is_read_no_further_than_a_delivery_is_long(client: TestClient) -> None:
    """It names no length, or a wrong one: what counts is what came."""
    read = 0

    async def endless() -> AsyncIterator[dict]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    lies = [*SIGNED, (b"content-length", b"10")]
    request = Request({"type": "http", "method": "POST", "headers": lies}, receive=endless)
    with pytest.raises(Refused, match="413"):
        asyncio.run(registry_webhook.bounded_body(request))
    assert read == webhook.MOST_BYTES // 1024 + 1


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_webhook, "PATIENCE_SECONDS", 0.01)

    async def never() -> None:
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "headers": SIGNED}
    with pytest.raises(Refused, match="408"):
        asyncio.run(registry_webhook.bounded_body(Request(scope, receive=never)))


def refused(headers: list[tuple[bytes, bytes]]) -> int:
    """The status of a request whose body is never read."""

    async def never() -> None:
        raise AssertionError("the body was read")

    scope = {"type": "http", "method": "POST", "headers": headers}
    with pytest.raises(Refused) as found:
        asyncio.run(registry_webhook.bounded_body(Request(scope, receive=never)))
    return found.value.status


@pytest.mark.parametrize("length", [b"10000000000", b"65537", b"9" * 5000, b"-1", b"x"])
def test_a_body_that_says_it_is_too_long_is_not_waited_for(length: bytes) -> None:
    assert refused([*SIGNED, (b"content-length", length)]) == 413


@pytest.mark.parametrize("name", [webhook.SIGNATURE, webhook.DELIVERY_ID])
@pytest.mark.parametrize("value", [b"", b"v1,", b"x" * 65])
def test_a_body_that_nobody_can_have_signed_is_not_read(name: str, value: bytes) -> None:
    others = [(key, told) for key, told in SIGNED if key != name.encode()]
    assert refused([*others, (name.encode(), value)]) == 401
    assert refused(others) == 401
    assert refused([*SIGNED, (webhook.DATABRICKS_SIGNATURE.encode(), value)]) == 401


def test_only_so_many_bodies_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_webhook, "PATIENCE_SECONDS", 0.2)

    async def never() -> None:
        await asyncio.Event().wait()

    async def status() -> int:
        try:
            await registry_webhook.bounded_body(Request(scope, receive=never))
        except Refused as found:
            return found.status
        return 200

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*(status() for _ in range(registry_webhook.MOST_AT_ONCE + 10)))

    scope = {"type": "http", "method": "POST", "headers": SIGNED}
    for _ in range(2):  # and when they are gone, as many again
        found = asyncio.run(all_at_once())
        assert [found.count(408), found.count(503)] == [registry_webhook.MOST_AT_ONCE, 10]


def test_without_a_key_nothing_is_taken(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLIGHTLINE_WEBHOOK_KEY")
    payload = json.dumps(SAID)
    assert client.post(ADDRESS, content=payload, headers=signed(payload)).status_code == 401


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/openapi.json", "/mlflow/"])
def test_nothing_else_is_there(client: TestClient, path: str) -> None:
    assert client.get(path, follow_redirects=False).status_code in (404, 307)
    assert client.get(ADDRESS).status_code == 405
