"""Hyperparameter search: hyperopt's tree of Parzen estimators over the ranges of model.yaml.

Bergstra, Bardenet, Bengio, Kegl: Algorithms for hyper-parameter optimization, NIPS 2011.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightgbm as lgb
import numpy as np
from hyperopt import STATUS_OK, Trials, fmin, hp, tpe

from include.core.spec import Search, SearchRange
from include.evaluation.metrics import Floats

Parameters = dict[str, Any]

MOST_TREES = 1000
PATIENCE = 30
"""Trees without a better validation error after which a trial stops."""
RANDOM_SHARE = 0.4
"""Share of the trials drawn at random before the estimator takes over (hyperopt's default is 20 trials)."""


@dataclass(frozen=True)
class Sample:
    """Rows to fit or to judge: features (rows x features), target and weight (rows)."""

    features: Any
    target: Floats
    weight: Floats


@dataclass(frozen=True)
class Trial:
    """One point that was tried. Number 0 is the baseline's parameters."""

    number: int
    rmse: float
    """Weighted, on the validation rows, in the target's unit."""
    trees: int
    params: Mapping[str, Any]


@dataclass(frozen=True)
class SearchResult:
    best: Trial
    trials: tuple[Trial, ...]


def tune(
    search: Search,
    train: Sample,
    validation: Sample,
    fixed: Parameters,
    baseline: Parameters,
    baseline_trees: int,
) -> SearchResult:
    """Find the parameters with the smallest weighted validation error.

    The baseline's parameters with its number of trees are tried first, so on the validation rows the best is
    never worse than they are.

    Args:
        fixed: parameters of every trial (objective, seed, threads ...).
        baseline: the baseline's parameters.
    """
    # Trials change min_child_samples, so rows may not be filtered by it once for all.
    shared = {"feature_pre_filter": False}
    data = lgb.Dataset(train.features, train.target, weight=train.weight, params=shared, free_raw_data=False)
    held_out = data.create_valid(validation.features, validation.target, weight=validation.weight)
    tried: list[Trial] = []

    def attempt(params: Parameters, trees: int, patience: int | None) -> Trial:
        callbacks: list[Callable[..., Any]] = [lgb.early_stopping(patience, verbose=False)] if patience else []
        booster = lgb.train(
            {**fixed, **shared, **params, "metric": "rmse"},
            data,
            trees,
            valid_sets=[held_out],
            callbacks=callbacks,
        )
        grown = booster.best_iteration or booster.current_iteration()
        error = float(booster.best_score["valid_0"]["rmse"]) if patience else _error(booster, validation)
        tried.append(Trial(len(tried), error, grown, params))
        return tried[-1]

    attempt(baseline, baseline_trees, None)
    space = {name: _space(name, limits) for name, limits in search.space.items()}

    def objective(point: Mapping[str, Any]) -> dict[str, Any]:
        params = {name: _plain(search.space[name], value) for name, value in point.items()}
        return {"loss": attempt({**baseline, **params}, MOST_TREES, PATIENCE).rmse, "status": STATUS_OK}

    start = [dict(search.start)] if search.start else None
    logging.getLogger("hyperopt").setLevel(logging.WARNING)
    fmin(
        objective,
        space,
        algo=partial(tpe.suggest, n_startup_jobs=max(1, round(search.trials * RANDOM_SHARE))),
        max_evals=search.trials,
        trials=Trials(),
        points_to_evaluate=start,
        rstate=np.random.default_rng(search.seed),
        show_progressbar=False,
        verbose=False,
    )
    return SearchResult(best=min(tried, key=lambda trial: trial.rmse), trials=tuple(tried))


def _error(booster: lgb.Booster, sample: Sample) -> float:
    predicted = np.asarray(booster.predict(sample.features), dtype=np.float64)
    return float(np.sqrt(np.average((sample.target - predicted) ** 2, weights=sample.weight)))


def _space(name: str, limits: SearchRange) -> Any:
    if limits.kind == "integer":
        return hp.uniformint(name, int(limits.low), int(limits.high))
    if limits.kind == "log_uniform":
        return hp.loguniform(name, float(np.log(limits.low)), float(np.log(limits.high)))
    return hp.uniform(name, limits.low, limits.high)


def _plain(limits: SearchRange, value: Any) -> int | float:
    return int(value) if limits.kind == "integer" else float(value)
