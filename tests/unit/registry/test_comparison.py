"""How a candidate's gain is judged: by the chance to err that is left to it, and told with what can be done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import promotion
from benchmarks.promotion import Drawn
from include.evaluation.compare import Gain
from include.lakehouse.comparisons import Finding
from include.registry import comparison
from include.registry.checks import CheckResult


def asked(gain: float, error: float, number: int = 1, minimum_gain: float = 0.003) -> CheckResult:
    """The check's answer to a gain on 1,000 rows."""
    (drawn,) = promotion.candidates(np.random.default_rng(1), rows=1000, count=1)
    drawn = replace(drawn, number=number)
    drawn.__dict__["gain"] = Gain(gain, error, 0.0, 1000)
    return promotion.ask(drawn, minimum_gain)


@pytest.mark.parametrize(
    ("gain", "error", "number", "outcome", "said"),
    [
        (
            0.02,
            0.005,
            1,
            Finding.BETTER,
            "gains +0.0200 on version 1, surely +0.0102 or more: better. By alpha 0.025, ",
        ),
        (
            0.02,
            0.005,
            50,
            Finding.NOT_SURELY_BETTER,
            "By alpha 2e-05, as candidate 50 since version 1 was promoted on ",
        ),
        (
            0.02,
            0.005,
            50,
            Finding.NOT_SURELY_BETTER,
            "One of 0.0030 takes about 69,000 test rows: wait for more labels",
        ),
        (-0.02, 0.005, 1, Finding.NOT_SURELY_BETTER, "gains -0.0200 on version 1, surely -0.0298 or more: not surely"),
        (0.001, 0.001, 1, Finding.NOT_SURELY_BETTER, "One of 0.0030, the least that matters, would have been seen: "),
        (0.001, 0.0001, 1, Finding.SURELY_TOO_LITTLE, "better, but surely by less than the minimum_gain. By alpha"),
        (0.003, 0.0001, 50, Finding.BETTER, "a gain of 0.0005 is seen in 80 % of cases."),
    ],
)
def test_the_verdict_says_what_was_found_by_which_alpha_and_what_to_do(
    gain: float, error: float, number: int, outcome: Finding, said: str
) -> None:
    found = asked(gain, error, number)
    assert found.comparison is not None
    assert (found.comparison.outcome, found.passed) == (outcome, outcome is Finding.BETTER)
    assert said in found.detail


def test_without_a_minimum_any_sure_gain_is_one() -> None:
    assert asked(0.0005, 0.0001, minimum_gain=0.0).passed
    assert "takes about" not in asked(-0.0005, 0.0001, minimum_gain=0.0).detail
    assert "One of 0.0005 takes about 5," in asked(0.0005, 0.0004, minimum_gain=0.0).detail


def test_luck_promotes_none_of_fifty_candidates_that_are_no_better() -> None:
    """At most 5 % of repetitions promote any: 5 of 16 or more have a chance of 0.009. By any gain most do."""
    rng, promoted, lucky, repetitions = np.random.default_rng(5), 0, 0, 16
    for _ in range(repetitions):
        row = list(promotion.candidates(rng, rows=300, count=50))
        assert [item.number for item in row] == list(range(1, 51))
        promoted += any(promotion.ask(item).passed for item in row)
        lucky += any(item.gain.value >= 0 for item in row)
    assert promoted < 5
    assert lucky > 11


def test_a_gain_that_is_detectable_is_seen() -> None:
    """At the power that is said, of 80 %: 120 of 200 or fewer have a chance of 1e-10, 190 or more one of 1e-10."""
    rng, rows = np.random.default_rng(6), 600
    (first,) = promotion.candidates(rng, rows, 1)
    needed = first.gain.detectable(0.025, comparison.POWER)
    seen = [promotion.ask(_of(rng, rows, needed)).passed for _ in range(200)]
    assert 120 < sum(seen) < 190


def _of(rng: np.random.Generator, rows: int, gain: float) -> Drawn:
    return next(promotion.candidates(rng, rows, 1, gain))
