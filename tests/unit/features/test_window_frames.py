"""Frames of window functions: held against the lookback when a model is loaded, and in words that Spark takes."""

from __future__ import annotations

import pytest

from include.core.errors import ConfigError
from include.features import query, window_frames

LOOKBACK = {"ttl_days: 400": "ttl_days: 400\n  lookback: 7 days"}


def averaged(frame: str) -> str:
    over = f"PARTITION BY listing_id ORDER BY event_timestamp {frame}"
    return f"SELECT listing_id, event_timestamp, avg(median_income) OVER ({over}) AS x FROM clean_california_housing"


@pytest.mark.parametrize(
    "frame",
    [
        "RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW",
        "RANGE BETWEEN INTERVAL '1 week' PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING",
        "RANGE BETWEEN INTERVAL (168) HOUR PRECEDING AND CURRENT ROW",
        "RANGE INTERVAL 7 DAYS PRECEDING",
        "ROWS BETWEEN 100 PRECEDING AND CURRENT ROW",
        "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        "",
    ],
)
def test_a_window_within_the_lookback_is_taken(make_spec, frame):
    spec = make_spec(averaged(frame), **LOOKBACK)
    window_frames.check(spec)
    assert query.feature_schema(spec)


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ("RANGE BETWEEN INTERVAL 8 DAYS PRECEDING AND CURRENT ROW", "INTERVAL '8' DAYS"),
        ("RANGE INTERVAL 8 DAYS PRECEDING", "INTERVAL '8' DAYS"),
        ("RANGE BETWEEN INTERVAL '169 hours' PRECEDING AND INTERVAL 1 SECOND PRECEDING", "INTERVAL '169' HOURS"),
        ("RANGE BETWEEN INTERVAL 1 MONTH PRECEDING AND CURRENT ROW", "INTERVAL '1' MONTH"),
    ],
)
def test_a_window_that_the_lookback_would_cut_is_refused(make_spec, frame, shown):
    spec = make_spec(averaged(frame), **LOOKBACK)
    with pytest.raises(ConfigError) as caught:
        window_frames.check(spec)
    assert str(caught.value) == (
        f"{spec.folder}/features.sql: a window begins {shown} PRECEDING, and features.lookback in model.yaml is 7 days"
        ". "
        "Write features: {lookback: ...} of at least that length, or a shorter window"
    )


def test_a_window_over_other_times_is_no_lookback(make_spec):
    over = "ORDER BY make_timestamp(total_rooms::BIGINT) RANGE BETWEEN INTERVAL 1 YEAR PRECEDING AND CURRENT ROW"
    sql = f"SELECT listing_id, event_timestamp, count(*) OVER ({over}) AS x FROM clean_california_housing"
    spec = make_spec(sql)
    window_frames.check(spec)
    assert query.feature_schema(spec)


def test_a_named_window_is_seen(make_spec):
    sql = averaged("RANGE INTERVAL 8 DAYS PRECEDING")
    named, over = sql.split("OVER (")[0], sql.split("OVER (")[1].split(")")[0]
    spec = make_spec(f"{named} OVER w AS x FROM clean_california_housing WINDOW w AS ({over})", **LOOKBACK)
    assert query.feature_schema(spec)
    with pytest.raises(ConfigError, match="a window begins INTERVAL '8' DAYS PRECEDING"):
        window_frames.check(spec)


def test_without_a_lookback_a_window_ends_at_the_border_of_the_partition_so_it_is_refused(make_spec):
    spec = make_spec(averaged("RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW"))
    with pytest.raises(ConfigError, match="is not set, so that it sees its partition alone"):
        window_frames.check(spec)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            "INTERVAL 7 DAYS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING",
            "INTERVAL '7 00:00:00.000000' DAY TO SECOND PRECEDING "
            "AND INTERVAL '0 00:00:00.000001' DAY TO SECOND PRECEDING",
        ),
        (
            "INTERVAL '36 hours' PRECEDING AND CURRENT ROW",
            "INTERVAL '1 12:00:00.000000' DAY TO SECOND PRECEDING AND CURRENT ROW",
        ),
        ("INTERVAL 1 MONTH PRECEDING AND CURRENT ROW", "INTERVAL '1' MONTH PRECEDING AND CURRENT ROW"),
    ],
)
def test_both_bounds_of_a_frame_are_of_one_type_for_spark(make_spec, frame, expected):
    assert f"RANGE BETWEEN {expected}" in query.spark_sql(make_spec(averaged(f"RANGE BETWEEN {frame}")))


def test_a_frame_that_spark_does_not_take_is_said(make_spec):
    spec = make_spec(averaged("RANGE BETWEEN INTERVAL 1 MONTH PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING"))
    with pytest.raises(ConfigError, match=r"features.sql: .*Spark takes no frame of months and of something shorter"):
        query.spark_sql(spec)
