"""The checks on slices, by samples of which the truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.promotion import SPEC, version_named
from include.core.settings import Settings
from include.evaluation.metrics import Floats
from include.lakehouse.tables import Lakehouse
from include.registry.checks import CHECKS, CheckResult
from include.registry.evidence import Evidence, Rows

TARGET = SPEC.target
COMMON = {"bands": 4, "at_least": 100, "confidence": 0.95}
REPETITIONS = 200


@dataclass(frozen=True)
class Given(Evidence):
    """Of predictions that are given, on rows with columns ``region`` (0, 1, 2) and ``income``."""

    frame: pd.DataFrame
    ours: Floats
    theirs: Floats

    @cached_property
    def test_rows(self) -> Rows:
        return Rows(self.frame, "all test rows")

    @cached_property
    def drifted_rows(self) -> Rows:
        return Rows(self.frame.iloc[:0], "the test rows of drifted windows")

    def shared_with_production(self, rows: Rows) -> Rows:
        return rows

    def labels_and_predictions(self, rows: Rows) -> tuple[Floats, Floats]:
        return rows.frame[TARGET].to_numpy(), self.ours

    def predictions_in_production(self, rows: Rows) -> Floats:
        return self.theirs


def given(
    rng: np.random.Generator, ours: Any = 1.0, theirs: Any = 1.0, rows: int = 2000, metric: str = "rmse"
) -> Given:
    """Predictions whose errors have these deviations: numbers, or by region."""
    region = rng.choice(3, size=rows, p=[0.5, 0.48, 0.02])
    frame = pd.DataFrame({TARGET: rng.normal(size=rows), "region": region, "income": rng.lognormal(size=rows)})

    def predicted(deviation: Any) -> Floats:
        scale = np.asarray(deviation)[region] if np.ndim(deviation) else deviation
        return frame[TARGET].to_numpy() + scale * rng.normal(size=rows)

    spec = SPEC.model_copy(update={"metric": metric})
    lake = Lakehouse(Settings().lakehouse_uri)
    return Given(spec, lake, version_named("2"), version_named("1"), frame, predicted(ours), predicted(theirs))


def asked(evidence: Given, name: str, **params: Any) -> CheckResult:
    return CHECKS[name].ask(evidence, {**COMMON, **params})


BOTH = ("region", "income")
LENIENT = {
    "no_slice_below_threshold": {"columns": BOTH, "threshold": 1.0},
    "no_slice_worse_than_production": {"columns": BOTH, "margin": 0.0},
    "error_ratio_within": {"column": "region", "most": 1.0},
}


@pytest.mark.parametrize("name", LENIENT)
def test_of_versions_that_are_just_good_enough_everywhere_few_fail(name: str) -> None:
    """Each slice's truth lies on the limit itself: at most 5 % may fail, of all slices together."""
    rng = np.random.default_rng(7)
    failed = sum(not asked(given(rng), name, **LENIENT[name]).passed for _ in range(REPETITIONS))
    assert failed <= REPETITIONS * 0.05 + 3 * (REPETITIONS * 0.05 * 0.95) ** 0.5


def test_a_slice_below_the_threshold_is_found_and_named() -> None:
    rng = np.random.default_rng(8)
    result = asked(given(rng, ours=(1.0, 1.3, 1.0)), "no_slice_below_threshold", columns=BOTH, threshold=1.15)
    assert not result.passed
    assert result.value == pytest.approx(1.3, abs=0.1)
    assert result.detail.startswith("In region = 1 (9")
    assert "its RMSE is surely above 1.15. Too few rows to judge: region = 2 (" in result.detail
    result = asked(given(rng), "no_slice_below_threshold", columns=("region",), threshold=1.15)
    assert result.passed
    assert result.detail.startswith("In none of 2 slices its RMSE is surely above 1.15. Worst: region = ")


def test_slices_of_a_category_are_named_by_its_texts() -> None:
    evidence = given(np.random.default_rng(1), ours=[1.0, 1.5, 1.0])
    told = {**evidence.candidate.tags, "categories": '{"region": {"values": ["north"], "unseen": "other"}}'}
    coded = replace(evidence, candidate=replace(evidence.candidate, tags=told))
    found = asked(coded, "no_slice_below_threshold", columns=("region",), threshold=1.2)
    assert not found.passed
    assert found.detail.startswith("In region = north (")


def test_of_a_metric_that_rises_as_it_gets_better_too() -> None:
    bad = given(np.random.default_rng(9), ours=(0.5, 1.0, 0.5), metric="r2")
    assert not asked(bad, "no_slice_below_threshold", columns=("region",), threshold=0.5).passed
    assert asked(bad, "no_slice_below_threshold", columns=("income",), threshold=0.2).passed


def test_a_version_that_is_better_on_the_whole_and_worse_somewhere() -> None:
    evidence = given(np.random.default_rng(10), ours=(0.5, 1.2, 1.0))
    found = asked(evidence, "no_slice_worse_than_production", columns=BOTH, margin=0.05)
    assert not found.passed
    assert "region = 1" in found.detail
    assert "RMSE is surely worse than that of version 1 by more than 0.05" in found.detail
    assert asked(evidence, "no_slice_worse_than_production", columns=BOTH, margin=0.3).passed
    assert asked(evidence, "no_slice_worse_than_production", columns=("income",), margin=0.05).passed


def test_errors_that_are_uneven_between_groups() -> None:
    evidence = given(np.random.default_rng(11), ours=(0.5, 1.0, 0.5))
    found = asked(evidence, "error_ratio_within", column="region", most=1.5)
    assert not found.passed
    assert found.value == pytest.approx(2, abs=0.2)
    assert found.detail.startswith("The mean error in region = 1 is ")
    assert asked(evidence, "error_ratio_within", column="region", most=2.0).passed


def test_slices_of_too_few_rows_fail_nobody_and_are_named() -> None:
    evidence = given(np.random.default_rng(12), ours=9.0, rows=60)
    for name, params in LENIENT.items():
        found = asked(evidence, name, **params)
        assert found.passed
        assert "Too few rows to judge: region = 0 (" in found.detail


def test_a_slice_without_any_error() -> None:
    found = asked(given(np.random.default_rng(13), ours=0.0), "error_ratio_within", column="region", most=1.5)
    assert found.passed
    assert found.detail.startswith("There are no two slices with errors to compare.")
