from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from include.core.spec import Search
from include.training import search
from include.training.search import Sample

FIXED = {"seed": 1, "deterministic": True, "force_col_wise": True, "num_threads": 1, "verbosity": -1}


def samples(rows: int) -> Sample:
    rng = np.random.default_rng(rows)
    features = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
    target = 3 * features["a"] + np.sin(3 * features["b"]) + rng.normal(0, 0.3, rows)
    return Sample(features, target.to_numpy(), np.ones(rows))


def ranges(trials: int) -> Search:
    space = {
        "learning_rate": {"kind": "log_uniform", "low": 0.05, "high": 0.3},
        "num_leaves": {"kind": "integer", "low": 4, "high": 16},
        "feature_fraction": {"kind": "uniform", "low": 0.5, "high": 1.0},
    }
    return Search.model_validate({"trials": trials, "seed": 3, "space": space})


def test_is_reproducible_within_its_ranges_and_never_worse_than_the_baseline() -> None:
    first, second = (search.tune(ranges(8), samples(600), samples(301), FIXED, {}, 100) for _ in range(2))
    assert first == second
    assert len(first.trials) == 9
    assert first.best.rmse == min(trial.rmse for trial in first.trials) <= first.trials[0].rmse
    for trial in first.trials[1:]:
        assert 0.05 <= trial.params["learning_rate"] <= 0.3
        assert trial.params["num_leaves"] in range(4, 17)
        assert 0.5 <= trial.params["feature_fraction"] <= 1.0
        assert 0 < trial.trees < search.MOST_TREES


def test_a_baseline_that_is_best_wins() -> None:
    hopeless = ranges(2).model_copy(
        update={"space": {"lambda_l2": ranges(2).space["num_leaves"].model_copy(update={"low": 1e8, "high": 1e9})}}
    )
    found = search.tune(hopeless, samples(600), samples(301), FIXED, {"learning_rate": 0.1}, 100)
    assert found.best.number == 0
    assert found.best.trees == 100
    assert found.best.rmse == pytest.approx(found.trials[0].rmse)
