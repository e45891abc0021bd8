"""Corrections for many tests, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from include.evaluation.corrections import CORRECTIONS

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def slow_holm(values: list[float]) -> list[float]:
    """Reject step by step: the adjusted p-value is the smallest alpha at which a test is still rejected."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for step, index in enumerate(order):
        highest = max(highest, (len(values) - step) * values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted


def slow_benjamini_hochberg(values: list[float]) -> list[float]:
    ranked = sorted(values)
    return [
        min(1.0, min(ranked[k] * len(ranked) / (k + 1) for k in range(len(ranked)) if ranked[k] >= value))
        for value in values
    ]


SLOW = {"none": list, "holm": slow_holm, "benjamini_hochberg": slow_benjamini_hochberg}


def test_every_correction_has_a_definition_to_be_tested_against() -> None:
    assert SLOW.keys() == CORRECTIONS.keys()


@pytest.mark.parametrize("name", CORRECTIONS)
@given(values=p_values)
@settings(deadline=None, max_examples=50)
def test_a_correction_is_its_definition(name: str, values: list[float]) -> None:
    assert CORRECTIONS[name](np.array(values)) == pytest.approx(SLOW[name](values))


@pytest.mark.parametrize(("name", "method"), [("holm", "holm"), ("benjamini_hochberg", "fdr_bh")])
def test_statsmodels_finds_the_same(name: str, method: str) -> None:
    """Its own function collects garbage at each call: 70 ms, three times a window."""
    values = np.random.default_rng(1).random(40) ** 4
    assert CORRECTIONS[name](values) == pytest.approx(multipletests(values, method=method)[1])
