"""Candidates: models fitted to a training set and measured on its test rows."""

from __future__ import annotations

import time
from collections.abc import Callable

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run

from include.core.errors import DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import interval, metrics
from include.evaluation.metrics import Floats
from include.features import fitted_categories
from include.lakehouse import provenance
from include.lakehouse.schemas import PARTITION, SPLIT
from include.lakehouse.tables import Lakehouse
from include.training import (
    algorithms,
    card,
    fitted_rows,
    floors,
    plots,
    search,
    slice_metrics,
    splits,
    tracking,
    training_set,
)
from include.training.algorithms import Fitted, Sample
from include.training.places import Mask
from include.training.search import SearchResult
from include.training.splits import TEST, TRAIN, VALIDATION
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef
from include.training.trial_runs import TrialRuns

Fit = Callable[[pd.DataFrame, Run], tuple[Fitted, SearchResult | None]]
"""From the training set and its MLflow run."""


def fit_baseline(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, run_id: str) -> RunRef:
    """Fit the algorithm with the baseline's parameters on train and validation rows; measure it on test rows.

    Args:
        run_id: of the Airflow run; a retry finds the MLflow run that it has finished.

    Raises:
        ConfigError: metric, algorithm or a hyperparameter in model.yaml is not one that there is.
        DataError: a part of the training set has too few rows, or the metric is undefined on one.
    """

    def fit(frame: pd.DataFrame, run: Run) -> tuple[Fitted, None]:
        return algorithms.fit(spec, _sample(spec, ref, frame, TRAIN, VALIDATION), dict(spec.training.baseline)), None

    return _run(spec, lake, ref, run_id, "baseline", fit)


def fit_tuned(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, run_id: str) -> RunRef:
    """Search hyperparameters on train and validation rows, fit the best on both; measure it on test rows.

    A retry goes on from the last trial of an attempt that did not finish.

    Arguments and errors as `fit_baseline`.
    """

    def fit(frame: pd.DataFrame, run: Run) -> tuple[Fitted, SearchResult]:
        trials = TrialRuns(run)
        found = search.tune(spec, _folds(spec, ref, frame), trials)
        trials.tidy()
        return algorithms.fit(spec, _sample(spec, ref, frame, TRAIN, VALIDATION), dict(found.best.params)), found

    return _run(spec, lake, ref, run_id, "tuned", fit)


def better_of(spec: ModelSpec, baseline: RunRef, tuned: RunRef) -> RunRef:
    """The one that is better on the validation rows; the simpler one if they are equal.

    Test rows have no say, or their figures would flatter the one that is kept.
    """
    gain = metrics.for_search(spec).gain(tuned.metrics["validation"], tuned.metrics["baseline_validation"])
    return tuned if gain > 0 else baseline


def evaluate(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame, predicted: Floats) -> dict[str, float]:
    """Measure on test rows, on those of drifted windows (``drifted_``), and where it was fitted (``train_``).

    Rows of before a concept drift measure nothing of the world since.

    Drifted rows that are too few to be judged (`Metric.least_rows`), or on which the metric is undefined, give no
    ``drifted_`` metrics.
    """
    n_features, least = len(ref.features), metrics.of(spec).least_rows(len(ref.features))
    is_test, has_drifted = fitted_rows.judging(frame), frame[PARTITION].isin(ref.drifted).to_numpy()
    fitted = (frame[SPLIT] != TEST).to_numpy()
    actual = frame[spec.target].to_numpy(dtype=np.float64)
    measured: dict[str, float] = {}
    for prefix, chosen in (("", is_test), ("drifted_", is_test & has_drifted), ("train_", fitted)):
        if prefix == "drifted_" and chosen.sum() < least:
            continue
        try:
            measured |= metrics.summary(spec, actual[chosen], predicted[chosen], n_features, prefix)
        except DataError:
            if prefix != "drifted_":
                raise
    return measured


def _intervals(spec: ModelSpec, ref: TrainingSetRef, test: pd.DataFrame, predicted: Floats) -> dict[str, float]:
    """``<metric>.low`` and ``<metric>.high`` of each metric of the task on the test rows, where they can be told."""
    actual = test[spec.target].to_numpy(dtype=np.float64)
    found: dict[str, float] = {}
    for name, metric in metrics.of_task(spec).items():
        try:
            between = interval.bounds(metric, actual, predicted, len(ref.features), slice_metrics.CONFIDENCE)
        except DataError:
            continue
        if between:
            found |= {f"{name}.low": between[0], f"{name}.high": between[1]}
    return found


def _run(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, run_id: str, name: str, fit: Fit) -> RunRef:
    if done := tracking.finished(spec, lake, name, ref, run_id):
        return done
    plots.refuse_personal(spec, ref.features)  # before anything is logged: an example of the input goes into MLflow
    _require_rows(spec, ref)
    frame = training_set.read(spec, lake, ref)
    _require_labels_differ(spec, ref, frame)
    algorithm = algorithms.of(spec)
    with tracking.started(spec, name, ref, run_id, provenance.file_names(spec, lake)) as run:
        begun = time.perf_counter()
        fitted, found = fit(frame, run)
        seconds = time.perf_counter() - begun
        predicted = algorithm.predict(fitted.model, frame[list(ref.features)], spec.task)
        measured = evaluate(spec, ref, frame, predicted) | {"fit_seconds": round(seconds, 2)}
        if found:
            measured |= {"validation": found.best.validation, "baseline_validation": found.trials[0].validation}
            tracking.log_search(found)
        tracking.log_params(ref, fitted)
        tracking.log_dataset(spec, lake, ref, frame)
        is_test = fitted_rows.judging(frame)
        test, lowest = frame[is_test], floors.of(spec, ref, frame)
        measured |= _intervals(spec, ref, test, predicted[is_test])
        measured |= {f"{floors.PREFIX}{floor.name}": floor.value for floor in lowest}
        example = test[list(ref.features)]
        known = card.Evidence(
            name, fitted, found, frame, test, predicted[is_test], measured, run.data.tags, run.info.run_id, lowest
        )
        page = card.render(spec, ref, known)
        model_id, files = tracking.log_model(
            spec, lake, ref, run, fitted, example, candidate=name, measured=measured, card=page
        )
        mlflow.log_metrics(measured, model_id=model_id)
    return RunRef(run.info.run_id, name, model_id, measured, files)


def _require_rows(spec: ModelSpec, ref: TrainingSetRef) -> None:
    least = metrics.of(spec).least_rows(len(ref.features))
    for part, rows in ((TRAIN, ref.train_rows), (VALIDATION, ref.validation_rows), (TEST, ref.test_rows)):
        if rows < least:
            raise DataError(
                f"training set {ref.training_set} has {rows} {part} rows, fewer than {least}",
                where=spec.table("training_sets"),
                fix="Ingest more labelled partitions",
            )


def _require_labels_differ(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame) -> None:
    """Refuse to fit where there is nothing to tell apart, and to judge where nothing could be told."""
    is_test = fitted_rows.judging(frame)
    parts = {"that are fitted to": ~is_test} | ({} if spec.task is Task.MULTICLASS else {"to test on": is_test})
    for part, chosen in parts.items():
        values = frame.loc[chosen, spec.target].unique()
        if len(values) == 1:
            raise DataError(
                f"all {int(chosen.sum())} rows {part} of training set {ref.training_set} have the label {values[0]:g}",
                where=spec.table("training_sets"),
                fix="Look at what is delivered as labels, or ingest more labelled partitions",
            )


def _sample(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame, *parts: str) -> Sample:
    categories = fitted_categories.read(ref.categories)
    return training_set.sample(spec, frame, frame[SPLIT].isin(parts), ref.features, categories)


def _folds(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame) -> list[search.Measured]:
    def sample(chosen: Mask) -> Sample:
        categories = fitted_categories.read(ref.categories)
        return training_set.sample(spec, frame, chosen, ref.features, categories)

    return [(sample(fold.fitted), sample(fold.judged)) for fold in splits.search_folds(spec, frame)]
