"""What MLflow's client does before it tells its password: it looks whose process listens.

The local stack's server is down for a moment when it is started again, and any user of the machine may listen in its
place. The local stack asks its tasks for this in MLFLOW_TRACKING_AUTH; importing this module lets MLflow find it, and
asks for it where jobs and the demo have the address and the log-in from a shell.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
from mlflow.tracking.request_auth.registry import _request_auth_provider_registry
from requests import PreparedRequest

from include.core.listeners import LOOPBACK, MLFLOW_AUTH, require_ours


class OwnListener(RequestAuthProvider):
    """MLflow's own hook: it is called with each request, also with one that is tried again, before it is sent."""

    def get_name(self) -> str:
        return MLFLOW_AUTH

    def get_auth(self) -> Callable[[PreparedRequest], PreparedRequest]:
        return _looked_at


def _looked_at(request: PreparedRequest) -> PreparedRequest:
    require_ours(request.url or "", "mlflow")
    return request


_request_auth_provider_registry.register(OwnListener)  # else MLflow finds those of installed packages alone
if urlsplit(os.environ.get("MLFLOW_TRACKING_URI", "")).hostname in LOOPBACK:
    os.environ.setdefault("MLFLOW_TRACKING_AUTH", MLFLOW_AUTH)
