"""What an interval of the table no longer has is not served; the key gets back what it had before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from feast_delta.online import following
from tests.unit.feast_delta.online.conftest import AT, VIEW, Online

DAY = timedelta(days=1)


@pytest.fixture
def put(online: Online) -> Any:
    """Return a function that makes rows of key, day and income the table, and materialises a day if it is named."""

    def put(*rows: tuple[int, int, float], materialize: int | None = None) -> None:
        table = pa.table(
            {
                "listing_id": pa.array([key for key, _, _ in rows], pa.int64()),
                "event_timestamp": pa.array([AT + day * DAY for _, day, _ in rows], pa.timestamp("us", tz="UTC")),
                "median_income": pa.array([income for *_, income in rows], pa.float64()),
                "rooms_per_household": pa.nulls(len(rows), pa.float64()),
                "inland": pa.array([1] * len(rows), pa.int32()),
            }
        )
        write_deltalake(f"{online.store.config.offline_store.lakehouse_uri}/listings", table, mode="overwrite")
        if materialize is not None:
            online.store.materialize(*interval(materialize), feature_views=[VIEW])

    return put


def interval(day: int) -> tuple[Any, Any]:
    return AT + day * DAY, AT + (day + 1) * DAY - following.MICROSECOND


def served(online: Online, *keys: int) -> list[float | None]:
    return [online.served("median_income", number=key)[0] for key in keys]


def follow(online: Online, day: int) -> int:
    return following.follow(online.store, online.view(), *interval(day))


def test_what_is_gone_is_not_served_and_a_key_has_again_what_it_had_before(online, put):
    before = [(1, 0, 1.0), (2, 0, 2.0), (1, 1, 1.1)]
    put(*before, materialize=0)
    put(*before, materialize=1)
    put(*before, (1, 2, 1.2), (3, 2, 3.2), (4, 2, 4.2), materialize=2)
    put(*before, (4, 2, 4.2), (2, 3, 2.3))
    assert follow(online, 2) == 2
    assert served(online, 1, 2, 3, 4) == [1.1, 2.0, None, 4.2]
    assert online.read(1)[0][0] == AT + DAY
    assert follow(online, 2) == 0


def test_a_newer_value_stays_and_one_beyond_the_time_to_live_does_not_come_back(online, put):
    put((1, 0, 1.0), (2, 0, 2.0), materialize=0)
    put((1, 402, 1.4), (2, 402, 2.4), materialize=402)
    put((1, 402, 1.4), (2, 402, 2.4), (1, 403, 1.5), materialize=403)
    put((1, 0, 1.0), (2, 0, 2.0), (1, 403, 1.5))
    assert follow(online, 402) == 1
    assert served(online, 1, 2) == [1.5, None]


def test_more_keys_than_one_call_takes_and_an_interval_in_which_nothing_is_held(online, put):
    keys = range(1, 700)
    put(*((key, 0, float(key)) for key in keys), materialize=0)
    put(*((key, 1, 0.0) for key in keys), materialize=1)
    put(*((key, 0, float(key)) for key in keys))
    assert (follow(online, 5), follow(online, 1)) == (0, len(keys))
    assert [found[1][0] for found in online.read(*keys)] == [float(key) for key in keys]


def test_cut_off_in_the_middle_it_is_completed_by_the_next(online, put, monkeypatch):
    put((1, 0, 1.0), materialize=0)
    put((1, 0, 1.0), (1, 1, 1.1), (2, 1, 2.1), materialize=1)
    put((1, 0, 1.0))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(following, "_before", killed)
        with pytest.raises(KeyboardInterrupt):
            follow(online, 1)
    assert served(online, 1, 2) == [1.1, 2.1]
    assert follow(online, 1) == 2
    assert served(online, 1, 2) == [1.0, None]
