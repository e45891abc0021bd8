from __future__ import annotations

from pathlib import Path

import pytest

from include.core import catalogue
from include.core.settings import Settings
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of the shipped model on an empty lakehouse."""
    settings = Settings(landing_uri="unused")
    return Run(catalogue.load("california_housing"), settings, Lakehouse(str(tmp_path / "lake")), "one")
