"""Linear and logistic regression by scikit-learn, on features in units of their deviation; a null is the median.

A category is a 0/1 column for each code, and for null, that it was fitted to; of any other code all are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from include.core.sections import Task
from include.training.algorithms import scikit_learn
from include.training.algorithms.algorithm import Algorithm, Fitted, Parameters, Sample, Watch

MOST_STEPS = 1000

LOGISTIC: Mapping[str, tuple[str, ...]] = {"C": (), "max_iter": (), "tol": (), "class_weight": ("balanced",)}
PARAMETERS: Mapping[Task, Mapping[str, tuple[str, ...]]] = {
    Task.REGRESSION: {"alpha": ()},  # of ridge regression; least squares without it
    Task.BINARY: LOGISTIC,
    Task.MULTICLASS: LOGISTIC,
}


def fit(
    sample: Sample,
    params: Parameters,
    task: Task,
    seed: int,
    threads: int,
    validation: Sample | None = None,
    watch: Watch | None = None,
) -> Fitted:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    if task is Task.REGRESSION:
        last = Ridge(**params) if params else LinearRegression()
    else:
        last = LogisticRegression(**{"max_iter": MOST_STEPS, **params}, random_state=seed)
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = [name for name in sample.features if name not in sample.categories]
    encode = ColumnTransformer([("impute", impute, numbers), ("one_hot", one_hot, list(sample.categories))])
    model = Pipeline([("encode", encode), ("scale", StandardScaler()), ("fit", last)])
    with threadpool_limits(threads):
        model.fit(sample.features, sample.target, fit__sample_weight=sample.weight)
    return Fitted(model, dict(params))


def importance(model: Any) -> Mapping[str, float]:
    """The sizes of the coefficients; of a category those of its columns together."""
    sizes = np.abs(np.atleast_2d(model[-1].coef_)).mean(axis=0)
    (_, _, numbers), (_, one_hot, categories) = model[0].transformers_
    widths = [1] * len(numbers) + ([len(codes) for codes in one_hot.categories_] if categories else [])
    features = [*numbers, *categories]
    summed = np.bincount(np.repeat(np.arange(len(features)), widths), sizes)
    return {name: float(summed[features.index(name)]) for name in model.feature_names_in_}


LINEAR = Algorithm(
    name="linear",
    title="linear model",
    parameters=PARAMETERS,
    fit=fit,
    predict=scikit_learn.predict,
    save=scikit_learn.save,
    load=scikit_learn.load,
    requirements=scikit_learn.REQUIREMENTS,
    importance=importance,
    importance_is="share of the coefficients of the scaled features",
)
