"""Which online store a test runs on, where it is not each of them."""

from __future__ import annotations

import pytest

on_one_store = pytest.mark.parametrize("online_kind", ["postgres"], indirect=True)
"""For what does not depend on the kind: that they answer alike is held by tests/unit/feast_delta/online."""
