"""The generated hours are like the real ones, as far as a model and its monitoring see them."""

from __future__ import annotations

import os

import pandas as pd
import pytest

from include.core import catalogue
from include.models.bike_demand import sample

REAL = os.environ.get("BIKE_CSV")
SOURCES = {"sample": sample.generate, "real file": lambda: pd.read_csv(REAL)}


@pytest.fixture(scope="module", params=SOURCES)
def rows(request: pytest.FixtureRequest) -> pd.DataFrame:
    if request.param == "real file" and not REAL:
        pytest.skip("BIKE_CSV names no file")
    return SOURCES[request.param]()


def test_the_same_seed_gives_the_same_rows() -> None:
    assert sample.generate(1).equals(sample.generate(1))
    assert not sample.generate(1).equals(sample.generate(2))


def test_hours_come_in_order_with_the_columns_of_model_yaml(rows: pd.DataFrame) -> None:
    spec = catalogue.load("bike_demand")
    assert list(rows) == [*spec.columns, spec.target]
    assert rows["instant"].tolist() == list(range(1, 17380))
    assert rows[["dteday", "hr"]].equals(rows[["dteday", "hr"]].sort_values(["dteday", "hr"]))
    months = rows.groupby(rows["dteday"].str[:7]).size()
    assert len(months) == 24
    assert months.between(640, 744).all()
    assert not rows.isna().any().any()


def test_demand_grows_has_seasons_commuters_and_weather(rows: pd.DataFrame) -> None:
    assert (rows["casual"] + rows["registered"]).equals(rows["cnt"])
    mean = rows.groupby("yr")["cnt"].mean()
    assert 130 < mean[0] < 160
    assert 1.5 < mean[1] / mean[0] < 1.8
    by_season = rows.groupby("season")["cnt"].mean()
    assert by_season.idxmin() == 1
    assert by_season.max() > 1.8 * by_season.min()
    working = rows[rows["workingday"] == 1].groupby("hr")["cnt"].mean()
    free = rows[rows["workingday"] == 0].groupby("hr")["cnt"].mean()
    assert working[8] > 1.5 * working[11]
    assert free[13] > 2 * free[8]
    by_weather = rows.groupby("weathersit")["cnt"].mean()
    assert by_weather[1] > by_weather[2] > 1.3 * by_weather[3]
    assert rows["temp"].corr(rows["cnt"]) > 0.3
