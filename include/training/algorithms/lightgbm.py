"""Gradient boosting by LightGBM: Ke et al., LightGBM: a highly efficient gradient boosting decision tree, NIPS 2017."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from include.core.sections import Task
from include.evaluation.metrics import Floats
from include.training.algorithms import lightgbm_bags
from include.training.algorithms.algorithm import Algorithm, Conditions, Fitted, Parameters, Sample, Watch, named

if TYPE_CHECKING:
    import pandas as pd

TREES = "n_estimators"
DEFAULT_TREES, MOST_TREES = 100, 1000
"""Without, and with, validation rows to stop early on."""
PATIENCE = 30
"""Trees without a better validation error after which growing stops."""
LOSSES = {Task.REGRESSION: "rmse", Task.BINARY: "binary_logloss", Task.MULTICLASS: "multi_logloss"}
"""What decides when to stop: the error that boosting lessens."""

NUMBERS = (
    *(TREES, "learning_rate", "num_leaves", "max_depth", "min_child_samples", "min_child_weight", "min_split_gain"),
    *("feature_fraction", "feature_fraction_bynode", "bagging_fraction", "bagging_freq", "reg_alpha", "reg_lambda"),
    *("max_bin", "max_delta_step", "path_smooth", "linear_lambda", "extra_trees", "linear_tree", "boost_from_average"),
    *("min_data_in_bin", "colsample_bytree", "subsample", "subsample_freq", "lambda_l1", "lambda_l2"),
    *("min_data_in_leaf", "drop_rate", "skip_drop", "max_drop", "top_rate", "other_rate", "scale_pos_weight"),
    *("cat_smooth", "cat_l2", "max_cat_threshold", "max_cat_to_onehot", "min_data_per_group"),
    *("is_unbalance", "alpha", "fair_c", "tweedie_variance_power", "pos_bagging_fraction", "neg_bagging_fraction"),
)
SWITCHES = ("extra_trees", "linear_tree", "boost_from_average", "is_unbalance")
"""Those that are true or false to LightGBM, which takes no 1 for it; model.yaml has them as numbers."""
OBJECTIVES: Mapping[Task, tuple[str, ...]] = {
    Task.REGRESSION: (
        *("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
    ),
    Task.BINARY: ("binary", "cross_entropy"),
    Task.MULTICLASS: ("multiclass", "multiclassova"),
}
"""The first is the default."""
BOOSTING = ("gbdt", "dart", "rf")


BAGS, NEAR = "bags", "near"
MOST_BAGS = 50
IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
"""Objectives whose trees predict the target itself, to which something can be added."""


def fit(sample: Sample, params: Parameters, how: Conditions) -> Fitted:
    import lightgbm as lgb

    given = {"objective": OBJECTIVES[how.task][0], **params}
    given |= {name: bool(given[name]) for name in SWITCHES if name in given}
    bags, near = int(given.pop(BAGS, 1)), str(given.pop(NEAR, ""))
    trees = int(given.pop(TREES, MOST_TREES if how.validation else DEFAULT_TREES))
    fixed: Parameters = {
        "seed": how.seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": how.threads,
        "verbosity": -1,
    }
    if how.task is Task.MULTICLASS:
        fixed["num_class"] = int(sample.target.max()) + 1
    callbacks: list[Callable[..., Any]] = []
    held_out = []
    if how.validation:
        # As in a search, where every trial sees the same features, however many rows a leaf needs.
        fixed |= {"feature_pre_filter": False, "metric": LOSSES[how.task]}
        callbacks = [lgb.early_stopping(PATIENCE, verbose=False), *([_watched_by(how.watch)] if how.watch else [])]
    elif bags > 1:
        committee = lightgbm_bags.fit(sample, {**fixed, **given}, trees, bags, named(near) if near else [])
        return Fitted(committee, {**params, TREES: trees})
    data = lgb.Dataset(
        sample.features, sample.target, weight=sample.weight, categorical_feature=list(sample.categories)
    )
    if how.validation:
        seen = how.validation
        held_out = [data.create_valid(seen.features, seen.target, weight=seen.weight)]
    booster = lgb.train({**fixed, **given}, data, trees, valid_sets=held_out, callbacks=callbacks)
    return Fitted(booster, {**params, TREES: booster.best_iteration if how.validation else trees})


def _wrong(params: Parameters) -> str:
    bags, near = params.get(BAGS, 1), params.get(NEAR, "")
    objective, boosting = params.get("objective", OBJECTIVES[Task.REGRESSION][0]), params.get("boosting", BOOSTING[0])
    if bags != int(bags) or not 1 <= bags <= MOST_BAGS:
        return f"{BAGS} is {bags}, and no whole number from 1 to {MOST_BAGS}"
    if bags > 1 and boosting == "rf":
        return f"{BAGS}: a random forest is an average already"
    if near and bags == 1:
        return f"{NEAR} needs {BAGS}: what neighbours tell is learned where they were not fitted to"
    if near and objective not in IDENTITY:
        return f"{NEAR} adds to the target, and the trees of {objective} do not predict it itself"
    return ""


def _watched_by(watch: Watch) -> Callable[[Any], None]:
    """Ask after each tree. Where it is to stop, the trees up to the best one count, as in `early_stopping`."""
    from lightgbm.callback import EarlyStopException

    best: tuple[float, int, Any] | None = None

    def after_tree(env: Any) -> None:
        nonlocal best
        loss = env.evaluation_result_list[0][2]
        if best is None or loss < best[0]:
            best = loss, env.iteration, env.evaluation_result_list
        if not watch(env.iteration + 1, loss):
            raise EarlyStopException(best[1], best[2])

    return after_tree


def predict(model: Any, features: pd.DataFrame, task: Task) -> Floats:
    predicted = np.asarray(model.predict(features), dtype=np.float64)
    return predicted.argmax(axis=1).astype(np.float64) if task is Task.MULTICLASS else predicted


def save(model: Any, task: Task, example: pd.DataFrame, folder: Path, **more: Any) -> None:
    import mlflow.lightgbm
    from mlflow.models import infer_signature

    signature = infer_signature(example, np.asarray(model.predict(example)))
    mlflow.lightgbm.save_model(model, str(folder), signature=signature, input_example=example, **more)


def load(folder: Path) -> Any:
    import lightgbm as lgb

    return lgb.Booster(model_file=str(folder / "model.lgb"))


def importance(model: Any) -> Mapping[str, float]:
    return dict(zip(model.feature_name(), model.feature_importance("gain"), strict=True))


def contributions(model: Any, features: pd.DataFrame, task: Task) -> Floats | None:
    """Shapley values of trees (Lundberg, Erion, Lee: Consistent individualized feature attribution for tree ensembles,
    2018), by LightGBM itself; it has none of leaves that are linear models."""
    if model.params.get("linear_tree"):
        return None
    told = np.asarray(model.predict(features, pred_contrib=True), dtype=np.float64)
    if task is not Task.MULTICLASS:
        return told[:, :-1]
    by_class = told.reshape(len(features), -1, features.shape[1] + 1)
    return np.asarray(by_class[np.arange(len(features)), by_class.sum(axis=2).argmax(axis=1), :-1])


LIGHTGBM = Algorithm(
    name="lightgbm",
    title="LightGBM",
    parameters={
        task: {
            **dict.fromkeys((*NUMBERS, BAGS, *((NEAR,) if task is Task.REGRESSION else ())), ()),
            "objective": objectives,
            "boosting": BOOSTING,
        }
        for task, objectives in OBJECTIVES.items()
    },
    fit=fit,
    predict=predict,
    save=save,
    load=load,
    requirements=("lightgbm", "scipy"),
    importance=importance,
    importance_is="share of the total reduction of the loss",
    contributions=contributions,
    rounds=TREES,
    final=(BAGS, NEAR),
    of_features=(NEAR,),
    wrong=_wrong,
    fits_side_by_side=True,
)
