"""Drift: distances against slow references, error rates by simulation, the real file, what model.yaml may name."""

from __future__ import annotations

import math
import os
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.core.sections import Drift, DriftRule
from include.core.spec import ModelSpec
from include.evaluation import drift
from include.evaluation.corrections import CORRECTIONS, holm
from include.evaluation.drift import ColumnKind, DriftTest, Samples
from include.models.california_housing import sample

CONFIG = Drift(
    tests={
        "number": DriftRule(test="kolmogorov_smirnov", min_effect=0.1),
        "category": DriftRule(test="chi_squared", min_effect=0.1),
        "nulls": DriftRule(test="fisher", min_effect=0.1),
    },
    correction="holm",
    alpha=0.05,
)
samples = st.lists(st.integers(-3, 3).map(float) | st.just(float("nan")), min_size=1, max_size=30)


def config(kind: str = "number", **changes: object) -> Drift:
    """The rule, with another test or smallest effect of a kind of column."""
    content = CONFIG.model_dump()
    content["tests"][kind] |= changes
    return Drift.model_validate(content)


def slow_distance(reference: list[float], current: list[float]) -> float:
    """Largest difference between the two shares of values at or below any value; null is below all."""

    def share(values: list[float], bound: float) -> float:
        return sum(np.isnan(value) or value <= bound for value in values) / len(values)

    return max(abs(share(reference, bound) - share(current, bound)) for bound in [-99.0, *range(-3, 4)])


@given(samples, samples)
@settings(deadline=None, max_examples=40)
def test_distance_is_the_largest_gap_between_distributions(reference: list[float], current: list[float]) -> None:
    (found,) = drift.detect(pd.DataFrame({"x": reference}), pd.DataFrame({"x": current}), CONFIG)
    assert found.distance == pytest.approx(slow_distance(reference, current))
    assert 0 <= found.p_value <= found.adjusted_p <= 1


@given(samples, samples)
@settings(deadline=None, max_examples=60)
def test_the_population_stability_index_is_the_sum_over_bins(reference: list[float], current: list[float]) -> None:
    known = sorted(value for value in reference if not math.isnan(value))
    cuts = sorted({_quantile(known, tenth / 10) for tenth in range(1, 10)}) if known else []

    def bins(values: list[float]) -> Counter[int]:
        return Counter(-1 if math.isnan(value) else sum(value > cut for cut in cuts) for value in values)

    before, now, index = bins(reference), bins(current), 0.0
    for place in before.keys() | now.keys():
        p, q = (max(side[place] / side.total(), drift.PSI_LEAST_SHARE) for side in (before, now))
        index += (q - p) * math.log(q / p)
    numbers = [np.array([-np.inf if math.isnan(value) else value for value in side]) for side in (reference, current)]
    distance, p_value = drift.population_stability(*numbers)
    assert distance == pytest.approx(min(index, 1.0))
    assert 0 <= p_value <= 1


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=5)


@given(counts)
@settings(deadline=None, max_examples=60)
def test_the_distance_of_categories_is_the_total_variation(pairs: list[tuple[int, int]]) -> None:
    """Against the definition: the largest difference of the probability of any set of categories."""
    found = _compared(ColumnKind.CATEGORY, pairs)
    before, now = (sum(side) for side in zip(*pairs, strict=True))
    if not (before and now):
        assert (found.distance, found.p_value, found.drifted) == (0.0, 1.0, False)
        return
    sets = [[pair for bit, pair in enumerate(pairs) if mask >> bit & 1] for mask in range(2 ** len(pairs))]
    shares = [sum(n for n, _ in chosen) / before - sum(m for _, m in chosen) / now for chosen in sets]
    assert found.distance == pytest.approx(max(shares))
    assert 0 <= found.p_value <= 1


@given(*[st.integers(0, 12)] * 4)
@settings(deadline=None, max_examples=60)
def test_fishers_p_value_is_the_sum_of_tables_that_are_as_unlikely(a: int, b: int, c: int, d: int) -> None:
    found = _compared(ColumnKind.NULLS, [(a, c), (b, d)])
    if not (a + b and c + d and a + c and b + d):
        assert (found.distance, found.p_value) == (0.0, 1.0)
        return

    def ways(first: int) -> int:
        return math.comb(a + c, first) * math.comb(b + d, a + b - first)

    possible = [ways(first) for first in range(max(0, a - d), min(a + b, a + c) + 1)]
    expected = sum(n for n in possible if n <= ways(a)) / math.comb(a + b + c + d, a + b)
    assert found.p_value == pytest.approx(expected)
    assert found.distance == pytest.approx(abs(a / (a + b) - c / (c + d)))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=3))
@settings(deadline=None, max_examples=60)
def test_of_few_rows_the_p_value_is_the_share_of_tables_that_are_as_far_from_chance(
    pairs: list[tuple[int, int]],
) -> None:
    """Against all ways to choose the window's rows among all rows."""
    found = _compared(ColumnKind.CATEGORY, pairs)
    rows = [place for place, pair in enumerate(pairs) for _ in range(sum(pair))]
    size = sum(now for _, now in pairs)
    if not 0 < size < len(rows) or len(set(rows)) < 2:
        assert found.p_value == 1.0
        return
    pooled = Counter(rows)

    def far(counts: Counter[int]) -> float:
        expected = {place: size * pooled[place] / len(rows) for place in pooled}
        return sum((counts[place] - expected[place]) ** 2 / expected[place] for place in pooled)

    observed = far(Counter({place: now for place, (_, now) in enumerate(pairs)}))
    tables = [far(Counter(chosen)) for chosen in combinations(rows, size)]
    exact = sum(table >= observed - 1e-9 for table in tables) / len(tables)
    assert found.p_value == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("rows", [1, 10, 100])
def test_small_windows_of_many_codes_give_false_alarms_within_alpha(rows: int) -> None:
    rng, shares = np.random.default_rng(1), 1 / np.arange(1, 41)
    reference, alarms = pd.DataFrame({"x": rng.choice(40, 3000, p=shares / shares.sum())}), 0
    for _ in range(200):
        current = pd.DataFrame({"x": rng.choice(40, rows, p=shares / shares.sum())})
        alarms += drift.detect(reference, current, CONFIG, ("x",))[0].drifted
    assert alarms <= 18, "of 200 with alpha 0.05, two deviations above what is expected"


def test_codes_are_compared_as_categories() -> None:
    reference = pd.DataFrame({"x": [1.0] * 300 + [2.0] * 300 + [3.0] * 300 + [np.nan] * 100})
    current = pd.DataFrame({"x": [1.0] * 30 + [3.0] * 30 + [0.0] * 30 + [np.nan] * 10})
    (found,) = drift.detect(reference, current, CONFIG, ("x",))
    assert (found.kind, found.distance) == (ColumnKind.CATEGORY, pytest.approx(0.3))
    assert found.drifted
    (as_number,) = drift.detect(reference, current, CONFIG)
    assert as_number.kind is ColumnKind.NUMBER
    filled = reference.fillna(2.0)
    assert drift.detect(filled, reference, CONFIG, ("x",))[0].distance == pytest.approx(0.1), "a null is a category"


def _compared(kind: ColumnKind, pairs: list[tuple[int, int]], rule: Drift = CONFIG) -> drift.ColumnDrift:
    before, now = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    (found,) = drift.compare([Samples("x", kind, before, now)], rule)
    return found


def test_each_kind_of_column_has_its_own_test_and_effect_and_all_are_corrected_together() -> None:
    rng = np.random.default_rng(1)
    columns = [
        Samples("x", ColumnKind.NUMBER, rng.normal(size=500), rng.normal(1, 1, 500)),
        Samples("x", ColumnKind.NULLS, np.array([0.0, 500]), np.array([100.0, 400])),
        Samples("place", ColumnKind.CATEGORY, np.array([100.0, 400, 0]), np.array([200.0, 290, 10])),
    ]
    found = drift.compare(columns, CONFIG)
    assert [(item.column, item.kind.value, item.drifted) for item in found] == [
        ("x", "number", True),
        ("x", "nulls", True),
        ("place", "category", True),
    ]
    assert [item.adjusted_p for item in found] == pytest.approx(holm(np.array([item.p_value for item in found])))
    assert [item.drifted for item in drift.compare(columns, config("nulls", min_effect=0.3))] == [True, False, True]
    assert found[1].p_value != drift.compare(columns, config("nulls", test="chi_squared"))[1].p_value


@pytest.mark.parametrize("name", [name for name, test in drift.TESTS.items() if ColumnKind.NUMBER in test.kinds])
def test_every_test_of_numbers_sees_a_shift_and_nulls_and_holds_its_level(name: str) -> None:
    rng, rule = np.random.default_rng(20640), config(test=name)
    x = rng.normal(size=4000)
    reference, same = pd.DataFrame({"x": x}), pd.DataFrame({"x": rng.normal(size=400)})
    assert not drift.detect(reference, same, rule)[0].drifted
    assert drift.detect(reference, same + 1, rule)[0].drifted
    assert drift.detect(reference, same.where(rng.random((400, 1)) > 0.3), rule)[0].drifted
    p_values = [drift.TESTS[name].compare(rng.normal(size=300), rng.normal(size=100))[1] for _ in range(200)]
    # At a true rate of 5 %, 20 or more of 200 have a probability of 0.3 %.
    assert sum(p_value < 0.05 for p_value in p_values) < 20


def apart(reference: Any, current: Any) -> tuple[float, float]:
    return abs(reference.mean() - current.mean()) / 10, 0.0


MEANS = DriftTest("means", frozenset({ColumnKind.NUMBER}), apart)


def test_a_users_own_test_runs_by_its_path() -> None:
    rule = config(test=f"{__name__}:MEANS")
    (found,) = drift.detect(pd.DataFrame({"x": [1.0, 2, 3]}), pd.DataFrame({"x": [4.0, 5, 6]}), rule)
    assert (found.distance, found.drifted) == (pytest.approx(0.3), True)
    drift.check(_spec({"number": {"test": f"{__name__}:MEANS", "min_effect": 0.1}}))


@pytest.mark.parametrize(
    ("tests", "correction", "message"),
    [
        ({"number": "kuiper"}, "holm", r"drift.tests.number.test: 'kuiper' is not known. Use one of chi_squared, fish"),
        (
            {"category": "kolmogorov_smirnov"},
            "holm",
            "drift.tests.category.test: kolmogorov_smirnov is for number, not for category. Use one of chi_squared",
        ),
        ({"number": "fisher"}, "holm", r"number.test: fisher is for nulls, not for number. Use one of kolm"),
        ({"nulls": f"{__name__}:MEANS"}, "holm", r"nulls.test: .*:MEANS is for number, not for nulls"),
        ({"nulls": f"{__name__}:CONFIG"}, "holm", "is a Drift, not a DriftTest"),
        ({"nulls": "nowhere.at:all"}, "holm", "cannot be imported"),
        ({}, "bonferoni", r"drift.correction: 'bonferoni' is not known. Use one of benjamini_hochberg, holm, none"),
    ],
)
def test_what_is_not_there_or_for_another_kind_is_named_with_file_and_key(
    tests: dict[str, str], correction: str, message: str
) -> None:
    spec = _spec({kind: {"test": name, "min_effect": 0.1} for kind, name in tests.items()}, correction)
    with pytest.raises(ConfigError, match=message) as raised:
        drift.check(spec)
    assert str(raised.value).startswith("include/models/california_housing/model.yaml: monitoring.drift.")


def _spec(tests: dict[str, dict[str, Any]], correction: str = "holm") -> ModelSpec:
    content = catalogue.load("california_housing").model_dump()
    content["monitoring"]["drift"]["tests"] |= tests
    content["monitoring"]["drift"]["correction"] = correction
    return ModelSpec.model_validate(content)


def test_drift_needs_both_a_small_p_value_and_an_effect() -> None:
    rng = np.random.default_rng(1)
    reference = pd.DataFrame({"x": rng.normal(size=20_000)})
    shifted = pd.DataFrame({"x": rng.normal(0.1, 1, 20_000)})
    (small,) = drift.detect(reference, shifted, CONFIG)
    assert small.adjusted_p < 0.001
    assert small.distance < CONFIG.tests["number"].min_effect
    assert not small.drifted
    assert drift.detect(reference, shifted, config(min_effect=0.01))[0].drifted
    (unsure,) = drift.detect(reference, pd.DataFrame({"x": [2.0, -0.1, 0.6]}), CONFIG)
    assert unsure.distance > CONFIG.tests["number"].min_effect
    assert not unsure.drifted


def test_constant_columns_and_an_empty_window_do_not_drift() -> None:
    reference = pd.DataFrame({"x": [1.0, 2.0, 3.0] * 50, "same": 7})
    assert not drift.detect(reference, reference, CONFIG)[1].drifted
    for found in drift.detect(reference, reference.iloc[:0], CONFIG):
        assert (found.distance, found.p_value, found.adjusted_p, found.drifted) == (0.0, 1.0, 1.0, False)


def test_a_column_that_arrives_empty_is_drift() -> None:
    reference = pd.DataFrame({"x": np.arange(500.0)})
    assert drift.detect(reference, pd.DataFrame({"x": [None] * 50}), CONFIG)[0].drifted
    some = pd.DataFrame({"x": np.where(np.arange(500) % 4 == 0, np.nan, np.arange(500.0))})
    assert drift.detect(reference, some, CONFIG)[0].distance == pytest.approx(0.25)


def test_one_row_is_drift_only_far_outside() -> None:
    reference = pd.DataFrame({"x": np.arange(1000.0)})
    assert not drift.detect(reference, pd.DataFrame({"x": [950.0]}), CONFIG)[0].drifted
    assert drift.detect(reference, pd.DataFrame({"x": [5000.0]}), CONFIG)[0].drifted


def test_a_two_valued_column_is_tested_as_shares() -> None:
    reference = pd.DataFrame({"x": [True] * 300 + [False] * 700})
    current = pd.DataFrame({"x": [1] * 41 + [0] * 59})
    (found,) = drift.detect(reference, current, CONFIG)
    assert found.distance == pytest.approx(0.11)
    # Fisher's exact p-value is 0.030; Kolmogorov-Smirnov with these ties would say 0.20 and miss it.
    assert 0.02 < found.p_value < 0.04
    assert found.drifted


def test_the_reference_decides_the_columns() -> None:
    reference = pd.DataFrame({"b": [1.0, 2.0], "a": [1.0, 2.0]})
    current = reference.assign(c="new")
    assert [found.column for found in drift.detect(reference, current, CONFIG)] == ["b", "a"]
    assert drift.detect(reference[[]], current, CONFIG) == []
    with pytest.raises(DataError, match="columns a of the reference"):
        drift.detect(reference, current[["b"]], CONFIG)
    with pytest.raises(DataError, match="no rows"):
        drift.detect(reference.iloc[:0], current, CONFIG)
    with pytest.raises(DataError, match="column c is not numeric"):
        drift.detect(current, current, CONFIG)


def test_false_alarms_stay_within_alpha() -> None:
    """60 windows of 12 columns without drift: uncorrected, almost half of them hold a false alarm."""
    rng = np.random.default_rng(20640)
    uncorrected = 0
    alarms = dict.fromkeys(CORRECTIONS.keys() - {"none"}, 0)
    for _ in range(60):
        frame = pd.DataFrame(rng.normal(size=(1500, 12)))
        found = drift.detect(frame.iloc[:1000], frame.iloc[1000:], config(min_effect=0.0))
        p_values = np.array([item.p_value for item in found])
        uncorrected += bool(np.min(p_values) < CONFIG.alpha)
        for name in alarms:
            alarms[name] += bool(np.min(CORRECTIONS[name](p_values)) < CONFIG.alpha)
        assert any(item.drifted for item in found) == bool(np.min(holm(p_values)) < CONFIG.alpha)
    # At a true rate of 5 %, 9 or more of 60 have a probability of 0.3 %.
    assert max(alarms.values()) < 9
    assert uncorrected > 15


def test_scaled_income_is_found_alone_and_a_small_scaling_is_not_called_drift() -> None:
    frame = _housing()
    reference, rest = frame.iloc[413:], frame.iloc[:413]
    assert _drifted(reference, rest) == []
    assert _drifted(reference, rest.assign(median_income=rest["median_income"] * 1.5)) == ["median_income"]
    assert _drifted(reference, rest.assign(median_income=rest["median_income"] * 1.05)) == []


def test_min_effect_is_what_keeps_a_small_scaling_of_many_rows_from_being_drift() -> None:
    frame = _housing()
    reference, rest = frame.iloc[8000:], frame.iloc[:8000]
    scaled = rest.assign(median_income=rest["median_income"] * 1.05)
    assert _drifted(reference, scaled, config(min_effect=0.0)) == ["median_income"]
    assert _drifted(reference, scaled) == []


def _housing() -> pd.DataFrame:
    path = os.environ.get("HOUSING_CSV")
    frame = pd.read_csv(path) if path else sample.generate()
    frame = frame.drop(columns="median_house_value").sample(frac=1, random_state=20640)
    return pd.get_dummies(frame, columns=["ocean_proximity"])


def _drifted(reference: pd.DataFrame, current: pd.DataFrame, rule: Drift = CONFIG) -> list[str]:
    return [found.column for found in drift.detect(reference, current, rule) if found.drifted]
