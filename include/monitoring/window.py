"""One monitored window: how well the predictions of a day fit the labels, and which features have drifted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.errors import DataError
from include.core.spec import ModelSpec, Monitoring
from include.evaluation import drift, metrics
from include.evaluation.drift import FeatureDrift
from include.lakehouse.tables import Lakehouse, Scalar
from include.lakehouse.windows import ALL, PREDICTION, SCHEMA, SOURCE, WindowMetrics, from_rows
from include.monitoring import inputs
from include.monitoring.inputs import InputShift

_TRAINING_SET_COLUMNS = ("event_timestamp", "split", "weight", "recent", "window", "batch_date", "training_set")


def measure(
    spec: ModelSpec,
    lake: Lakehouse,
    day: date,
    *,
    reference: pd.DataFrame,
    as_of: datetime,
    trained_on: Collection[date] = (),
) -> WindowMetrics:
    """Measure the window of ``day`` and replace its partition of the metrics table.

    A function of the tables and the arguments alone: repeating it leaves the same rows, and a run after the
    labels arrived replaces what was measured before. A day on which nothing was scored (no version in
    production, batch rejected) is a window of 0 rows. Drift of the predictions is measured against the first
    day that the same version scored.

    Args:
        reference: features that the version which scored the day was trained on: :func:`reference` of the
            training set of :func:`scored_version`.
        as_of: time of the run, with time zone; labels that arrive later are not seen.
        trained_on: the days whose batches that version was trained on: :func:`trained_on`.

    Raises:
        DataError: rows were scored whose features are missing, a key is repeated, or versions are mixed.
    """
    predictions = _predictions(spec, lake, day)
    version = _one_version(predictions, _where(spec, "predictions", day))
    performance = _performance(spec, lake, day, as_of, predictions, n_features=len(reference.columns))
    features = _feature_drift(spec, lake, day, predictions, reference)
    prediction = _prediction_drift(spec, lake, day, predictions, version)
    shifts = inputs.detect(spec, lake, day, trained_on, spec.monitoring.drift)
    rows = _rows(spec.monitoring, day, version, performance, [*features, *prediction], shifts)
    lake.replace_partition(spec.table("metrics"), rows, {"window": day, "source": SOURCE}, partition_by=["window"])
    return from_rows(day, rows.to_pandas())


def scored_version(spec: ModelSpec, lake: Lakehouse, day: date) -> str | None:
    """The model version that scored the day, as stamped on its rows; None where nothing was scored."""
    return _one_version(_predictions(spec, lake, day), _where(spec, "predictions", day))


def reference(spec: ModelSpec, lake: Lakehouse, training_set: str) -> pd.DataFrame:
    """Load the features of a training set, all splits: one row per training row, one column per feature.

    Args:
        training_set: its id, as in the tag ``training_set`` of the model version.

    Raises:
        DataError: the training set does not exist.
    """
    name = spec.table("training_sets")
    other = {spec.entity.key, spec.target, *_TRAINING_SET_COLUMNS}
    columns = [field.name for field in lake.open(name).schema().fields if field.name not in other]
    table = lake.read(name, where=[("training_set", "=", training_set)], columns=columns)
    if not table.num_rows:
        raise DataError(f"training set {training_set} has no rows", where=name, fix="Run train_model")
    return _frame(table)


def trained_on(spec: ModelSpec, lake: Lakehouse, training_set: str) -> list[date]:
    """The days whose rows are in a training set, oldest first."""
    rows = lake.read(spec.table("training_sets"), where=[("training_set", "=", training_set)], columns=["window"])
    return sorted(rows["window"].unique().to_pylist())


def _predictions(spec: ModelSpec, lake: Lakehouse, day: date) -> pd.DataFrame:
    frame = _read(lake, spec.table("predictions"), [("batch_date", "=", day)])
    if frame is None:
        return pd.DataFrame(columns=[spec.entity.key, "prediction", "model_version"])
    where = _where(spec, "predictions", day)
    _refuse_repeated(frame, spec.entity.key, where)
    if frame["prediction"].isna().any():
        raise DataError("rows have no prediction", where=where, fix="Run score_batch for that day")
    return frame


def _one_version(predictions: pd.DataFrame, where: str) -> str | None:
    versions = sorted(predictions["model_version"].unique())
    if len(versions) > 1:
        raise DataError(
            f"rows of versions {', '.join(versions)} are mixed",
            where=where,
            fix="Run score_batch for that day",
        )
    return versions[0] if versions else None


def _performance(
    spec: ModelSpec,
    lake: Lakehouse,
    day: date,
    as_of: datetime,
    predictions: pd.DataFrame,
    *,
    n_features: int,
) -> dict[str, float]:
    """Metrics of slice ``all``; those that cannot be computed yet are left out."""
    key = spec.entity.key
    labels = _read(lake, spec.table("labels"), [("batch_date", "=", day), ("arrived_at", "<=", as_of)])
    measured: dict[str, float] = {"rows": len(predictions), "labelled_rows": 0}
    if labels is None or labels.empty or predictions.empty:
        return measured
    _refuse_repeated(labels, key, _where(spec, "labels", day))
    joined = predictions.merge(labels[[key, spec.target]].dropna(), on=key)
    if joined.empty:
        return measured
    actual, predicted = joined[spec.target].to_numpy(), joined["prediction"].to_numpy()
    error = predicted - actual
    measured |= {
        "labelled_rows": len(joined),
        "rmse": float(metrics.rmse(actual, predicted)),
        "mae": float(metrics.mae(actual, predicted)),
        "bias": float(error.mean()),
    }
    # Below that many rows, or with labels that are all equal, the value says nothing about the model.
    if len(joined) >= metrics.least_rows(n_features) and np.ptp(actual) > 0:
        measured["adjusted_r2"] = float(metrics.adjusted_r2(actual, predicted, n_features))
    return measured


def _feature_drift(
    spec: ModelSpec, lake: Lakehouse, day: date, predictions: pd.DataFrame, reference: pd.DataFrame
) -> list[FeatureDrift]:
    if predictions.empty:
        return []
    key, where = spec.entity.key, _where(spec, "features", day)
    features = _frame(lake.read(spec.table("features"), where=[("batch_date", "=", day)]))
    _refuse_repeated(features, key, where)
    absent = int((~predictions[key].isin(features[key])).sum())
    if absent:
        raise DataError(
            f"{absent} of {len(predictions)} scored rows have no features",
            where=where,
            fix="Run build_features for that day, then score_batch",
        )
    scored = features[features[key].isin(predictions[key])]
    return drift.detect(reference, scored, spec.monitoring.drift)


def _prediction_drift(
    spec: ModelSpec, lake: Lakehouse, day: date, predictions: pd.DataFrame, version: str | None
) -> list[FeatureDrift]:
    if version is None:
        return []
    name = spec.table("predictions")
    earlier = lake.read(name, where=[("model_version", "=", version), ("batch_date", "<", day)], columns=["batch_date"])
    if not earlier.num_rows:
        return []
    first = min(earlier["batch_date"].unique().to_pylist())
    before = lake.read(name, where=[("batch_date", "=", first)], columns=[PREDICTION])
    return drift.detect(_frame(before), predictions, spec.monitoring.drift)


def _rows(
    monitoring: Monitoring,
    day: date,
    version: str | None,
    performance: dict[str, float],
    drifts: Iterable[FeatureDrift],
    shifts: Iterable[InputShift],
) -> pa.Table:
    thresholds = {"adjusted_r2": monitoring.performance.adjusted_r2}
    rows: list[tuple[str, str, float, float | None]] = [
        (metric, ALL, float(value), thresholds.get(metric)) for metric, value in performance.items()
    ]
    for item in drifts:
        rows += [
            ("ks_statistic", item.feature, item.statistic, monitoring.drift.min_effect),
            ("ks_adjusted_p", item.feature, item.adjusted_p, monitoring.drift.alpha),
            ("drifted", item.feature, float(item.drifted), None),
        ]
    for shift in shifts:
        rows += [
            (f"{shift.statistic}_distance", shift.column, shift.distance, monitoring.drift.min_effect),
            (f"{shift.statistic}_adjusted_p", shift.column, shift.adjusted_p, monitoring.drift.alpha),
            (f"{shift.statistic}_shifted", shift.column, float(shift.shifted), None),
        ]
    return pa.Table.from_pylist(
        [
            {
                "window": day,
                "metric": metric,
                "slice": slice_,
                "value": value,
                "threshold": threshold,
                "model_version": version,
                "source": SOURCE,
            }
            for metric, slice_, value, threshold in rows
        ],
        schema=SCHEMA,
    )


def _read(lake: Lakehouse, name: str, where: list[tuple[str, str, Scalar]]) -> pd.DataFrame | None:
    table = lake.read_if_exists(name, where=where)
    return None if table is None else _frame(table)


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _refuse_repeated(frame: pd.DataFrame, key: str, where: str) -> None:
    repeated = int(frame[key].duplicated().sum())
    if repeated:
        raise DataError(
            f"{repeated} rows repeat a value of {key}",
            where=where,
            fix="Re-run the DAG that writes that partition",
        )


def _where(spec: ModelSpec, layer: str, day: date) -> str:
    return f"{spec.table(layer)}, batch_date {day}"
