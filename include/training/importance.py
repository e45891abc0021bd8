"""What each feature weighs in a model: as its algorithm tells, else by what is lost where its values are shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.training import algorithms

ROWS = 1000
"""Shuffled ones; of more the order hardly changes."""


@dataclass(frozen=True)
class Importance:
    shares: Mapping[str, float]
    """Of each feature; all of them together are 1. Empty where nothing can be told."""
    meaning: str
    """What they are shares of, in a few words."""


def of(spec: ModelSpec, model: Any, features: pd.DataFrame, target: pd.Series) -> Importance:
    """The importance of each feature.

    Args:
        features: of the test rows, in the order that the model was fitted to.
        target: their labels.
    """
    algorithm = algorithms.of(spec)
    if algorithm.importance:
        return Importance(_shares(algorithm.importance(model)), algorithm.importance_is)
    meaning = f"share of what {metrics.of(spec).title} loses where a feature's values are shuffled"
    return Importance(_shares(_shuffled(spec, model, features, target)), meaning)


def _shuffled(spec: ModelSpec, model: Any, features: pd.DataFrame, target: pd.Series) -> dict[str, float]:
    """Permutation importance (Breiman: Random forests, Machine Learning 45, 2001), one shuffle a feature."""
    algorithm, metric, rng = algorithms.of(spec), metrics.of(spec), np.random.default_rng(spec.training.seed)
    chosen = rng.permutation(len(features))[:ROWS]
    rows, y = features.iloc[chosen], target.to_numpy(dtype=np.float64)[chosen]
    try:
        whole = metric.measure(y, algorithm.predict(model, rows, spec.task), 0)
        lost = {}
        for name in features.columns:
            shuffled = rows.assign(**{name: rng.permutation(rows[name].to_numpy())})
            lost[name] = max(
                0.0, metric.gain(whole, metric.measure(y, algorithm.predict(model, shuffled, spec.task), 0))
            )
    except DataError:
        return {}
    return lost


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values()) or 1.0
    return {str(name): float(weight) / total for name, weight in weights.items()}
