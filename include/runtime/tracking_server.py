"""MLflow's server, which asks for a log-in: ``python -m include.runtime.tracking_server --host … --port …``.

The log-in is MLflow's own (`basic-auth`), with one user, who may do everything. MLflow reads where its users are from a
file alone, so it is written here, for nobody else, at every start. What is given beside, by the environment:
MLFLOW_BACKEND_STORE_URI, MLFLOW_AUTH_CONFIG_PATH. The password comes from where MLflow's clients have it from:
MLFLOW_TRACKING_PASSWORD, or ``~/.mlflow/credentials``.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from include.core.errors import StackError
from include.runtime.files import write_private

USER = "flightline"
CHECKED_FOR_SECONDS = 60
"""A password that was right is not hashed again for so long, which would take tenths of a second a request."""


def main(arguments: list[str]) -> None:
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


if __name__ == "__main__":
    main(sys.argv[1:])
