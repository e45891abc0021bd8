"""The folds of a search: of the same kind as the test rows, and nothing is judged by what was fitted to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION, SPLIT
from include.training import folds, splits
from include.training.splits import SPLITS, TEST, TRAIN, VALIDATION
from tests.unit.training.test_splits import BLOCKS, FEATURES, rows, split_by, spread

WITHOUT_FOLDS = replace(SPLITS["random_by_key"], name="own", folds=None)
"""What a user might bring."""


def searched(spec: ModelSpec, count: int | None) -> ModelSpec:
    search = spec.training.search.model_copy(update={"folds": count})
    return spec.model_copy(update={"training": spec.training.model_copy(update={"search": search})})


def split(spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
    found = splits.parts(spec, splits.hold(spec, FEATURES, frame), frame)
    return frame.assign(**{SPLIT: found})[found != splits.LEFT_OUT].reset_index(drop=True)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=80), st.integers(2, 5), st.integers(0, 99), st.randoms())
def test_each_row_is_judged_once_with_all_of_its_unit_in_folds_that_are_balanced(
    units: list[int], count: int, seed: int, random: object
) -> None:
    sizes = Counter(units)
    if len(sizes) < count:
        with pytest.raises(DataError, match=f"{len(sizes)} keys, groups or blocks are too few for {count} folds"):
            folds.balanced(pd.Series(units), seed, count)
        return
    found = folds.balanced(pd.Series(units), seed, count)
    judged = np.array([fold.judged for fold in found])
    assert (judged.sum(axis=0) == 1).all()
    assert all((fold.fitted == ~fold.judged).all() for fold in found)
    fold_of = judged.argmax(axis=0)
    assert pd.Series(fold_of).groupby(units).nunique().max() == 1
    # A unit goes into the smallest fold: no two differ by more than the largest unit.
    assert np.ptp(judged.sum(axis=1)) <= max(sizes.values())
    shuffled = list(range(len(units)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = folds.balanced(pd.Series([units[row] for row in shuffled]), seed, count)
    for one, other in zip(found, again, strict=True):
        assert list(one.judged[shuffled]) == list(other.judged)


@pytest.mark.parametrize("count", [2, 5])
def test_folds_are_of_the_kind_of_the_test_rows_and_never_of_test_rows(count: int) -> None:
    by_day = rows(range(1, 13), 50).sample(frac=1.0, random_state=1, ignore_index=True)
    places = spread(600)
    for spec, frame, unit in (
        (split_by("random_by_key"), by_day, by_day["listing_id"]),
        (split_by("by_group", group="listing_id"), by_day, by_day["listing_id"]),
        (split_by("by_block", blocks=BLOCKS), places, None),
    ):
        known = split(spec, frame)
        found = splits.search_folds(searched(spec, count), known)
        assert len(found) == count
        judged = np.array([fold.judged for fold in found])
        assert list(judged.sum(axis=0)) == list((known[SPLIT] != TEST) * 1)
        assert not any((fold.fitted & (fold.judged | (known[SPLIT] == TEST))).any() for fold in found)
        if unit is None:
            unit = np.floor(known["longitude"] / 0.5) * 1000 + np.floor(known["latitude"] / 0.5)
            kept = (known[SPLIT] != TEST).to_numpy()
            assert pd.Series(judged.argmax(axis=0))[kept].groupby(unit[kept]).nunique().max() == 1


def test_without_folds_a_trial_is_measured_on_the_validation_rows() -> None:
    known = split(split_by("random_by_key"), rows(range(1, 5)))
    (fold,) = splits.search_folds(split_by("random_by_key"), known)
    assert list(known[SPLIT][fold.fitted].unique()) == [TRAIN]
    assert list(known[SPLIT][fold.judged].unique()) == [VALIDATION]
    assert fold.judged.sum() == (known[SPLIT] == VALIDATION).sum()


def test_folds_of_blocks_keep_the_margin() -> None:
    spec = searched(split_by("by_block", blocks=BLOCKS, margin=0.2), 4)
    known = split(spec, spread(800))
    for fold in splits.search_folds(spec, known):
        fitted, judged = known[fold.fitted], known[fold.judged]
        cells = {(np.floor(x / 0.5), np.floor(y / 0.5)) for x, y in judged[["longitude", "latitude"]].to_numpy()}
        for x, y in fitted[["longitude", "latitude"]].to_numpy():
            corners = {(np.floor(x / 0.5 + a), np.floor(y / 0.5 + b)) for a in (-0.2, 0, 0.2) for b in (-0.2, 0, 0.2)}
            assert not corners & cells
        assert fold.fitted.any()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 200), min_size=2, max_size=25), st.integers(2, 6), st.integers(0, 3))
def test_by_time_a_fold_is_judged_by_what_is_before_it_and_before_the_gap(
    sizes: list[int], count: int, gap: int
) -> None:
    spec = split_by("by_time", gap=gap)
    frame = pd.concat([rows(range(day + 1, day + 2), size) for day, size in enumerate(sizes)], ignore_index=True)
    try:
        found = folds.expanding(spec, frame, count)
    except DataError:
        assert len(sizes) < count + 1 or gap, "only a gap asks for more partitions than spans"
        return
    keys = frame[PARTITION]
    for earlier, later in pairwise(found):
        assert keys[earlier.judged].max() < keys[later.judged].min()
        assert (earlier.fitted <= later.fitted).all()
    for fold in found:
        days = [int(day[-2:]) for day in (keys[fold.fitted].max(), keys[fold.judged].min())]
        assert days[1] - days[0] == gap + 1
    judged = np.logical_or.reduce([fold.judged for fold in found])
    assert set(keys[judged]).isdisjoint(keys[~judged])
    assert keys[judged].max() == keys.max()


def test_by_time_the_folds_share_the_partitions_alike_and_a_long_history_is_fitted_to() -> None:
    found = folds.expanding(split_by("by_time"), rows(range(1, 13)), 5)
    assert [fold.judged.sum() for fold in found] == [200] * 5
    history = pd.concat([rows(range(1, 2), 5000), rows(range(2, 12))], ignore_index=True)
    assert [fold.judged.sum() for fold in folds.expanding(split_by("by_time"), history, 5)] == [200] * 5


def test_a_split_of_ones_own_that_makes_no_folds_is_an_error_of_model_yaml() -> None:
    spec = searched(split_by("tests.unit.training.test_folds:WITHOUT_FOLDS"), 5)
    with pytest.raises(ConfigError, match=r"training.search.folds: own makes no folds"):
        splits.of(spec, FEATURES)
    assert splits.of(searched(catalogue.load("california_housing"), 5), FEATURES).name == "random_by_key"
