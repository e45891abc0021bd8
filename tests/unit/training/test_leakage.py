from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.training.leakage import MOST_ROWS, UNEXPLAINED, refuse, unexplained

RANDOM = np.random.default_rng(1)
LABEL = RANDOM.lognormal(12, 0.5, 2000)
FORMS = {
    "the label": LABEL,
    "scaled": LABEL / 1e5 - 3,
    "falling": -np.log(LABEL),
    "neither rising nor falling": np.abs(LABEL - np.median(LABEL)) * np.where(np.median(LABEL) < LABEL, 1, -1.01),
    "with a little noise": LABEL * RANDOM.normal(1, 0.005, 2000),
    "known in a tenth of the rows": np.where(RANDOM.random(2000) < 0.1, LABEL, np.nan),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_feature_that_determines_the_label_is_found(form):
    assert unexplained(FORMS[form], LABEL) < UNEXPLAINED


def test_a_class_that_is_the_label_is_found():
    label = RANDOM.integers(0, 5, 500).astype(float)
    assert unexplained(np.array([3.0, 1, 4, 9, 2])[label.astype(int)], label) < UNEXPLAINED


@pytest.mark.parametrize("classes", [2, 4])
def test_what_determines_a_class_is_found_and_what_tells_it_well_is_not(classes):
    score = RANDOM.normal(size=2000)
    label = pd.qcut(score, classes, labels=False).astype(float)
    for feature in (label, -3 * label + 1, score, np.exp(score)):
        assert unexplained(feature, label) < UNEXPLAINED
    assert unexplained(score + RANDOM.normal(0, 0.3, 2000), label) > 5 * UNEXPLAINED


def test_of_many_rows_some_tell():
    rows = MOST_ROWS * 3
    frame = pd.DataFrame({"rooms": RANDOM.random(rows), "price": RANDOM.lognormal(12, 0.5, rows)})
    with pytest.raises(DataError, match="price equals value"):
        refuse(frame, frame["price"].rename("value"), list(frame), "x/features.sql")
    refuse(frame, frame["price"].rename("value"), ["rooms"], "x/features.sql")


def test_a_good_feature_is_none():
    honest = np.log(LABEL) + RANDOM.normal(0, 0.2, 2000)
    assert 0.1 < unexplained(honest, LABEL) < 0.5
    assert unexplained(RANDOM.random(2000), LABEL) == pytest.approx(1, abs=0.1)
    assert unexplained((np.median(LABEL) < LABEL).astype(float), LABEL) > 0.2
    assert unexplained(np.arange(2000.0), LABEL) > 0.5  # the key of a row determines its label, and says nothing


def test_a_rare_label_is_no_reason_to_suspect_a_feature():
    label = (np.arange(2000) % 500 == 0).astype(float)
    for feature in (RANDOM.random(2000), RANDOM.integers(0, 2, 2000).astype(float), RANDOM.integers(0, 900, 2000)):
        assert unexplained(np.asarray(feature, dtype=float), label) > 0.5
    assert unexplained(label * 7, label) < UNEXPLAINED


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 29), st.floats(allow_nan=False, allow_infinity=False))
def test_too_little_to_say(rows, value):
    values = np.arange(rows, dtype=float)
    assert unexplained(values, values) == 1
    assert unexplained(np.full(100, value), np.arange(100.0)) == 1
    assert unexplained(np.arange(100.0), np.full(100, value)) == 1


def test_the_features_are_named():
    frame = pd.DataFrame({"rooms": RANDOM.random(2000), "price": LABEL, "thousands": LABEL / 1000})
    with pytest.raises(DataError) as caught:
        refuse(frame, pd.Series(LABEL, name="value"), list(frame), "x/features.sql")
    assert str(caught.value).startswith(
        "x/features.sql: the label is among the features: price equals value; thousands determines (100.0%) value"
    )
    refuse(frame, pd.Series(LABEL, name="value"), ["rooms"], "x/features.sql")
