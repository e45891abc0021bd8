"""Days and moments from texts: what a text says does not depend on those beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion import moments

ZONES = st.one_of(st.none(), st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))))
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)
NONE = ["", "today", "2025-02-30", "2025-01-01 24:00", "2025-01-01 1030", "2025-W01-1", "0000-01-01", "1735689600"]


@given(at=TIMES, joined=st.sampled_from("T "), spaced=st.booleans())
def test_a_moment_is_what_python_reads_with_or_without_a_zone(at: datetime, joined: str, spaced: bool) -> None:
    text, expected = at.isoformat(joined), at if at.tzinfo else at.replace(tzinfo=UTC)
    if spaced and at.tzinfo and not at.utcoffset().seconds % 60:  # type: ignore[union-attr]
        text = f" {text[:-6]} {text[-6:]}"
    assert moments.moments(pa.array([text]), None).to_pylist() == [expected]


@given(st.lists(st.one_of(TIMES.map(str), st.sampled_from(NONE), st.none()), max_size=6))
def test_the_others_of_a_column_change_nothing(texts: list[str | None]) -> None:
    alone = [moments.moments(pa.array([text], pa.string()), None)[0].as_py() for text in texts]
    assert moments.moments(pa.array(texts, pa.string()), None).to_pylist() == alone


@pytest.mark.parametrize("text", NONE)
def test_what_says_no_moment_is_null(text: str) -> None:
    assert moments.moments(pa.array([text]), None).to_pylist() == [None]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%d.%m.%Y %H:%M", "31.12.2024 23:59", datetime(2024, 12, 31, 23, 59, tzinfo=UTC)),
        ("%d.%m.%Y %H:%M", "2024-12-31 23:59", None),
        ("%Y%m%d%H%M%S%z", "20241231235900+0100", datetime(2024, 12, 31, 22, 59, tzinfo=UTC)),
        ("%m/%d/%Y %I:%M %p", "01/31/2025 11:05 PM", datetime(2025, 1, 31, 23, 5, tzinfo=UTC)),
    ],
)
def test_a_moment_by_its_format(form: str, text: str, expected: datetime | None) -> None:
    assert moments.moments(pa.array([text]), form).to_pylist() == [expected]
