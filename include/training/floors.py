"""What anybody could predict without the model: the floors that a candidate has to be better than."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.features import fitted_categories
from include.lakehouse.schemas import EVENT_TIMESTAMP, PARTITION, SPLIT, SUPERSEDED, WEIGHT
from include.training import algorithms, fitted_rows
from include.training.algorithms import Conditions, Sample
from include.training.algorithms.linear import LINEAR
from include.training.splits import TEST
from include.training.training_set import TrainingSetRef

PREFIX = "floor_"
"""Of the metrics of a run: ``floor_mean``."""


@dataclass(frozen=True)
class Floor:
    """One way to predict without the model, and what it reaches on the rows that a candidate is judged by."""

    name: str
    title: str
    value: float
    """The model's metric."""


def of(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame) -> list[Floor]:
    """The floors of a training set: of its test rows, from those that a candidate is fitted to.

    The last known value is one of models whose split is by time: there the rows have an order. One on which the metric
    is undefined is left out.
    """
    test = frame[fitted_rows.judging(frame)]
    fitted = frame[(frame[SPLIT] != TEST) & ~frame[SUPERSEDED].astype(bool)]
    actual, metric = test[spec.target].to_numpy(dtype=np.float64), metrics.of(spec)
    known = fitted[spec.target].to_numpy(dtype=np.float64)
    typical = metrics.constant(spec.task, known) if len(known) else 0.0
    predicted = [("mean", _CONSTANT[spec.task], np.full(len(test), typical), 0)]
    if json.loads(ref.split)["kind"] == "by_time":
        predicted.append(("last", f"the last known label, or its {spec.grain.value}'s", last(spec, fitted, test), 0))
    if spec.training.algorithm != LINEAR.name:
        codes = fitted_categories.read(ref.categories)
        fit = linear(spec, fitted, test, ref.features, codes)
        predicted.append(("linear", "a linear model of the same features", fit, len(ref.features)))
    found = []
    for name, title, values, n_features in predicted:
        try:
            found.append(Floor(name, title, metric.measure(actual, values, n_features)))
        except DataError:
            continue
    return found


def last(spec: ModelSpec, fitted: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """The newest label of a row's key; of a key without one the typical label of the newest partition.

    Of a probability it is the share of that partition for all keys.
    """
    newest = fitted[fitted[PARTITION] == fitted[PARTITION].max()]
    typical = metrics.constant(spec.task, newest[spec.target].to_numpy(dtype=np.float64))
    if spec.task is Task.BINARY:
        return np.full(len(rows), typical)
    keys = list(spec.entity.keys)
    seen = fitted.sort_values([PARTITION, EVENT_TIMESTAMP], kind="stable").drop_duplicates(keys, keep="last")
    matched = rows[keys].merge(seen[[*keys, spec.target]], on=keys, how="left")[spec.target]
    return matched.fillna(typical).to_numpy(dtype=np.float64)


def linear(
    spec: ModelSpec, fitted: pd.DataFrame, rows: pd.DataFrame, features: Sequence[str], codes: Collection[str]
) -> Floats:
    """What a linear model predicts that is fitted to some rows; an infinite value is none to it.

    Args:
        codes: the features that are categories.
    """
    target, weight = (fitted[name].to_numpy(dtype=np.float64) for name in (spec.target, WEIGHT))
    if np.ptp(target) == 0:
        return np.full(len(rows), target[0])
    known, asked = (part[list(features)].replace([np.inf, -np.inf], np.nan) for part in (fitted, rows))
    sample = Sample(known, target, weight, tuple(codes))
    made = LINEAR.fit(sample, {}, Conditions(spec.task, spec.training.seed, algorithms.most_threads()))
    return LINEAR.predict(made.model, asked, spec.task)


_CONSTANT = {
    Task.REGRESSION: "the mean label",
    Task.BINARY: "the share of the class 1",
    Task.MULTICLASS: "the most frequent class",
}
