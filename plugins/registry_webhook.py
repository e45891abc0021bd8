"""Where MLflow's registry tells Airflow of a request: ``POST /registry-webhook/mlflow``.

Nobody logs in here: a delivery is taken by its signature alone (`include.registry.webhook`). It becomes an event of the
asset ``<model>.transition_requested``, in one transaction with its id, so that the same delivery is taken once.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Annotated

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.assets.manager import asset_manager
from airflow.models.asset import AssetEvent, AssetModel
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import timezone
from fastapi import Depends, FastAPI, Request, Response
from sqlalchemy import select

from include.core import catalogue
from include.core.settings import secret
from include.registry import webhook
from include.registry.webhook import Refused

REMEMBERED = timedelta(seconds=2 * webhook.TOLERANCE_SECONDS + 60)
"""A delivery that is repeated later is late, too."""
PATIENCE_SECONDS = 10
"""For a body to come in."""
LONGEST_LENGTH = 19
"""Digits of a content-length."""
MOST_AT_ONCE = 64
"""Bodies that are read: each may wait, and holds up to `webhook.MOST_BYTES`. MLflow sends again what is not taken."""

_reading: set[object] = set()
"""One for each body that is being read; all of them on the server's one event loop."""

# No page that describes the app: it would be open to all.
app = FastAPI(title="Registry webhook", openapi_url=None)


@app.exception_handler(Refused)
async def refuse(_: Request, refused: Refused) -> Response:
    """The status alone: who may not know does not learn why."""
    return Response(status_code=refused.status)


async def bounded_body(request: Request) -> bytes:
    """The body of a request, which is read no further than a delivery may be long, nor longer than it may take.

    Raises:
        Refused: it is no JSON, or too long, or too slow; nobody can have signed it; or too many are being read.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != webhook.CONTENT_TYPE:
        raise Refused(415)
    webhook.require_signed(request.headers)
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or len(said) > LONGEST_LENGTH or int(said) > webhook.MOST_BYTES:
        raise Refused(413)
    if len(_reading) >= MOST_AT_ONCE:
        raise Refused(503)
    body, mine = bytearray(), object()
    _reading.add(mine)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > webhook.MOST_BYTES:
                    raise Refused(413)
    except TimeoutError:
        raise Refused(408) from None
    finally:
        _reading.discard(mine)
    return bytes(body)


@app.post("/mlflow")
def receive(request: Request, body: Annotated[bytes, Depends(bounded_body)], session: SessionDep) -> Response:
    """202: somebody will look; 200: it concerns nobody here; 409: it was here before."""
    delivery = webhook.verify(request.headers, body, secret("FLIGHTLINE_WEBHOOK_KEY"), time.time())
    asked = webhook.asked(delivery)
    if asked is None or asked.model not in catalogue.registered():
        return Response(status_code=200)
    # Locked: of the same delivery sent twice at once, the second waits for the first, and sees it.
    name = f"{asked.model}.transition_requested"
    asset = session.scalar(select(AssetModel).where(AssetModel.name == name).with_for_update(key_share=True))
    if asset is None:
        return Response(status_code=503)  # the DAGs were not read yet; MLflow sends it again
    since = timezone.utcnow() - REMEMBERED
    lately = select(AssetEvent.extra).where(AssetEvent.asset_id == asset.id, AssetEvent.timestamp > since)
    if any(extra.get("delivery") == delivery.delivery_id for extra in session.scalars(lately)):
        return Response(status_code=409)
    said = {"delivery": delivery.delivery_id, "from": delivery.sender, "version": asked.version}
    asset_manager.register_asset_change(asset=asset, extra=said, source_is_api=True, session=session)
    return Response(status_code=202)


class RegistryWebhook(AirflowPlugin):
    name = "registry_webhook"
    fastapi_apps = [{"app": app, "url_prefix": "/registry-webhook", "name": "Registry webhook"}]  # noqa: RUF012
