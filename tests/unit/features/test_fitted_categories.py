"""Codes that came after a version was fitted are what their texts were then; codes that changed are refused."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from include.core import catalogue
from include.core.category import Category
from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.features import fitted_categories

SPEC = catalogue.load("california_housing")


def with_categories(**categories: Category) -> ModelSpec:
    features = SPEC.features.model_copy(update={"categories": categories})
    return SPEC.model_copy(update={"features": features})


def weather(*values: str, unseen: Any = "other", **more: Any) -> Category:
    return Category(values=values, unseen=unseen, **more)


@given(
    st.lists(st.none() | st.sampled_from("abcdefg"), max_size=12),
    st.integers(1, 6),
    st.integers(0, 3),
    st.sampled_from(["other", "missing", "fail"]),
    st.sampled_from(["other", "missing"]),
)
def test_a_version_predicts_from_the_codes_of_its_own_time(
    texts: list[str | None], count: int, later: int, unseen: str, unseen_now: str
) -> None:
    """Against the codes that the list of then gives to the same texts; what stopped the step then is null now."""
    then, now = list("abcdefg")[:count], list("abcdefg")[: count + later]

    def codes(values: list[str], other: float) -> list[float]:
        return [math.nan if text is None else values.index(text) + 1.0 if text in values else other for text in texts]

    assume(unseen != "other" or unseen_now == "other")  # what is null now may have been other, or have had no text
    of = {"other": 0.0, "missing": math.nan, "fail": math.nan}
    rows = pd.DataFrame({"weather": codes(now, of[unseen_now]), "x": range(len(texts))}, dtype="float64")
    found = fitted_categories.known({"weather": weather(*then, unseen=unseen)}, rows)
    expected = rows.assign(weather=pd.Series(codes(then, of[unseen]), dtype="float64"))
    pd.testing.assert_frame_equal(found, expected)


def test_only_codes_among_the_features_are_kept_of_a_declaration() -> None:
    spec = with_categories(
        weather=weather("clear", "it's fog"), road=weather("wet", encode="one_hot"), gone=weather("x")
    )
    told = fitted_categories.written(spec, ["weather", "road_wet"])
    assert fitted_categories.read(told) == {"weather": weather("clear", "it's fog")}
    assert set(fitted_categories.read_all(told)) == {"weather", "road"}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (weather("NEAR-BAY", encode="one_hot"), "weather_near_bay as 1 for 'NEAR BAY', and it is 1 for 'NEAR-BAY' now"),
        (
            weather("NEAR BAY", "fog", encode="one_hot"),
            "weather_other as 1 for none of NEAR BAY, and it is 1 for none of",
        ),
    ],
)
def test_a_flag_that_stands_for_another_text_is_refused(now: Category, said: str) -> None:
    fitted = {"weather": weather("NEAR BAY", encode="one_hot")}
    with pytest.raises(DataError, match=said):
        fitted_categories.require_codes_kept(with_categories(weather=now), fitted, list(now.one_hot("weather")), "3")


def test_what_was_other_is_not_taken_for_missing() -> None:
    now, fitted = with_categories(weather=weather("clear", unseen="missing")), {"weather": weather("clear")}
    with pytest.raises(DataError, match="with unseen: other, and what is unseen is null now"):
        fitted_categories.require_codes_kept(now, fitted, ["weather"], "3")


def test_a_list_that_has_grown_gives_the_same_codes() -> None:
    fitted = {"weather": weather("clear", "rain")}
    now = with_categories(weather=weather("clear", "rain", "snow", unseen="fail"), other=weather("x"))
    fitted_categories.require_codes_kept(now, fitted, ["weather", "temp"], "3")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"weather": weather("rain", "clear")}, "as a category of clear, rain, and features have a category of rain, "),
        ({"weather": weather("clear")}, "as a category of clear, rain, and features have a category of clear now"),
        ({}, "as a category of clear, rain, and features have no category now"),
        (
            {"weather": weather("clear", "rain"), "temp": weather("warm")},
            "to temp as no category, and features have a ",
        ),
    ],
)
def test_other_codes_for_the_same_texts_are_refused(now: dict[str, Category], said: str) -> None:
    fitted = {"weather": weather("clear", "rain")}
    with pytest.raises(DataError) as caught:
        fitted_categories.require_codes_kept(with_categories(**now), fitted, ["weather", "temp"], "3")
    assert "model.yaml: features.categories." in str(caught.value)
    assert f"version 3 was fitted to {'' if said.startswith('to') else 'weather '}{said.removeprefix('to ')}" in str(
        caught.value
    )
