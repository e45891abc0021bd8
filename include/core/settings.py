"""Where things are: every place comes from the environment, nothing else does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from include.core.errors import ConfigError

PROJECT_ROOT = Path(__file__).resolve().parents[2]

Environment = Literal["dev", "prod"]


@dataclass(frozen=True)
class Places:
    """The addresses that one installation works with."""

    environment: Environment
    """``dev`` or ``prod``: decides, with model.yaml, who approves a promotion."""
    landing_uri: str
    """Folder (or fsspec URL) below which the outside systems deliver files."""
    lakehouse_uri: str
    """Folder (or object-store URL) below which all Delta tables live."""
    mlflow_uri: str
    """Tracking and registry server of MLflow."""
    docs_folder: str | None = None
    """Local folder for the Data Docs of batches, which the web server shows; none are written without it."""

    @property
    def is_local(self) -> bool:
        return "://" not in self.lakehouse_uri


_VARIABLES = {
    "landing_uri": "FLIGHTLINE_LANDING_URI",
    "lakehouse_uri": "FLIGHTLINE_LAKEHOUSE_URI",
    "mlflow_uri": "MLFLOW_TRACKING_URI",
}


def from_environment(environ: Mapping[str, str] | None = None) -> Places:
    """Read the places from environment variables.

    Raises:
        ConfigError: naming the variable that is missing or has an unknown value.
    """
    environ = os.environ if environ is None else environ
    fix = "Run `make up`, then `. var/env`; or set it yourself"
    for variable in _VARIABLES.values():
        if not environ.get(variable):
            raise ConfigError(f"environment variable {variable} is not set", fix=fix)
    environment = environ.get("FLIGHTLINE_ENV", "dev")
    if environment not in ("dev", "prod"):
        raise ConfigError(f"environment variable FLIGHTLINE_ENV is {environment!r}", fix="Set it to 'dev' or 'prod'")
    return Places(
        environment=cast(Environment, environment),
        docs_folder=environ.get("FLIGHTLINE_DOCS_FOLDER") or None,
        **{field: environ[variable].rstrip("/") for field, variable in _VARIABLES.items()},
    )
