"""How often a version is called worse, by the functions that monitoring calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.evaluation import compare, probation
from include.evaluation.metrics import METRICS

METRIC = METRICS["adjusted_r2"]
FEATURES = (10, 10)
ROWS = 100
WINDOWS = 3
ALPHA = 0.05
REPETITIONS = 600


def rolled_back_after(rng: np.random.Generator, loss: float, windows: int, margin: float = 0.0) -> int | None:
    """The windows after which a version whose errors have ``loss`` more variance is called worse, if ever."""
    actual = rng.normal(0, 1, windows * ROWS)
    common, own, formers = rng.normal(0, 1, (3, windows * ROWS))
    former = actual - 0.3 * common - 0.2 * formers
    new = actual - 0.3 * common - np.sqrt(0.2**2 + loss) * own
    for number in range(1, windows + 1):
        rows = slice(0, number * ROWS)
        gain = compare.gain(METRIC, actual[rows], former[rows], new[rows], FEATURES)
        if probation.look(gain, before=number - 1, windows=number, of=windows, alpha=ALPHA, margin=margin).is_worse:
            return number
    return None


def share(loss: float, seed: int, windows: int = WINDOWS, margin: float = 0.0) -> float:
    rng = np.random.default_rng(seed)
    found = [rolled_back_after(rng, loss, windows, margin) for _ in range(REPETITIONS)]
    return float(np.mean([number is not None for number in found]))


@pytest.mark.parametrize("windows", [1, 3, 8])
def test_an_equal_version_is_called_worse_in_at_most_alpha_of_runs(windows: int) -> None:
    """Bounded by alpha and three standard errors of the share itself."""
    assert share(0.0, seed=windows, windows=windows) <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)


def test_a_worse_version_is_found_with_power() -> None:
    """One that explains .04 less of the variance, by 300 rows."""
    assert share(0.04, seed=11) >= 0.8


def test_a_version_that_is_worse_by_no_more_than_the_margin_stays() -> None:
    assert share(0.02, seed=12, margin=0.02) <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)


def test_one_that_is_far_worse_is_found_by_the_first_window() -> None:
    rng = np.random.default_rng(13)
    found = [rolled_back_after(rng, 0.5, WINDOWS) for _ in range(REPETITIONS)]
    assert np.mean([number == 1 for number in found]) >= 0.8
    assert None not in found


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20, unique=True).map(sorted), st.floats(0.001, 0.2))
def test_whichever_looks_are_taken_they_spend_alpha_and_no_more(looks: list[int], alpha: float) -> None:
    of = looks[-1]
    gain = compare.Gain(0.0, 1.0, 0.0, 1000)
    spent = [
        probation.look(gain, before=before, windows=now, of=of, alpha=alpha).alpha
        for before, now in zip([0, *looks], looks, strict=False)
    ]
    assert all(share > 0 for share in spent)
    assert sum(spent) == pytest.approx(alpha)
