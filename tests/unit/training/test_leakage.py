from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.models.bike_demand import sample
from include.training import leakage
from include.training.leakage import MOST_ROWS, SUSPICIOUS, UNEXPLAINED, check, unexplained
from tests.unit.training import world

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
        check(frame, frame["price"].rename("value"), list(frame), "x/features.sql")
    check(frame, frame["price"].rename("value"), ["rooms"], "x/features.sql")


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
        check(frame, pd.Series(LABEL, name="value"), list(frame), "x/features.sql")
    assert str(caught.value).startswith(
        "x/features.sql: the label is among the features: price equals value; thousands determines (100.0%) value"
    )
    check(frame, pd.Series(LABEL, name="value"), ["rooms"], "x/features.sql")


def drawn(seed, rows=4000):
    """Columns that say nothing of each other: of either sign (u to z), positive (a to d), and those in hundredths."""
    random = np.random.default_rng(seed)
    normal = pd.DataFrame(random.normal(size=(rows, 6)), columns=list("uvwxyz"))
    positive = pd.DataFrame(random.lognormal(0, 0.7, (rows, 4)), columns=list("abcd"))
    return pd.concat([normal, positive, (positive * 100).round().add_suffix("_whole")], axis=1)


TOGETHER = {
    "sum": (lambda f: f.a + f.b, "a and b"),
    "difference": (lambda f: f.u - f.v, "u and v"),
    "sum of many": (lambda f: f.u + f.v + f.w + f.x + f.a, "u and v and w and x and a"),
    "product": (lambda f: f.a * f.b, "a and b"),
    "product of either sign": (lambda f: f.u * f.v, "u and v"),
    "ratio": (lambda f: f.a / f.b, "a and b"),
    "share": (lambda f: f.a / (f.a + f.b), "a and b"),
    "larger one": (lambda f: f[["u", "v"]].max(axis=1), "u and v"),
    "with a little noise": (lambda f: (f.a + f.b) * (1 + 0.02 * f.z), "a and b"),
}


@pytest.mark.parametrize("form", TOGETHER)
def test_features_that_determine_the_label_together_are_named_and_no_other(form):
    frame = drawn(1).drop(columns=["a_whole", "b_whole"])
    formula, names = TOGETHER[form]
    label = formula(frame).rename("value")
    for name in names.split(" and "):
        assert unexplained(frame[name].to_numpy(), label.to_numpy()) > SUSPICIOUS, "alone it tells too little"
    with pytest.raises(DataError, match=rf"features: {names} determine \((99\.\d|100\.0)%\) value together"):
        check(frame, label, list(frame), "x/features.sql")


def test_what_nearly_determines_the_label_is_a_suspicion_that_a_person_confirms():
    frame = drawn(2)
    noise = np.sqrt(0.015) * np.std(frame.u + frame.v)
    label = (frame.u + frame.v + noise * np.random.default_rng(3).normal(size=len(frame))).rename("value")
    found = check(frame, label, list(frame), "x")
    assert found is not None
    assert found.names == ("u", "v")
    assert UNEXPLAINED < found.left < SUSPICIOUS
    assert str(found) == f"u and v ({1 - found.left:.1%})"
    assert check(frame, label, list(frame), "x", known=["u", "v"]) is None
    assert check(frame, label, list(frame), "x", known=["u", "w"]).names == ("u", "v")


def test_what_is_confirmed_may_determine_the_label_and_may_not_be_it():
    frame = drawn(4)
    total = (frame.a + frame.b).rename("value")
    assert check(frame, total, list(frame), "x", known=["a", "b"]) is None
    assert check(frame.assign(last=total * 2), total, ["u", "last"], "x", known=["last"]) is None
    with pytest.raises(DataError, match="last equals value"):
        check(frame.assign(last=total), total, ["u", "last"], "x", known=["last"])
    with pytest.raises(DataError, match=r"c and d determine .* together"):
        check(frame, frame.c * frame.d, list("abcdu"), "x", known=["a", "b"])


def test_confirmed_features_are_features():
    spec = catalogue.load("bike_demand")
    training = spec.training.model_copy(update={"known_features": ("hr", "yesterday")})
    with pytest.raises(ConfigError, match=r"bike_demand/model.yaml: training.known_features: .* selects no yesterday"):
        leakage.known(spec.model_copy(update={"training": training}), ["hr", "temp"])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(30, 600), st.floats(0.2, 2), st.sampled_from(["number", "class", "nulls"]))
def test_honest_features_are_never_refused(seed, rows, noise, kind):
    frame = drawn(seed, rows)
    score = frame.u + frame.a * frame.b - 2 * frame.v
    label = score + noise * score.std() * np.random.default_rng(seed + 1).normal(size=rows)
    if kind == "class":
        label = (label > label.median()).astype(float)
    if kind == "nulls":
        frame = frame.mask(np.random.default_rng(seed + 2).random(frame.shape) < 0.3)
    assert check(frame, label.rename("value"), list(frame), "x") is None


def test_rows_of_one_key_do_not_tell_each_others_labels():
    """Delivered on many days, they are alike: whoever remembers one knows the others, and has learned nothing."""
    frame = drawn(5, 400).loc[:, "u":"z"].assign(id=range(400), label=np.random.default_rng(6).normal(size=400))
    daily = pd.concat([frame] * 10, ignore_index=True)
    noisy = daily[["u", "v"]] + 0.001 * np.random.default_rng(7).normal(size=(len(daily), 2))
    assert check(daily.assign(u=noisy.u, v=noisy.v), daily.label, ["u", "v"], "x", keys=["id"]) is None


def test_the_first_model_has_no_leak():
    rows = world.housing(1)
    names = [name for name in rows.columns if rows[name].dtype == float and name != "median_house_value"]
    assert check(rows, rows.median_house_value, names, "x", keys=["listing_id"]) is None


def test_parts_of_the_count_are_refused_by_name_and_the_hours_they_are_of_are_not():
    rows = sample.generate()
    honest = ["hr", "weekday", "workingday", "yr", "mnth", "weathersit", "temp", "hum", "windspeed"]
    assert check(rows, rows.cnt, honest, "x", keys=["instant"]) is None
    with pytest.raises(DataError, match=r"features: casual and registered determine \(100\.0%\) cnt together"):
        check(rows, rows.cnt, [*honest, "casual", "registered"], "x", keys=["instant"])
