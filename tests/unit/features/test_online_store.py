from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from include.features.online_store import PostgresOnlineStoreConfig
from include.features.store import apply, open_store

AT = datetime(2025, 1, 2, tzinfo=UTC)
PLACE = {"host": "/tmp", "database": "feast", "user": "postgres", "password": ""}


@pytest.mark.parametrize("option", ["vector_enabled", "enable_openai_compatible_store"])
def test_what_is_not_written_is_refused(option):
    with pytest.raises(ValidationError, match="writes no vectors"):
        PostgresOnlineStoreConfig(type="x", **PLACE, **{option: True})


@pytest.fixture
def write(feast_environment, spec):
    """Return a function that writes incomes of one key at times, and gives what is served then."""
    import pandas as pd

    store = open_store()
    apply(store, spec)

    def write(*rows: tuple[int, float]) -> tuple[float, datetime]:
        frame = pd.DataFrame(
            {
                "listing_id": 1,
                "event_timestamp": [AT + timedelta(hours=hours) for hours, _ in rows],
                "median_income": [income for _, income in rows],
                "rooms_per_household": 1.0,
                "inland": pd.array([1] * len(rows), dtype="int32"),
            }
        )
        store.write_to_online_store("listing_features", frame)
        served = store.get_online_features(
            features=["listing_features:median_income"], entity_rows=[{"listing_id": 1}]
        ).to_dict(include_event_timestamps=True)
        return served["median_income"][0], datetime.fromtimestamp(served["median_income__ts"][0], UTC)

    return write


def test_the_newest_value_is_served_whatever_the_order(write):
    assert write((2, 2.0)) == (2.0, AT + timedelta(hours=2))
    assert write((1, 1.0)) == (2.0, AT + timedelta(hours=2))
    assert write((2, 2.5)) == (2.5, AT + timedelta(hours=2))
    assert write((3, 3.0), (5, 5.0), (4, 4.0)) == (5.0, AT + timedelta(hours=5))


def test_event_times_do_not_depend_on_the_servers_time_zone(write, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    assert write((2, 2.0))[1] == AT + timedelta(hours=2)
