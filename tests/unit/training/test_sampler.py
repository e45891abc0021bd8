from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hyperopt import fmin, hp, tpe
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core.sections import Search
from include.training.sampler import RANDOM_SHARE, Sampler

RANGES = {
    "a": {"kind": "uniform", "low": -1.0, "high": 2.0},
    "b": {"kind": "log_uniform", "low": 0.01, "high": 10.0},
    "c": {"kind": "integer", "low": 2, "high": 9},
}
START = {"a": 0.5, "b": 1.0, "c": 3}


def search_of(trials: int, seed: int = 7, start: dict | None = None) -> Search:
    return Search.model_validate({"trials": trials, "seed": seed, "space": RANGES, "start": start or {}})


def loss_of(point: dict) -> float:
    return (point["a"] - 1) ** 2 + np.log(point["b"]) ** 2 + (point["c"] - 5) ** 2


@pytest.mark.parametrize("start", [None, START])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_at_a_time_the_points_are_those_of_fmin(seed: int, start: dict | None) -> None:
    seen: list[dict] = []

    def objective(point: dict) -> float:
        seen.append({**point, "c": int(point["c"])})
        return loss_of(point)

    space = {
        "a": hp.uniform("a", -1.0, 2.0),
        "b": hp.loguniform("b", float(np.log(0.01)), float(np.log(10.0))),
        "c": hp.uniformint("c", 2, 9),
    }
    fmin(
        objective,
        space,
        algo=partial(tpe.suggest, n_startup_jobs=round(15 * RANDOM_SHARE)),
        max_evals=15,
        points_to_evaluate=[dict(start)] if start else None,
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
        verbose=False,
    )
    sampler = Sampler(search_of(15, seed, start))
    for number, expected in enumerate(seen):
        assert sampler.ask() == expected
        sampler.tell(number, loss_of(expected))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_batches_of_any_size_give_other_points_within_the_ranges(batches: list[int], seed: int) -> None:
    sampler, number, seen = Sampler(search_of(20, seed)), 0, []
    for size in batches:
        points = [sampler.ask() for _ in range(size)]
        for point in points:
            sampler.tell(number, loss_of(point))
            number += 1
        seen += points
    assert len({tuple(point.items()) for point in seen}) == len(seen)
    for point in seen:
        assert -1 <= point["a"] <= 2
        assert 0.01 <= point["b"] <= 10
        assert isinstance(point["c"], int)
        assert 2 <= point["c"] <= 9
