from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.core.errors import DataError
from include.core.settings import Places
from include.lakehouse import alias_history
from include.lakehouse.tables import Lakehouse

AT = datetime(2025, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(Places("dev", str(tmp_path), str(tmp_path / "lakehouse"), ""))


def test_every_moment_has_one_version(lake: Lakehouse) -> None:
    assert alias_history.current(lake, "houses") is None
    alias_history.begin(lake, "houses", "1", AT, "d1")
    alias_history.begin(lake, "cars", "7", AT, "d0")
    alias_history.begin(lake, "houses", "2", AT + DAY, "d2")
    alias_history.begin(lake, "houses", "2", AT + 2 * DAY, "d2")
    alias_history.begin(lake, "houses", "1", AT + 3 * DAY, "d3")
    seen = {
        hours: alias_history.as_of(lake, "houses", AT + timedelta(hours=hours)) for hours in (-1, 0, 23, 24, 71, 72)
    }
    assert {hours: tenure and tenure.version for hours, tenure in seen.items()} == {
        -1: None,
        0: "1",
        23: "1",
        24: "2",
        71: "2",
        72: "1",
    }
    assert len(alias_history.tenures(lake, "houses")) == 3
    running = alias_history.current(lake, "cars")
    assert running is not None
    assert (running.version, running.valid_to) == ("7", None)


def test_two_in_one_moment_leave_the_later_one(lake: Lakehouse) -> None:
    alias_history.begin(lake, "houses", "1", AT, "d1")
    alias_history.begin(lake, "houses", "2", AT, "d2")
    found = alias_history.as_of(lake, "houses", AT)
    assert found is not None
    assert found.version == "2"
    assert [tenure.version for tenure in alias_history.tenures(lake, "houses")] == ["1", "2"]


def test_time_does_not_run_backwards(lake: Lakehouse) -> None:
    alias_history.begin(lake, "houses", "1", AT, "d1")
    with pytest.raises(DataError, match="since 2025-01-05"):
        alias_history.begin(lake, "houses", "2", AT - DAY, "d2")
    with pytest.raises(DataError, match="time zone"):
        alias_history.begin(lake, "houses", "2", datetime(2025, 1, 6), "d2")
