"""The join held against a slow reference that follows the definition word by word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_delta.point_in_time import TIMESTAMP, FeatureRows, join, latest

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
NANOSECONDS = pa.timestamp("ns", tz="UTC")


class Row(NamedTuple):
    key: tuple[int | None, ...]
    at: int
    created: int | None
    value: int | None


def rank(row):
    return row.at, -1 if row.created is None else row.created


def reference(entities, rows, ttl, use_created, known_then):
    """Look at every feature row for each entity row. Times are microseconds, with a fraction or not."""
    found = []
    for key, at in entities:
        valid = [
            row
            for row in rows
            if None not in key
            and row.key == key
            and row.at <= at
            and (ttl is None or row.at >= at - ttl)
            and not (known_then and use_created and (row.created is None or row.created > at))
        ]
        newest = max(valid, key=rank, default=None)
        found.append(newest.value if newest else None)
    return found


def as_times(values, unit=TIMESTAMP):
    start = int(EPOCH.timestamp()) * 1_000_000
    scale = 1000 if unit == NANOSECONDS else 1
    numbers = [None if value is None else round((start + value) * scale) for value in values]
    return pa.chunked_array([pa.array(numbers, pa.int64()).cast(unit)])


small = st.integers(0, 5)
maybe = st.none() | small


@st.composite
def cases(draw):
    width = draw(st.integers(0, 2))
    key = st.tuples(*[st.none() | st.integers(0, 2)] * width)
    use_created = draw(st.booleans())
    same = 3 if use_created else 2  # key, time, and the created time that breaks a tie
    rows = draw(st.lists(st.builds(Row, key, small, maybe, maybe), max_size=25, unique_by=lambda row: row[:same]))
    fraction = draw(st.sampled_from([0, 0.25]))
    entities = draw(st.lists(st.tuples(key, st.integers(-1, 7).map(lambda at: at + fraction)), max_size=12))
    ttl = draw(st.none() | st.integers(1, 4))
    return width, rows, entities, ttl, use_created, draw(st.booleans()), fraction


@settings(max_examples=50, deadline=None)
@given(cases())
def test_join_equals_the_reference(case):
    width, rows, entities, ttl, use_created, known_then, fraction = case
    view = FeatureRows(
        rows=pa.table(
            {
                **{f"k{n}": pa.array([row.key[n] for row in rows], pa.int64()) for n in range(width)},
                "at": as_times([row.at for row in rows]),
                "created": as_times([row.created for row in rows]),
                'odd "name"': pa.array([row.value for row in rows], pa.int32()),
            }
        ),
        keys=[f"k{n}" for n in range(width)],
        timestamp="at",
        created="created" if use_created else None,
        features=['odd "name"'],
        ttl=timedelta(microseconds=ttl) if ttl else None,
    )
    keys = [pa.chunked_array([pa.array([key[n] for key, _ in entities], pa.int64())]) for n in range(width)]
    at = as_times([at for _, at in entities], NANOSECONDS if fraction else TIMESTAMP)
    found = join(keys, at, view, known_then=known_then)
    assert found.schema.field('odd "name"').type == pa.int32()
    assert found['odd "name"'].to_pylist() == reference(entities, rows, ttl, use_created, known_then)


@pytest.mark.parametrize(("known_then", "value"), [(False, 20), (True, 10)])
def test_a_correction_that_came_later_is_left_out_when_asked(known_then, value):
    rows = pa.table({"k": [1, 1], "at": as_times([0, 0]), "created": as_times([0, 9]), "v": [10, 20]})
    view = FeatureRows(rows=rows, keys=["k"], timestamp="at", created="created", features=["v"])
    found = join([pa.chunked_array([[1]])], as_times([5]), view, known_then=known_then)
    assert found["v"].to_pylist() == [value]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.builds(Row, st.tuples(small), small, maybe, small), max_size=20, unique_by=lambda row: row[:3]))
def test_latest_is_one_row_for_each_key(rows):
    table = pa.table(
        {
            "k": pa.array([row.key[0] for row in rows], pa.int64()),
            "at": as_times([row.at for row in rows]),
            "created": as_times([row.created for row in rows]),
            "v": pa.array([row.value for row in rows], pa.int64()),
        }
    )
    view = FeatureRows(rows=table, keys=["k"], timestamp="at", created="created", features=["v"])
    found = pa.Table.from_batches(latest(view)).to_pydict()
    expected = {row.key[0]: row.value for row in sorted(rows, key=rank)}
    assert dict(zip(found["k"], found["v"], strict=True)) == expected
    assert len(found["k"]) == len(expected)
