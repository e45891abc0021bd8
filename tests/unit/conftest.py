"""Fixtures of the unit tests, whatever they test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """As an account that permissions hold for: root may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def world_folder() -> Iterator[Path]:
    """A folder that another account can enter and write to: pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="flightline-world-"))
    folder.chmod(0o777)
    yield folder
    for place, folders, _ in os.walk(folder):  # a test may have closed some, which stops all but root
        for name in folders:
            Path(place, name).chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture
def asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that does not answer is asked as often as ever, without the pauses between."""
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)
