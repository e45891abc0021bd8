"""One model's specification and stores, opened together: what a task or a job works with."""

from __future__ import annotations

from dataclasses import dataclass

from include.core import catalogue, settings
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.lakehouse.tables import Lakehouse


@dataclass(frozen=True)
class Workspace:
    spec: ModelSpec
    places: Places
    lake: Lakehouse


def open_workspace(model: str) -> Workspace:
    """Open a registered model on the places that the environment names.

    Raises:
        ConfigError: the model or the environment is not configured rightly.
    """
    here = settings.from_environment()
    return Workspace(catalogue.load(model), here, Lakehouse(here))
