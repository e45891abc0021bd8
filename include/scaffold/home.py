"""A place for one check: stores of its own below a folder, without a stack."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

from include.core.settings import Settings
from include.runtime.postgres import Postgres


@contextmanager
def stores(folder: Path) -> Iterator[Settings]:
    """Have this process work on stores below a folder. Its environment and working folder are put back afterwards.

    Feast's registry and online values are in a PostgreSQL, as everywhere; MLflow's are in a file of SQLite, since one
    process alone writes to it.
    """
    postgres = Postgres(folder, say=lambda line: None)
    try:
        postgres.start()
        # MLflow, without a server, puts its artifacts into the working folder.
        with environment(_variables(folder, postgres.url("feast"))), chdir(folder):
            yield Settings.load()
    finally:
        postgres.stop()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The variables in this process's environment, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _variables(folder: Path, feast: str) -> dict[str, str]:
    return {
        "FLIGHTLINE_ENV": "dev",
        "FLIGHTLINE_LANDING_URI": str(folder / "landing"),
        "FLIGHTLINE_LAKEHOUSE_URI": str(folder / "lakehouse"),
        "FLIGHTLINE_FEAST_REGISTRY": feast,
        "FLIGHTLINE_FEAST_ONLINE_STORE": feast,
        "FEAST_USAGE": "False",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
