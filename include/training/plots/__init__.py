"""Plots of a candidate, drawn for its test rows; one file for what each is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from include.core.category import Category
from include.core.errors import DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.evaluation.slices import Slice
from include.training import algorithms
from include.training.plots import explanation, features, predictions
from include.training.plots.learning import learning_curve


@dataclass(frozen=True)
class Drawn:
    """What is drawn."""

    spec: ModelSpec
    features: Sequence[str]
    rows: pd.DataFrame
    """The test rows."""
    predicted: Floats
    """For these."""
    model: Any
    """What the algorithm fitted."""
    measured: Mapping[str, float]
    """Has the value of the model's metric."""
    categories: Mapping[str, Category]
    """The features that are codes, which correlate with nothing."""
    importance: Mapping[str, float]
    """Of each feature."""
    importance_is: str
    parts: Sequence[Slice] = ()
    """Slices of the rows."""


def all_of(drawn: Drawn) -> Iterator[tuple[str, Figure]]:
    """The plots of the task, each with its name, one after the other: a figure takes megabytes.

    Raises:
        DataError: a feature is personal data.
    """
    spec, rows, predicted = drawn.spec, drawn.rows, drawn.predicted
    refuse_personal(spec, drawn.features)
    actual, metric = rows[spec.target].to_numpy(dtype=np.float64), metrics.of(spec)
    caption = f"{len(rows):,} test rows · {metric.title} {metric.shown(drawn.measured[spec.metric])}"
    for name, draw in predictions.BY_TASK[spec.task].items():
        yield name, draw(spec.target, actual, predicted, caption)
    if drawn.parts:
        yield (
            "residuals_by_slice",
            predictions.residuals_by_slice(spec.task, spec.target, actual, predicted, drawn.parts, caption),
        )
    numbers = [name for name in drawn.features if name not in drawn.categories]
    yield "correlation_heatmap", features.correlation_heatmap(rows[[*numbers, spec.target]])
    yield "feature_importance", features.feature_importance(drawn.importance, drawn.importance_is)
    yield from _explained(drawn)


def refuse_personal(spec: ModelSpec, names: Sequence[str]) -> None:
    """features.sql cannot read a personal column, but a training set may be older than the column's tag.

    Raises:
        DataError: naming the features that are columns with ``pii: true``.
    """
    if found := sorted(spec.personal_columns.intersection(names)):
        raise DataError(
            f"features are personal data: {', '.join(found)} ({'has' if len(found) == 1 else 'have'} pii: true)",
            where=spec.table("training_sets"),
            fix="Leave them out of features.sql, run build_features again, and build a new training set",
        )


def _explained(drawn: Drawn) -> Iterator[tuple[str, Figure]]:
    spec, algorithm = drawn.spec, algorithms.of(drawn.spec)
    some = explanation.sample(drawn.rows, spec.training.seed)[list(drawn.features)]
    told = algorithm.contributions(drawn.model, some, spec.task) if algorithm.contributions else None
    if told is not None:
        yield "shap_summary", explanation.shap_summary(some, told)
        yield "shap_dependence", explanation.shap_dependence(some, told, drawn.categories)
    strongest = sorted(drawn.importance, key=lambda name: -drawn.importance[name])
    known = [name for name in strongest if some.loc[np.isfinite(some[name]), name].nunique() > 1]
    if spec.task is not Task.MULTICLASS and known:  # the mean of classes says nothing
        yield (
            "partial_dependence",
            explanation.partial_dependence(
                lambda frame: algorithm.predict(drawn.model, frame, spec.task),
                some,
                known,
                spec.target if spec.task is Task.REGRESSION else f"probability of {spec.target}",
                drawn.categories,
            ),
        )


__all__ = ["Drawn", "all_of", "learning_curve", "refuse_personal"]
