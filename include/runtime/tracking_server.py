"""MLflow's server, which asks for a log-in: ``python -m include.runtime.tracking_server --host … --port …``.

The log-in is MLflow's own (`basic-auth`), with one user, who may do everything. MLflow reads where its users are from a
file alone, so it is written here, for nobody else, at every start. What is given beside, by the environment:
MLFLOW_BACKEND_STORE_URI, MLFLOW_AUTH_CONFIG_PATH. The password comes from where MLflow's clients have it from:
MLFLOW_TRACKING_PASSWORD, or ``~/.mlflow/credentials``.

Where FLIGHTLINE_WEBHOOK_URL names Airflow's, each tag that is set on a version is told there, signed by a key that both
have. It is registered here, before the server answers: so after every start it is there, with the address of then.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from include.core.errors import StackError
from include.core.settings import secret
from include.runtime.files import write_private

USER = "flightline"
WEBHOOK = "flightline"
"""Name of ours, in MLflow; others stay as they are."""
WEBHOOK_PATH = "/registry-webhook/mlflow"
"""Where Airflow's API server takes it (``plugins/registry_webhook.py``)."""
CHECKED_FOR_SECONDS = 60
"""A password that was right is not hashed again for so long, which would take tenths of a second a request."""


def main(arguments: list[str]) -> None:
    # Read when MLflow is imported; by a key of its own, made anew at each start, nobody reads what was kept.
    if encryption_key := secret("FLIGHTLINE_WEBHOOK_ENCRYPTION_KEY"):
        os.environ["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = encryption_key
    from mlflow.cli import cli
    from mlflow.utils.credentials import read_mlflow_creds

    password = read_mlflow_creds().password
    if not password:
        raise StackError(
            "MLflow's password is not given",
            where="MLFLOW_TRACKING_PASSWORD, ~/.mlflow/credentials",
            fix="Set the one or write the other",
        )
    # Signs the forms of MLflow's own pages; handed on to its workers, as MLflow asks for, and to nobody else.
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.token_hex(32)
    write_settings(Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"]), os.environ["MLFLOW_BACKEND_STORE_URI"], password)
    admit(password)
    os.environ.pop("MLFLOW_TRACKING_PASSWORD", None)
    if url := os.environ.get("FLIGHTLINE_WEBHOOK_URL"):
        register_webhook(os.environ["MLFLOW_BACKEND_STORE_URI"], url, secret("FLIGHTLINE_WEBHOOK_KEY"))
    os.environ.pop("FLIGHTLINE_WEBHOOK_KEY", None)
    cli(["server", "--app-name", "basic-auth", "--workers", "1", *arguments], prog_name="mlflow")


def write_settings(path: Path, database: str, password: str) -> None:
    """What MLflow's log-in reads. Its tables stand beside MLflow's own."""
    lines = [
        "[mlflow]",
        f"database_uri = {database.replace('%', '%%')}",
        f"admin_username = {USER}",
        f"admin_password = {password.replace('%', '%%')}",
        "default_permission = NO_PERMISSIONS",
        f"auth_cache_ttl_seconds = {CHECKED_FOR_SECONDS}",
    ]
    write_private(path, "\n".join(lines) + "\n")


def admit(password: str) -> None:
    """Make the user, or give the one who is there the password: MLflow itself would keep the first one for ever."""
    from mlflow.server import auth  # reads the file when it is imported

    auth.bootstrap_admin_user()
    if not auth.store.authenticate_user(USER, password):
        auth.store.update_user(USER, password=password)


def register_webhook(database: str, url: str, key: str) -> None:
    """Have MLflow tell an address of each tag that is set on a version, whatever was registered under our name before.

    Raises:
        StackError: there is no key to sign by.
    """
    from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
    from mlflow.store.model_registry.dbmodels.models import SqlWebhook, SqlWebhookEvent
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import delete, select

    if not key:
        raise StackError(
            "the key that webhooks are signed by is not given", where="FLIGHTLINE_WEBHOOK_KEY", fix="Set it"
        )
    store = SqlAlchemyStore(database)
    # Not read first: one whose secret another key has encrypted cannot be.
    ours: Any = select(SqlWebhook.webhook_id).where(SqlWebhook.name == WEBHOOK)
    with store.ManagedSessionMaker(read_only=False) as session:
        session.execute(delete(SqlWebhookEvent).where(SqlWebhookEvent.webhook_id.in_(ours)))
        session.execute(delete(SqlWebhook).where(SqlWebhook.name == WEBHOOK))
    told = [WebhookEvent(WebhookEntity.MODEL_VERSION_TAG, WebhookAction.SET)]
    store.create_webhook(WEBHOOK, url, told, description="Tells Airflow of requests for a stage", secret=key)
    store.engine.dispose()  # before MLflow starts its workers


if __name__ == "__main__":
    main(sys.argv[1:])
