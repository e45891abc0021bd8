"""The generated stand-in has the shape of the real California file, and a model on it behaves alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from scipy.stats import ks_2samp
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from include.models.california_housing import sample

COLUMNS = [
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
    "median_house_value",
    "ocean_proximity",
]
COUNTS = ["total_rooms", "total_bedrooms", "population", "households"]
CATEGORIES = {"<1H OCEAN": 9136, "INLAND": 6551, "NEAR OCEAN": 2658, "NEAR BAY": 2290, "ISLAND": 5}
CITIES = {  # longitude, latitude
    "Los Angeles": (-118.24, 34.05),
    "San Diego": (-117.16, 32.72),
    "San Francisco": (-122.42, 37.77),
    "Sacramento": (-121.49, 38.58),
    "Fresno": (-119.79, 36.74),
}
TARGET = "median_house_value"
ALPHA = 0.05
SPLIT_SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return sample.generate()


@pytest.fixture(scope="module", params=[20640, 1], ids=lambda seed: f"seed={seed}")
def any_rows(request: pytest.FixtureRequest) -> pd.DataFrame:
    return sample.generate(request.param)


def test_it_has_the_columns_and_types_of_the_file(any_rows: pd.DataFrame) -> None:
    assert list(any_rows.columns) == COLUMNS
    assert any_rows.shape == (20_640, 10)
    assert (any_rows.dtypes[COLUMNS[:-1]] == np.float64).all()
    assert any_rows["ocean_proximity"].map(type).eq(str).all()
    assert any_rows.index.equals(pd.RangeIndex(20_640))


def test_nulls_are_in_total_bedrooms_alone(any_rows: pd.DataFrame) -> None:
    nulls = any_rows.isna().sum()
    assert nulls[nulls > 0].to_dict() == {"total_bedrooms": 207}


def test_categories_have_the_counts_of_the_file(any_rows: pd.DataFrame) -> None:
    assert any_rows["ocean_proximity"].value_counts().to_dict() == CATEGORIES


def test_no_row_is_there_twice(any_rows: pd.DataFrame) -> None:
    assert not any_rows.duplicated().any()


@pytest.mark.parametrize(
    ("column", "lowest", "highest"),
    [
        ("longitude", -124.35, -114.31),
        ("latitude", 32.54, 41.95),
        ("housing_median_age", 1, 52),
        ("total_rooms", 2, 39_320),
        ("total_bedrooms", 1, 6_445),
        ("population", 3, 35_682),
        ("households", 1, 6_082),
        ("median_income", 0.4999, 15.0001),
        ("median_house_value", 14_999, 500_001),
    ],
)
def test_values_stay_in_the_range_of_the_file(
    any_rows: pd.DataFrame, column: str, lowest: float, highest: float
) -> None:
    assert any_rows[column].dropna().between(lowest, highest).all()


@pytest.mark.parametrize(
    ("column", "decimals"),
    [
        ("longitude", 2),
        ("latitude", 2),
        ("median_income", 4),
        *((column, 0) for column in ["housing_median_age", *COUNTS, TARGET]),
    ],
)
def test_values_have_the_decimals_of_the_file(any_rows: pd.DataFrame, column: str, decimals: int) -> None:
    values = any_rows[column].dropna()
    assert values.equals(values.round(decimals))


@pytest.mark.parametrize(
    ("column", "median"),
    [
        ("housing_median_age", 29),
        ("total_rooms", 2_127),
        ("total_bedrooms", 435),
        ("population", 1_166),
        ("households", 409),
        ("median_income", 3.53),
        ("median_house_value", 180_000),
    ],
)
def test_medians_are_close_to_the_file(any_rows: pd.DataFrame, column: str, median: float) -> None:
    assert any_rows[column].median() == pytest.approx(median, rel=0.1)


def test_bedrooms_are_among_the_rooms(any_rows: pd.DataFrame) -> None:
    known = any_rows.dropna()
    assert (known["total_bedrooms"] <= known["total_rooms"]).all()


def test_the_cap_is_reached_by_four_to_five_percent(any_rows: pd.DataFrame) -> None:
    assert 0.04 <= (any_rows[TARGET] == 500_001).mean() <= 0.05


def test_rows_gather_around_the_cities(rows: pd.DataFrame) -> None:
    near = {
        city: np.hypot(rows["longitude"] - longitude, rows["latitude"] - latitude) < 1
        for city, (longitude, latitude) in CITIES.items()
    }
    assert near["Los Angeles"].mean() > 0.35
    assert all(0.02 < close.mean() < 0.5 for close in near.values())
    assert np.logical_or.reduce(list(near.values())).mean() > 0.75
    island = rows[rows["ocean_proximity"] == "ISLAND"]
    assert island["longitude"].between(-118.6, -118.2).all()
    assert island["latitude"].between(33.25, 33.5).all()


def test_houses_are_cheapest_inland_and_dear_on_the_island(any_rows: pd.DataFrame) -> None:
    median = any_rows.groupby("ocean_proximity")[TARGET].median()
    assert median.idxmin() == "INLAND"
    assert median.idxmax() == "ISLAND"


def test_rows_come_in_no_order(rows: pd.DataFrame) -> None:
    order = pd.Series(np.arange(len(rows)))
    assert rows[COLUMNS[:-1]].corrwith(order).abs().max() < 0.03


def test_a_seed_gives_the_same_rows(rows: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(sample.generate(20640), rows, check_exact=True)
    pd.testing.assert_frame_equal(sample.generate(3), sample.generate(3), check_exact=True)


def test_another_seed_gives_other_rows(rows: pd.DataFrame) -> None:
    assert len(rows.merge(sample.generate(1), on=COLUMNS[:-1])) == 0


class Trial(NamedTuple):
    """A model fitted on 70 % of the rows, and how it does on the others: as they are, with incomes x1.5."""

    adjusted_r2: float
    drifted_adjusted_r2: float
    drifted_columns: set[str]
    drifted_columns_after_scaling: set[str]


@pytest.fixture(scope="module", params=[(20640, split) for split in SPLIT_SEEDS] + [(1, 0)], ids=str)
def trial(request: pytest.FixtureRequest) -> Trial:
    seed, split = request.param
    rows = sample.generate(seed)
    seen, unseen, seen_target, target = train_test_split(
        _features(rows), rows[TARGET], test_size=0.3, random_state=split
    )
    assert seen.shape[1] == 15
    model = LGBMRegressor(n_jobs=1, verbose=-1).fit(seen, seen_target)
    scaled = unseen.assign(median_income=unseen["median_income"] * 1.5)
    return Trial(
        adjusted_r2=_adjusted_r2(model, unseen, target),
        drifted_adjusted_r2=_adjusted_r2(model, scaled, target),
        drifted_columns=_drifted_columns(seen, unseen),
        drifted_columns_after_scaling=_drifted_columns(seen, scaled),
    )


def test_the_default_model_reaches_the_accuracy_of_the_file(trial: Trial) -> None:
    assert 0.815 <= trial.adjusted_r2 <= 0.845


def test_scaled_incomes_break_the_model(trial: Trial) -> None:
    assert 0.25 <= trial.drifted_adjusted_r2 <= 0.5


def test_drift_is_seen_in_the_scaled_column_alone(trial: Trial) -> None:
    assert trial.drifted_columns == set()
    assert trial.drifted_columns_after_scaling == {"median_income"}


def _features(rows: pd.DataFrame) -> pd.DataFrame:
    """The tutorial's 15 columns: 8 numbers, 2 ratios and 5 one-hot columns."""
    features = rows.drop(columns=[TARGET, "ocean_proximity"])
    features["rooms_per_bedroom"] = rows["total_rooms"] / rows["total_bedrooms"]
    features["population_per_household"] = rows["population"] / rows["households"]
    one_hot = pd.get_dummies(rows["ocean_proximity"], dtype=float)
    return features.join(one_hot.rename(columns=lambda name: name.replace(" ", "_")))


def _adjusted_r2(model: LGBMRegressor, features: pd.DataFrame, target: pd.Series) -> float:
    count, width = features.shape
    return 1 - (1 - r2_score(target, model.predict(features))) * (count - 1) / (count - width - 1)


def _drifted_columns(reference: pd.DataFrame, current: pd.DataFrame) -> set[str]:
    """The columns that a Kolmogorov-Smirnov test finds changed, with Bonferroni's correction."""
    return {
        column
        for column in reference
        if ks_2samp(reference[column].dropna(), current[column].dropna()).pvalue < ALPHA / reference.shape[1]
    }
