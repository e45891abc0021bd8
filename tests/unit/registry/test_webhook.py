"""A delivery is taken that MLflow signed, lately: by MLflow's own signing, and by attacks on ours."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.webhooks import constants
from mlflow.webhooks.delivery import _generate_hmac_signature

from include.registry import open_requests, webhook
from include.registry.webhook import Asked, Refused

KEY = "of-an-installation"
NOW = 1_700_000_000.0
ID = "6f1c3a52-7d1e-4f3a-9d0c-1b2a3c4d5e6f"
SAID = {
    "entity": "model_version_tag",
    "action": "set",
    "timestamp": "2026-11-22T00:00:00+00:00",
    "data": {"name": "m", "version": "3", "key": "transition.request", "value": "Production"},
}
OF_DATABRICKS = {
    "event": "MODEL_VERSION_TAG_SET",
    "event_timestamp": int(NOW * 1000),
    "model_name": "m",
    "version": "3",
    "webhook_id": "c5596721253c4b429368cf6f4341b88a",
}


def headers(payload: str, key: str = KEY, delivery_id: str = ID, moment: float | str = NOW) -> dict[str, str]:
    """As MLflow sends them, with its own signature."""
    seconds = moment if isinstance(moment, str) else str(int(moment))
    return {
        webhook.DELIVERY_ID: delivery_id,
        webhook.TIMESTAMP: seconds,
        webhook.SIGNATURE: _generate_hmac_signature(key, delivery_id, seconds, payload),
    }


def signed(payload: str, key: str = KEY) -> dict[str, str]:
    """As Databricks sends them."""
    return {webhook.DATABRICKS_SIGNATURE: hmac.new(key.encode(), payload.encode(), hashlib.sha256).hexdigest()}


def status(given: dict[str, str], body: str, key: str = KEY, now: float = NOW) -> int:
    with pytest.raises(Refused) as refused:
        webhook.verify(given, body.encode(), key, now)
    return refused.value.status


def test_the_names_are_mlflows_and_ours() -> None:
    named = (webhook.SIGNATURE, webhook.TIMESTAMP, webhook.DELIVERY_ID)
    theirs = ("SIGNATURE", "TIMESTAMP", "DELIVERY_ID")
    assert named == tuple(getattr(constants, f"WEBHOOK_{name}_HEADER").lower() for name in theirs)
    assert webhook.REQUEST == open_requests.REQUEST


@given(key=st.text(min_size=1), value=st.text())
def test_what_mlflow_signs_is_taken(key: str, value: str) -> None:
    payload = json.dumps({**SAID, "data": {**SAID["data"], "value": value}})
    delivery = webhook.verify(headers(payload, key), payload.encode(), key, NOW)
    assert (delivery.delivery_id, delivery.sender) == (ID, "mlflow")
    assert webhook.asked(delivery) == Asked("m", "3")


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_delivery_of_the_last_minutes_is_taken(seconds: int) -> None:
    payload = json.dumps(SAID)
    assert webhook.verify(headers(payload, moment=NOW + seconds), payload.encode(), KEY, NOW)


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 86_400])
def test_one_that_is_late_or_of_the_future_is_refused(seconds: int) -> None:
    payload = json.dumps(SAID)
    assert status(headers(payload, moment=NOW + seconds), payload) == 401
    late = json.dumps({**OF_DATABRICKS, "event_timestamp": int((NOW + seconds) * 1000)})
    assert status(signed(late), late) == 401


@pytest.mark.parametrize(
    "changed",
    [
        {webhook.SIGNATURE: "v1,"},
        {webhook.SIGNATURE: ""},
        {webhook.SIGNATURE: "ü"},
        {webhook.TIMESTAMP: str(int(NOW) + 1)},
        {webhook.TIMESTAMP: ""},
        {webhook.TIMESTAMP: "1e9"},
        {webhook.TIMESTAMP: "-1"},
        {webhook.TIMESTAMP: "\uff19"},
        {webhook.DELIVERY_ID: "another-id"},
        {webhook.DELIVERY_ID: ""},
    ],
)
def test_one_that_was_changed_on_its_way_is_refused(changed: dict[str, str]) -> None:
    payload = json.dumps(SAID)
    assert status(headers(payload) | changed, payload) == 401


@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_body_can_be_changed(place: int, bit: int) -> None:
    payload = json.dumps(SAID)
    body = bytearray(payload.encode())
    body[place % len(body)] ^= 1 << bit
    with pytest.raises(Refused, match="401"):
        webhook.verify(headers(payload), bytes(body), KEY, NOW)


def test_what_stands_between_the_parts_cannot_be_moved() -> None:
    """``id.time.body`` is one text: the same text by another id would have its signature."""
    body = f"{int(NOW)}.{json.dumps(SAID)}"
    given = headers(body, moment=NOW)
    moved = given | {webhook.DELIVERY_ID: f"{ID}.{int(NOW)}"}
    assert status(moved, json.dumps(SAID)) == 401


@pytest.mark.parametrize("key", ["", "another"])
def test_without_the_key_nothing_is_taken(key: str) -> None:
    payload = json.dumps(SAID)
    assert status(headers(payload), payload, key) == 401
    assert status(headers(payload, key), payload) == 401
    assert status(headers(payload, ""), payload, "") == 401
    assert status(signed(payload, ""), payload, "") == 401
    assert status({}, payload) == 401


@pytest.mark.parametrize("payload", ["{", "[]", "1", "null", "", "[" * 60_000, '"x"'])
def test_what_is_signed_and_no_object_is_refused(payload: str) -> None:
    assert status(headers(payload), payload) == 400
    assert status(signed(payload), payload) == 400


@pytest.mark.parametrize("digits", [30, 400, 4000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_time_of_any_number_of_digits_is_late_and_no_crash(digits: int, sign: int) -> None:
    payload = json.dumps({**OF_DATABRICKS, "event_timestamp": sign * 10**digits})
    assert status(signed(payload), payload) == 401


@pytest.mark.parametrize("number", ["02", "\u00b2", "\u0663", "0", "", "1.0", True, None, 10**400])
def test_what_is_no_number_of_a_version_asks_for_nothing(number: object) -> None:
    payload = json.dumps({**OF_DATABRICKS, "version": number})
    assert webhook.asked(webhook.verify(signed(payload), payload.encode(), KEY, NOW)) is None


def test_a_delivery_of_databricks_is_taken_and_is_its_own_id() -> None:
    payload = json.dumps(OF_DATABRICKS)
    delivery = webhook.verify(signed(payload), payload.encode(), KEY, NOW)
    assert delivery.sender == "databricks"
    assert webhook.asked(delivery) == Asked("m", "3")
    again = json.dumps({**OF_DATABRICKS, "event_timestamp": int(NOW * 1000) + 1})
    assert webhook.verify(signed(again), again.encode(), KEY, NOW).delivery_id != delivery.delivery_id


@pytest.mark.parametrize("moment", [None, "1700000000000", True, 1.5, [1]])
def test_one_of_databricks_that_does_not_say_when_is_refused(moment: object) -> None:
    payload = json.dumps({**OF_DATABRICKS, "event_timestamp": moment})
    assert status(signed(payload), payload) == 400


def test_the_signature_of_one_kind_is_none_of_the_other() -> None:
    payload = json.dumps(SAID)
    assert status({webhook.DATABRICKS_SIGNATURE: headers(payload)[webhook.SIGNATURE]}, payload) == 401
    assert status(headers(payload) | {webhook.DATABRICKS_SIGNATURE: ""}, payload) == 401


@pytest.mark.parametrize(
    "said",
    [
        {**SAID, "data": {**SAID["data"], "key": "stage"}},
        {**SAID, "data": {**SAID["data"], "version": "latest"}},
        {**SAID, "data": {**SAID["data"], "version": None}},
        {**SAID, "data": {**SAID["data"], "name": 7}},
        {**SAID, "data": []},
        {**SAID, "entity": "prompt_version_tag"},
        {**SAID, "entity": "model_version", "action": "created"},
        {**SAID, "entity": "model_version_alias", "action": "created"},
        {**SAID, "entity": ["model_version_tag"]},
        {},
    ],
)
def test_what_is_said_of_something_else_is_no_request(said: dict[str, Any]) -> None:
    payload = json.dumps(said)
    assert webhook.asked(webhook.verify(headers(payload), payload.encode(), KEY, NOW)) is None


@pytest.mark.parametrize("changed", [{"event": "MODEL_VERSION_CREATED"}, {"version": None}, {"model_name": None}])
def test_what_databricks_says_of_something_else_is_no_request(changed: dict[str, Any]) -> None:
    payload = json.dumps(OF_DATABRICKS | changed)
    assert webhook.asked(webhook.verify(signed(payload), payload.encode(), KEY, NOW)) is None
