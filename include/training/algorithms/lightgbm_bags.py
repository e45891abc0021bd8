"""A committee of LightGBM models, each fitted without one part of the rows, and what its errors there tell of places.

The committee's prediction is the average (Parmanto, Munro, Doyle: Improving committee diagnosis with resampling
techniques, NIPS 1995). Each row is predicted by the one model that has not seen it. The errors of these predictions are
alike among neighbours where a place has a price of its own: a forest of the features that say where a row is learns
them, and its share is added (kriging of residuals, with trees). Far from all rows it has little to say, so what it
brings at known places costs little at new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from include.training.algorithms import lightgbm_trees
from include.training.algorithms.algorithm import Parameters, Sample

if TYPE_CHECKING:
    import pandas as pd

FOREST: Parameters = {
    "boosting": "rf",
    "objective": "regression",
    "bagging_fraction": 0.6,
    "bagging_freq": 1,
    "num_leaves": 1023,
    "min_child_samples": 5,
    "feature_fraction_bynode": 0.25,
}
FOREST_TREES = 40
SHARE = 0.6
"""Of the forest's prediction: the errors of neighbours are noise, too. Chosen with `make bench BENCH=quality`."""


def fit(sample: Sample, params: Parameters, trees: int, bags: int, near: Sequence[str]) -> Any:
    """Fit the committee, as one model.

    Args:
        params: LightGBM's own, the seed among them; that of each next model is one higher.
        bags: how many models; each is fitted without one of so many parts of the rows.
        near: the features that say where a row is; none where its neighbours are to tell nothing.
    """
    import lightgbm as lgb

    part = np.random.default_rng(params["seed"]).permutation(len(sample.target)) % bags
    data = lgb.Dataset(
        sample.features,
        sample.target,
        weight=sample.weight,
        categorical_feature=list(sample.categories),
        params=params,
        free_raw_data=False,
    )
    members, errors = [], np.empty(len(sample.target))
    for number in range(bags):
        others = data.subset(np.flatnonzero(part != number).tolist())
        member = lgb.train({**params, "seed": params["seed"] + number}, others, trees)
        members.append((member, 1.0 / bags))
        if near:
            left = part == number
            errors[left] = sample.target[left] - member.predict(sample.features[left])
    if near:
        fixed = {name: params[name] for name in ("seed", "deterministic", "force_col_wise", "num_threads", "verbosity")}
        places = lgb.Dataset(_only(sample.features, near), errors, weight=sample.weight)
        forest = lgb.train({**fixed, **FOREST}, places, FOREST_TREES)
        members.append((lightgbm_trees.without_average(forest), SHARE / FOREST_TREES))
    return lightgbm_trees.weighted_sum(members)


def _only(features: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The same columns, all others without any value: no tree asks for them."""
    return features.assign(**{name: np.nan for name in features.columns if name not in names})
