"""Hyperparameter search: hyperopt's tree of Parzen estimators over the ranges of model.yaml.

Bergstra, Bardenet, Bengio, Kegl: Algorithms for hyper-parameter optimization, NIPS 2011.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hyperopt import STATUS_OK, Trials, fmin, hp, tpe

from include.core.sections import SearchRange
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.training import algorithms
from include.training.algorithms import Parameters, Sample

RANDOM_SHARE = 0.4
"""Share of the trials drawn at random before the estimator takes over (hyperopt's default is 20 trials)."""


@dataclass(frozen=True)
class Trial:
    """One point that was tried. Number 0 is the baseline's parameters."""

    number: int
    validation: float
    """`metrics.for_search`, weighted, on the validation rows."""
    params: Mapping[str, Any]


@dataclass(frozen=True)
class SearchResult:
    best: Trial
    trials: tuple[Trial, ...]


def tune(spec: ModelSpec, train: Sample, validation: Sample) -> SearchResult:
    """Find the parameters that are best on the validation rows.

    The baseline's are tried first, so on these rows the best is never worse than they are. The other trials stop early
    where the algorithm can.

    Raises:
        DataError: the metric is undefined on the validation rows.
    """
    search, algorithm, metric = spec.training.search, algorithms.of(spec), metrics.for_search(spec)
    baseline, n_features = dict(spec.training.baseline), train.features.shape[1]
    tried: list[Trial] = []

    def attempt(params: Parameters, stopping: Sample | None) -> Trial:
        fitted = algorithms.fit(spec, train, params, stopping)
        predicted = algorithm.predict(fitted.model, validation.features, spec.task)
        value = metric.weighted(validation.target, predicted, validation.weight, n_features)
        tried.append(Trial(len(tried), value, fitted.params))
        return tried[-1]

    attempt(baseline, None)
    shared = {name: value for name, value in baseline.items() if name != algorithm.rounds}

    def objective(point: Mapping[str, Any]) -> dict[str, Any]:
        params = {name: _plain(search.space[name], value) for name, value in point.items()}
        trial = attempt({**shared, **params}, validation if algorithm.rounds else None)
        return {"loss": metric.gain(0.0, trial.validation), "status": STATUS_OK}

    logging.getLogger("hyperopt").setLevel(logging.WARNING)
    fmin(
        objective,
        {name: _space(name, limits) for name, limits in search.space.items()},
        algo=partial(tpe.suggest, n_startup_jobs=max(1, round(search.trials * RANDOM_SHARE))),
        max_evals=search.trials,
        trials=Trials(),
        points_to_evaluate=[dict(search.start)] if search.start else None,
        rstate=np.random.default_rng(search.seed),
        show_progressbar=False,
        verbose=False,
    )
    best = max(tried, key=lambda trial: metric.gain(trial.validation, tried[0].validation))
    return SearchResult(best, tuple(tried))


def _space(name: str, limits: SearchRange) -> Any:
    if limits.kind == "integer":
        return hp.uniformint(name, int(limits.low), int(limits.high))
    if limits.kind == "log_uniform":
        return hp.loguniform(name, float(np.log(limits.low)), float(np.log(limits.high)))
    return hp.uniform(name, limits.low, limits.high)


def _plain(limits: SearchRange, value: Any) -> int | float:
    return int(value) if limits.kind == "integer" else float(value)
