"""What MLflow's registry, or that of Databricks, tells Airflow: whether it is theirs, whether it is new, what it says.

A delivery only says where to look. What is asked is then read in the registry itself, so that one that is lost, late,
doubled or made up changes nothing but the time at which somebody looks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from include.core.text import is_version

MOST_BYTES = 65_536
"""Of a delivery: one that sets our tag has some hundred."""
TOLERANCE_SECONDS = 300
"""A delivery whose time is as far from ours, before or after, is not taken."""
CONTENT_TYPE = "application/json"
REQUEST = "transition.request"  # as `registry.open_requests`, which imports MLflow
SIGNATURE, TIMESTAMP, DELIVERY_ID = "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id"
"""MLflow's headers (``mlflow.webhooks.constants``)."""
DATABRICKS_SIGNATURE = "x-databricks-signature"
_VERSION = "v1"
_DELIVERY_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
"""Of 32 bytes, as SHA-256 has them."""
_SECONDS = re.compile(r"[0-9]{1,11}")
_MLFLOW_EVENT = ("model_version_tag", "set")
_DATABRICKS_EVENT = "MODEL_VERSION_TAG_SET"


class Refused(Exception):
    """A delivery that is not taken; its sender learns the status, and nothing else."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Delivery:
    """One that was signed by the key, in time."""

    delivery_id: str
    """The same for each time that it is sent."""
    sender: Literal["mlflow", "databricks"]
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """That the tag of a request was set."""

    model: str
    version: str


def require_signed(headers: Mapping[str, str]) -> None:
    """Refuse, before its body is read, what cannot have been signed by anybody.

    Raises:
        Refused: 401.
    """
    if DATABRICKS_SIGNATURE in headers:
        looks_signed = _HEX.fullmatch(headers[DATABRICKS_SIGNATURE])
    else:
        looks_signed = _DELIVERY_ID.fullmatch(headers.get(DELIVERY_ID, "")) and _BASE64.fullmatch(
            headers.get(SIGNATURE, "")
        )
    if not looks_signed:
        raise Refused(401)


def verify(headers: Mapping[str, str], body: bytes, key: str, now: float) -> Delivery:
    """Whether a delivery was signed by whoever has the key, and lately.

    Args:
        headers: with lower-case names.
        now: seconds since 1970.

    Raises:
        Refused: 401 where it was not; 400 where it was, and is no JSON object.
    """
    if not key:
        raise Refused(401)
    if DATABRICKS_SIGNATURE in headers:
        return _of_databricks(headers[DATABRICKS_SIGNATURE], body, key, now)
    signature, moment, delivery_id = (headers.get(name, "") for name in (SIGNATURE, TIMESTAMP, DELIVERY_ID))
    if not (_DELIVERY_ID.fullmatch(delivery_id) and _SECONDS.fullmatch(moment)):
        raise Refused(401)
    signed = hmac.new(key.encode(), f"{delivery_id}.{moment}.".encode() + body, hashlib.sha256).digest()
    expected = f"{_VERSION},{base64.b64encode(signed).decode()}"
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise Refused(401)
    _require_lately(1000 * int(moment), now)
    return Delivery(delivery_id, "mlflow", _content(body))


def asked(delivery: Delivery) -> Asked | None:
    """What a delivery says that concerns us; None where it says something else."""
    content = delivery.content
    if delivery.sender == "databricks":
        # It says that a tag was set, and not always which.
        found = content if content.get("event") == _DATABRICKS_EVENT else {}
        model, version = found.get("model_name"), found.get("version")
    else:
        said = content.get("data") if (content.get("entity"), content.get("action")) == _MLFLOW_EVENT else {}
        found = said if isinstance(said, dict) and said.get("key") == REQUEST else {}
        model, version = found.get("name"), found.get("version")
    if not isinstance(model, str) or not is_version(version):
        return None
    return Asked(model, str(version))


def _of_databricks(signature: str, body: bytes, key: str, now: float) -> Delivery:
    """Signed is the body alone, which says when it was sent, in milliseconds, and has no id: it is its own."""
    expected = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise Refused(401)
    content = _content(body)
    moment = content.get("event_timestamp")
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise Refused(400)
    _require_lately(moment, now)
    return Delivery(hashlib.sha256(body).hexdigest(), "databricks", content)


def _require_lately(milliseconds: int, now: float) -> None:
    """In whole numbers: one that was signed may have any number of digits."""
    if abs(int(1000 * now) - milliseconds) > 1000 * TOLERANCE_SECONDS:
        raise Refused(401)


def _content(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400) from None
    if not isinstance(content, dict):
        raise Refused(400)
    return content
