from __future__ import annotations

import pytest

from include.evaluation.spending import alpha_of


def test_all_shares_together_are_alpha() -> None:
    shares = [alpha_of(number, 0.05) for number in range(1, 10_001)]
    assert shares == sorted(shares, reverse=True)
    for number in (1, 7, 10_000):
        assert sum(shares[:number]) == pytest.approx(0.05 - 0.05 / (number + 1))
