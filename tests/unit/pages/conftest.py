from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from include.core import catalogue
from include.core.settings import Settings
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from tests import browser as browsers


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: while it is there, an event loop runs in this thread."""
    with browsers.chromium() as found:
        yield found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of the shipped model on an empty lakehouse."""
    settings = Settings(landing_uri="unused")
    return Run(catalogue.load("california_housing"), settings, Lakehouse(str(tmp_path / "lake")), "one")
