"""Feast's pages over this installation's registry, to look at: for whoever is logged in to Airflow, and read-only.

The definitions are applied first, so that there is something to see. Feast's own server takes writes, and paths of
tables to read, from anybody; here only what its pages show is passed on.

Started by the local stack: ``python -m include.runtime.feast_ui <port>``.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.core import catalogue
from include.core.errors import ConfigError, StackError
from include.core.listeners import require_ours
from include.runtime.held_port import LOOP

log = logging.getLogger(__name__)

HOSTS = ["127.0.0.1", "localhost"]
SHOWN = re.compile(
    r"/|/p/.*|/projects-list\.json|/(static|assets)/.*|/[\w.-]+\.(js|css|png|svg|ico|json|txt|html)"
    r"|/api/mlflow-[\w-]+|/api/v1/(projects|entities|data_sources|feature_views|feature_services|features|labels|label_views|lineage"
    r"|metrics|permissions|saved_datasets|search|version)(/(?!data/|jobs).*)?"
)
"""Pages, and the registry's objects behind them: no data, no computation, no address of a table."""
HEALTH = "/health"
"""Says that the pages are up, to anybody."""
LOGIN_COOKIE = "_token"
"""Airflow's own. A browser sends it to every port of the host that it logged in to."""
REMEMBERED_SECONDS = 30


class ReadOnly:
    """ASGI application: what the pages show of another one, for whoever is logged in to Airflow."""

    def __init__(self, app: ASGIApp, airflow_url: str) -> None:
        self._app = app
        self._airflow = httpx.AsyncClient(base_url=airflow_url, timeout=10)
        self._known: dict[str, float] = {}
        framed_by = " ".join(f"http://{host}:{urlsplit(airflow_url).port}" for host in HOSTS)
        self._headers = [
            (b"content-security-policy", f"frame-ancestors {framed_by}".encode()),
            (b"x-content-type-options", b"nosniff"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *self._headers]
                await send(message)

            refusal = await self._refusal(HTTPConnection(scope), scope["method"])
            await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, request: HTTPConnection, method: str) -> Response | None:
        if method not in ("GET", "HEAD"):
            return Response("These pages are read-only\n", 405, {"Allow": "GET, HEAD"}, "text/plain")
        if request.url.path == HEALTH:
            return None
        try:
            known = await self._is_logged_in(request)
        except (httpx.HTTPError, StackError):
            return Response("Airflow, which knows who is logged in, does not answer\n", 503, media_type="text/plain")
        if not known:
            airflow = f"http://{request.url.hostname}:{self._airflow.base_url.port}/"
            text = f'<p>Log in to <a href="{airflow}" target="_top">Airflow</a>, then come back to this page.</p>'
            return HTMLResponse(text, 401)
        if not SHOWN.fullmatch(request.url.path):
            return Response("Not among what these pages show\n", 404, media_type="text/plain")
        return None

    async def _is_logged_in(self, request: HTTPConnection) -> bool:
        token = request.cookies.get(LOGIN_COOKIE, "")
        if not token or not token.isascii():  # no header can hold another
            return False
        now = time.monotonic()
        self._known = {seen: until for seen, until in self._known.items() if until > now}
        if token not in self._known:
            require_ours(str(self._airflow.base_url), "airflow")
            answer = await self._airflow.get("/ui/auth/me", headers={"Authorization": f"Bearer {token}"})
            if not answer.is_success:
                return False
            self._known[token] = now + REMEMBERED_SECONDS
        return True


def main(port: str) -> None:
    from feast.ui_server import get_app

    from include.features import store

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    feast = store.open_store()
    for name in catalogue.registered():
        try:
            changed = store.apply(feast, catalogue.load(name))
        except ConfigError as error:  # the model's own DAGs report it, too; the others can be looked at
            log.warning("%s is not applied: %s", name, error)
        else:
            log.info("%s is %s", name, "applied" if changed else "unchanged")
    pages = ReadOnly(get_app(feast, feast.project), os.environ["FLIGHTLINE_AIRFLOW_URL"])
    uvicorn.run(TrustedHostMiddleware(pages, HOSTS), host="127.0.0.1", port=int(port), loop=LOOP, access_log=False)


if __name__ == "__main__":
    main(sys.argv[1])
