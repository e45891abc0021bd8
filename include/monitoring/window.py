"""One monitored window: how well the predictions of a day fit the labels, and which features have drifted."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from include.errors import DataError
from include.lakehouse.tables import Lakehouse, Scalar
from include.models.spec import ModelSpec, Monitoring
from include.monitoring import drift, inputs
from include.monitoring.drift import FeatureDrift
from include.monitoring.inputs import InputShift
from include.training import metrics

ALL = "all"
"""Slice of a metric that is about the whole window; other slices are names of features."""
PREDICTION = "prediction"
"""Slice of the drift of the predictions, which is kept apart from the drifted features."""

SOURCE = "monitoring"
"""Of a metric; the rows of other sources, such as ``ingestion``, are not ours."""

SCHEMA = pa.schema(
    [
        ("window", pa.date32()),
        ("metric", pa.string()),
        ("slice", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("model_version", pa.string()),
        ("source", pa.string()),
    ]
)
_TRAINING_SET_COLUMNS = ("event_timestamp", "split", "weight", "recent", "window", "batch_date", "training_set")


@dataclass(frozen=True)
class WindowMetrics:
    """What was measured of one window. Errors are in the target's unit."""

    window: date
    version: str | None
    """The model version that scored the window; None where nothing was scored."""
    rows: int
    """Rows scored."""
    labelled_rows: int
    """Rows scored whose label had arrived."""
    adjusted_r2: float | None
    """None while fewer labels are there than ``metrics.least_rows`` asks for, or all of them are equal."""
    rmse: float | None
    mae: float | None
    bias: float | None
    """Mean of prediction minus label: positive where the model predicts too much."""
    drifted_features: tuple[str, ...]
    """Sorted by name."""
    prediction_drifted: bool | None
    """None where there is no earlier window of the same version to compare with."""
    shifted_columns: tuple[str, ...] = ()
    """Delivered columns whose nulls or categories are not what they were, sorted by name."""

    @property
    def labelled(self) -> bool:
        """Whether enough labels have arrived to judge performance."""
        return self.adjusted_r2 is not None


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
    return _from_rows(day, rows.to_pandas())


def history(spec: ModelSpec, lake: Lakehouse, upto: date) -> list[WindowMetrics]:
    """Read back the windows measured so far, up to and including ``upto``, oldest first."""
    table = lake.read_if_exists(spec.table("metrics"), where=[("window", "<=", upto)])
    if table is None:
        return []
    frame = table.to_pandas()
    ours = frame[frame["source"] == SOURCE] if "source" in frame else frame
    return [_from_rows(window, rows) for window, rows in ours.groupby("window", sort=True)]


def drifted_windows(spec: ModelSpec, lake: Lakehouse, upto: date) -> list[date]:
    """The windows up to and including ``upto`` in which a feature drifted, oldest first."""
    return [item.window for item in history(spec, lake, upto) if item.drifted_features]


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


def _from_rows(window: date, rows: pd.DataFrame) -> WindowMetrics:
    whole = rows[rows["slice"] == ALL].set_index("metric")["value"].to_dict()
    drifted = rows[rows["metric"] == "drifted"].set_index("slice")["value"].gt(0).to_dict()
    prediction = drifted.pop(PREDICTION, None)
    shifted = rows[rows["metric"].str.endswith("_shifted") & rows["value"].gt(0)]["slice"]
    version = rows["model_version"].iloc[0]
    return WindowMetrics(
        window=window,
        version=None if pd.isna(version) else str(version),
        rows=int(whole["rows"]),
        labelled_rows=int(whole["labelled_rows"]),
        adjusted_r2=_finite(whole.get("adjusted_r2")),
        rmse=_finite(whole.get("rmse")),
        mae=_finite(whole.get("mae")),
        bias=_finite(whole.get("bias")),
        drifted_features=tuple(sorted(str(name) for name, found in drifted.items() if found)),
        prediction_drifted=None if prediction is None else bool(prediction),
        shifted_columns=tuple(sorted(set(shifted))),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


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
