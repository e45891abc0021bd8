"""Gradient boosting on histograms by scikit-learn, after LightGBM."""

from __future__ import annotations

from collections.abc import Mapping

from include.core.sections import Task
from include.training.algorithms import scikit_learn
from include.training.algorithms.algorithm import Algorithm, Conditions, Fitted, Parameters, Sample

TREES = "max_iter"
MOST_TREES = 1000
MOST_BINS = 255
"""Scikit-learn's most, and default. A category takes a bin for each code that it has."""
PATIENCE = 30
"""Trees without a smaller validation loss after which growing stops."""

NUMBERS = (
    *(TREES, "learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf"),
    *("l2_regularization", "max_features", "max_bins"),
)
TEXTS: Mapping[Task, Mapping[str, tuple[str, ...]]] = {
    Task.REGRESSION: {"loss": ("squared_error", "absolute_error", "gamma", "poisson")},
    Task.BINARY: {"class_weight": ("balanced",)},
    Task.MULTICLASS: {"class_weight": ("balanced",)},
}


def fit(sample: Sample, params: Parameters, how: Conditions) -> Fitted:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    kind = HistGradientBoostingRegressor if how.task is Task.REGRESSION else HistGradientBoostingClassifier
    model = kind(**params, early_stopping=False, random_state=how.seed, categorical_features=list(sample.categories))
    if sample.categories:
        codes = int(sample.features[list(sample.categories)].nunique().max())
        model.set_params(max_bins=max(model.max_bins, codes))
    seen = {}
    if how.validation:
        most = params.get(TREES, MOST_TREES)
        model.set_params(early_stopping=True, max_iter=most, n_iter_no_change=PATIENCE, tol=0.0)
        others = how.validation
        seen = {"X_val": others.features, "y_val": others.target, "sample_weight_val": others.weight}
    # Bins cannot be made of a column without any value (scikit-learn 1.9); of a constant one no tree makes use.
    unknown = sample.features.columns[sample.features.isna().all()]
    features = sample.features.assign(**dict.fromkeys(unknown, 0.0))
    with threadpool_limits(how.threads):
        model.fit(features, sample.target, sample_weight=sample.weight, **seen)
    # The trees of the patience are kept: so what was measured is what is fitted again.
    return Fitted(model, {**params, TREES: model.n_iter_})


HIST_GRADIENT_BOOSTING = Algorithm(
    name="hist_gradient_boosting",
    title="histogram gradient boosting",
    parameters={task: {**dict.fromkeys(NUMBERS, ()), **texts} for task, texts in TEXTS.items()},
    fit=fit,
    predict=scikit_learn.predict,
    save=scikit_learn.save,
    load=scikit_learn.load,
    requirements=scikit_learn.REQUIREMENTS,
    most_codes=MOST_BINS,
    rounds=TREES,
)
