from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from include.training.pruning import EVERY, FIRST, LEAST_CURVES, QUANTILE, QuantileRule

LOSSES = st.lists(st.floats(0, 10), min_size=1, max_size=12)


def curve_of(losses: list[float]) -> tuple[tuple[int, float], ...]:
    return tuple((EVERY * (place + 1), loss) for place, loss in enumerate(losses))


def given_up_after(own: list[float], others: list[list[float]]) -> int | None:
    """The slow, obvious one: after how many rounds."""
    for place in range(len(own)):
        rounds = EVERY * (place + 1)
        if rounds >= FIRST and len(others) >= LEAST_CURVES:
            best_of_others = [min(other[: place + 1]) for other in others]
            if min(own[: place + 1]) > float(np.quantile(best_of_others, QUANTILE)):
                return rounds
    return None


@given(LOSSES, st.lists(LOSSES, max_size=8))
@settings(max_examples=300)
def test_a_trial_is_given_up_where_it_is_worse_than_most(own: list[float], others: list[list[float]]) -> None:
    rule, ended = QuantileRule([curve_of(other) for other in others]), None
    for place, loss in enumerate(own):
        for _ in range(EVERY - 1):
            assert rule(EVERY * place + 1, loss), "between two looks it goes on"
        if not rule(EVERY * (place + 1), loss):
            ended = EVERY * (place + 1)
            break
    assert ended == given_up_after(own, others)
    assert rule.pruned == (ended is not None)
    assert rule.curve == list(curve_of(own))[: len(rule.curve)]


def test_switched_off_it_only_looks_on() -> None:
    rule = QuantileRule([curve_of([0.0] * 8)] * LEAST_CURVES, enabled=False)
    assert all(rule(rounds, 9.0) for rounds in range(1, 501))
    assert len(rule.curve) == 500 // EVERY
