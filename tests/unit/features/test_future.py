"""A feature that knows later rows of its partition is found, and one that does not is left alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.features import future
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP
from tests.tables import day, put

DAY = day("2025-01-05")
FROM = "FROM clean_california_housing"
SHOP = "PARTITION BY ocean_proximity"
IN_TIME = f"{SHOP} ORDER BY event_timestamp"
LEAKS = [
    f"avg(median_income) OVER ({SHOP})",
    "count(*) OVER ()",
    f"lead(median_income) OVER ({IN_TIME}, listing_id)",
    f"sum(population) OVER ({IN_TIME} RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL 1 HOUR FOLLOWING)",
    "last_value(median_income) OVER (ORDER BY event_timestamp, listing_id ROWS BETWEEN 1 PRECEDING AND 9 FOLLOWING)",
]
HONEST = [
    "median_income * 2",
    f"lag(median_income) OVER ({IN_TIME}, listing_id)",
    f"avg(median_income) OVER ({IN_TIME})",
    f"sum(median_income) OVER ({IN_TIME} RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING)",
]


@pytest.fixture
def make(make_spec: Callable[..., ModelSpec], lake) -> Callable[..., ModelSpec]:
    """Return a function that makes a model with one feature, and rows of four days, at every hour or all at once."""

    def make(feature: str, *, hours: int = 24, where: str = "") -> ModelSpec:
        sql = f"SELECT listing_id, event_timestamp, {feature} AS x {FROM} {where}"
        spec = make_spec(sql, **{"ttl_days: 400": "ttl_days: 400\n  lookback: 2 days"})
        random = np.random.default_rng(7)
        for number in range(4):
            of = DAY.shift(-number)
            times = [of.start + timedelta(hours=row % hours) for row in range(48)]
            rows = {
                "listing_id": np.arange(48),
                EVENT_TIMESTAMP: pa.array(times),
                "median_income": random.uniform(1, 9, 48),
                "population": random.uniform(1, 9, 48),
                "ocean_proximity": random.choice(["INLAND", "ISLAND"], 48),
            }
            put(lake, CLEAN.of(spec), pa.table(rows), of)
        return spec

    return make


@pytest.mark.parametrize("feature", LEAKS)
def test_a_feature_that_knows_later_rows_is_named(make, lake, feature):
    with pytest.raises(
        ConfigError, match=r"features\.sql: x differs in \d+ of \d+ rows of 2025-01-05 .* once later rows"
    ):
        future.check(make(feature), lake, DAY)


@pytest.mark.parametrize("feature", HONEST)
def test_a_feature_that_knows_none_is_compared_at_some_moments(make, lake, feature):
    assert future.check(make(feature), lake, DAY) == future.MOMENTS


def test_rows_that_go_when_later_ones_come_are_found(make, lake):
    spec = make(
        "median_income", where=f"QUALIFY row_number() OVER ({SHOP} ORDER BY event_timestamp DESC, listing_id) < 9"
    )
    with pytest.raises(ConfigError, match=r"the choice of rows differs in \d+ of \d+ rows of 2025-01-05"):
        future.check(spec, lake, DAY)


@pytest.mark.parametrize("feature", LEAKS[:2])
def test_rows_of_one_moment_may_know_each_other(make, lake, feature):
    assert future.check(make(feature, hours=1), lake, DAY) == 0


def test_a_feature_that_depends_on_the_order_of_rows_of_one_moment_is_named(make, lake):
    spec = make(f"lag(median_income) OVER ({IN_TIME})")
    with pytest.raises(ConfigError, match=r"x differs in \d+ of 48 rows when the same rows of 2025-01-05 come in an"):
        future.check(spec, lake, DAY)
