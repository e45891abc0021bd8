"""Linear and logistic regression by scikit-learn, on features in units of their deviation; a null is the median.

A category is a 0/1 column for each code, and for null, that it was fitted to; of any other code all are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.core.sections import Task
from include.evaluation.metrics import Floats
from include.training.algorithms import scikit_learn
from include.training.algorithms.algorithm import Algorithm, Conditions, Fitted, Parameters, Sample

if TYPE_CHECKING:
    import pandas as pd

MOST_STEPS = 1000

LOGISTIC: Mapping[str, tuple[str, ...]] = {"C": (), "max_iter": (), "tol": (), "class_weight": ("balanced",)}
PARAMETERS: Mapping[Task, Mapping[str, tuple[str, ...]]] = {
    Task.REGRESSION: {"alpha": ()},  # of ridge regression; least squares without it
    Task.BINARY: LOGISTIC,
    Task.MULTICLASS: LOGISTIC,
}


def fit(sample: Sample, params: Parameters, how: Conditions) -> Fitted:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    if how.task is Task.REGRESSION:
        last = Ridge(**params) if params else LinearRegression()
    else:
        last = LogisticRegression(**{"max_iter": MOST_STEPS, **params}, random_state=how.seed)
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = [name for name in sample.features if name not in sample.categories]
    encode = ColumnTransformer([("impute", impute, numbers), ("one_hot", one_hot, list(sample.categories))])
    model = Pipeline([("encode", encode), ("scale", StandardScaler()), ("fit", last)])
    with threadpool_limits(how.threads):
        model.fit(sample.features, sample.target, fit__sample_weight=sample.weight)
    return Fitted(model, dict(params))


def importance(model: Any) -> Mapping[str, float]:
    """The sizes of the coefficients; of a category those of its columns together."""
    sizes = np.abs(np.atleast_2d(model[-1].coef_)).mean(axis=0)
    summed = np.bincount(_feature_of_columns(model), sizes)
    return dict(zip(model.feature_names_in_, summed.tolist(), strict=True))


def contributions(model: Any, features: pd.DataFrame, task: Task) -> Floats | None:
    """Coefficient times distance from the mean of what was fitted to: the Shapley values of independent features."""
    scaled = model[:-1].transform(features)
    coefficients = np.atleast_2d(model[-1].coef_)
    if task is Task.MULTICLASS:
        coefficients = coefficients[model.predict_proba(features).argmax(axis=1) % len(coefficients)]
    column = _feature_of_columns(model)
    moved = np.zeros((features.shape[1], len(features)))
    np.add.at(moved, column, (scaled * coefficients).T)
    return moved.T


def _feature_of_columns(model: Any) -> npt.NDArray[np.int64]:
    """Of each column that the coefficients are of, the place of its feature."""
    (_, _, numbers), (_, one_hot, categories) = model[0].transformers_
    widths = [1] * len(numbers) + ([len(codes) for codes in one_hot.categories_] if categories else [])
    places = [list(model.feature_names_in_).index(name) for name in (*numbers, *categories)]
    return np.repeat(np.asarray(places, dtype=np.int64), widths)


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
    contributions=contributions,
)
