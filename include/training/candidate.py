"""Candidates: LightGBM models fitted to a training set and measured on its test rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import lightgbm as lgb
import mlflow
import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.lakehouse import provenance
from include.lakehouse.schemas import PARTITION, SPLIT, WEIGHT
from include.lakehouse.tables import Lakehouse
from include.training import plots, search, tracking, training_set
from include.training.search import Parameters, Sample, SearchResult
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef

MOST_THREADS = 4
"""More do not pay on tens of thousands of rows."""
SPARE_CORES = 1
"""Left to the rest of the machine: LightGBM's threads wait for each other actively after every split, so on
busy cores two of them take several times as long as one."""
DEFAULT_TREES = 100
TREE_NAMES = ("n_estimators", "num_iterations", "num_boost_round", "num_trees")


@dataclass(frozen=True)
class Fitted:
    booster: lgb.Booster
    params: Parameters
    search: SearchResult | None = None


def fit_baseline(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, run_id: str) -> RunRef:
    """Fit LightGBM with the baseline's parameters on train and validation rows; measure it on test rows.

    Args:
        run_id: of the Airflow run; a retry finds the MLflow run that it has finished.

    Raises:
        DataError: a part of the training set has too few rows.
    """

    def fit(frame: pd.DataFrame) -> Fitted:
        params, trees = _baseline(spec)
        booster = _train(_sample(spec, ref, frame[frame[SPLIT] != "test"]), {**_fixed(spec), **params}, trees)
        return Fitted(booster, {**params, "trees": trees})

    return _run(spec, lake, ref, run_id, "baseline", fit)


def fit_tuned(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, run_id: str) -> RunRef:
    """Search hyperparameters on train and validation rows, fit the best on both; measure it on test rows.

    Arguments and errors as `fit_baseline`.
    """

    def fit(frame: pd.DataFrame) -> Fitted:
        params, trees = _baseline(spec)
        train, validation = (_sample(spec, ref, frame[frame[SPLIT] == part]) for part in ("train", "validation"))
        found = search.tune(spec.training.search, train, validation, _fixed(spec), params, trees)
        best = dict(found.best.params)
        together = _sample(spec, ref, frame[frame[SPLIT] != "test"])
        booster = _train(together, {**_fixed(spec), **best}, found.best.trees)
        return Fitted(booster, {**best, "trees": found.best.trees}, found)

    return _run(spec, lake, ref, run_id, "tuned", fit)


def better_of(baseline: RunRef, tuned: RunRef) -> RunRef:
    """The one with the smaller validation error; the simpler one if they are equal.

    Test rows have no say, or their figures would flatter the one that is kept.
    """
    measured = tuned.metrics
    return tuned if measured["validation_rmse"] < measured["baseline_validation_rmse"] else baseline


def evaluate(spec: ModelSpec, ref: TrainingSetRef, booster: lgb.Booster, frame: pd.DataFrame) -> dict[str, float]:
    """Measure on test rows, on those of recent windows (``recent_``), and where it was fitted (``train_``).

    Recent rows that are too few to be judged (`metrics.least_rows`) give no ``recent_`` metrics.
    """
    n_features = len(ref.features)
    is_test = (frame[SPLIT] == "test").to_numpy()
    is_recent = frame[PARTITION].isin(ref.recent).to_numpy()
    measured: dict[str, float] = {}
    for prefix, chosen in (("", is_test), ("recent_", is_test & is_recent), ("train_", ~is_test)):
        rows = frame[chosen]
        if prefix == "recent_" and len(rows) < metrics.of(spec).least_rows(n_features):
            continue
        predicted = _predict(booster, rows[list(ref.features)])
        measured |= metrics.summary(spec, rows[spec.target], predicted, n_features, prefix)
    return measured


def _run(
    spec: ModelSpec,
    lake: Lakehouse,
    ref: TrainingSetRef,
    run_id: str,
    name: str,
    fit: Callable[[pd.DataFrame], Fitted],
) -> RunRef:
    if done := tracking.finished(spec, name, ref, run_id):
        return done
    plots.refuse_personal(spec, ref.features)  # before anything is logged: an example of the input goes into MLflow
    frame = training_set.read(spec, lake, ref)
    _require_rows(spec, ref, frame)
    with tracking.started(spec, name, ref, run_id, provenance.file_names(spec, lake)) as run:
        begun = time.perf_counter()
        fitted = fit(frame)
        seconds = time.perf_counter() - begun
        measured = evaluate(spec, ref, fitted.booster, frame) | {"fit_seconds": round(seconds, 2)}
        mlflow.log_params(fitted.params | {"feature_service": ref.feature_service, "features": len(ref.features)})
        if fitted.search:
            measured["validation_rmse"] = fitted.search.best.rmse
            measured["baseline_validation_rmse"] = fitted.search.trials[0].rmse
            _log_search(fitted.search)
        mlflow.log_metrics(measured)
        tracking.log_dataset(spec, lake, ref, frame)
        test = frame[frame[SPLIT] == "test"]
        predicted = _predict(fitted.booster, test[list(ref.features)])
        tracking.log_figures(plots.all_of(spec, list(ref.features), test, predicted, fitted.booster, measured))
        model_id = tracking.log_model(spec, ref, fitted.booster, test[list(ref.features)])
    return RunRef(run.info.run_id, name, model_id, measured)


def _log_search(found: SearchResult) -> None:
    rows = [{**asdict(trial), **trial.params} for trial in found.trials]
    mlflow.log_text(pd.DataFrame(rows).drop(columns="params").to_csv(index=False), "search/trials.csv")
    mlflow.log_metric("search_trials", len(found.trials))
    for trial in found.trials:
        mlflow.log_metric("trial_rmse", trial.rmse, step=trial.number)


def _require_rows(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame) -> None:
    least = metrics.of(spec).least_rows(len(ref.features))
    for part in ("train", "validation", "test"):
        rows = int((frame[SPLIT] == part).sum())
        if rows < least:
            raise DataError(
                f"training set {ref.training_set} has {rows} {part} rows, fewer than {least}",
                where=spec.table("training_sets"),
                fix="Ingest more labelled partitions",
            )


def _baseline(spec: ModelSpec) -> tuple[Parameters, int]:
    """The baseline's parameters without, and its number of, trees."""
    params = dict(spec.training.baseline)
    trees = [int(params.pop(name)) for name in TREE_NAMES if name in params]
    return params, trees[0] if trees else DEFAULT_TREES


def _fixed(spec: ModelSpec) -> Parameters:
    return {
        "seed": spec.training.seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": threads(),
        "verbosity": -1,
    }


def threads() -> int:
    """Cores that this process may use but for `SPARE_CORES`, from 1 to `MOST_THREADS`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable - SPARE_CORES, MOST_THREADS))


def _sample(spec: ModelSpec, ref: TrainingSetRef, rows: pd.DataFrame) -> Sample:
    return Sample(
        rows[list(ref.features)],
        rows[spec.target].to_numpy(dtype=np.float64),
        rows[WEIGHT].to_numpy(dtype=np.float64),
    )


def _train(sample: Sample, params: Parameters, trees: int) -> lgb.Booster:
    return lgb.train(params, lgb.Dataset(sample.features, sample.target, weight=sample.weight), trees)


def _predict(booster: lgb.Booster, features: pd.DataFrame) -> Floats:
    return np.asarray(booster.predict(features), dtype=np.float64)
