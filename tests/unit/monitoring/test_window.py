"""Windows measured on real Delta tables in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.evaluation.metrics import least_rows
from include.ingestion.profile import SCHEMA as PROFILE_SCHEMA
from include.lakehouse import windows
from include.lakehouse.tables import Lakehouse
from include.monitoring import window

DAY = date(2025, 1, 5)
NEXT = DAY + timedelta(days=1)
FEATURES = ["income", "age", "coastal"]
ROWS = 300

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def spec() -> ModelSpec:
    return catalogue.load("california_housing")


@pytest.fixture
def lake(tmp_path: Path, spec: ModelSpec) -> Lakehouse:
    lake = Lakehouse(Places("dev", str(tmp_path / "landing"), str(tmp_path / "lakehouse"), ""))
    training = _features(0, rows=3000).assign(split="train", weight=1.0, window=date(2025, 1, 1))
    training[spec.target] = 1.0
    training["training_set"] = "2025-01-02"
    lake.replace_partition(spec.table("training_sets"), pa.Table.from_pandas(training), {"training_set": "2025-01-02"})
    return lake


def _features(seed: int, rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "listing_id": np.arange(rows) + 10_000 * seed,
            "event_timestamp": pd.Timestamp(DAY, tz="UTC"),
            "income": rng.lognormal(1, 0.4, rows),
            "age": rng.integers(1, 53, rows),
            "coastal": rng.integers(0, 2, rows),
        }
    )


def deliver(
    spec: ModelSpec,
    lake: Lakehouse,
    day: date,
    *,
    seed: int = 1,
    version: str = "1",
    change: Change | None = None,
) -> pd.DataFrame:
    """Write features and predictions of a day; the model predicts 100 times the income."""
    features = _features(seed)
    if change:
        features = change(features)
    predictions = pd.DataFrame(
        {
            "listing_id": features["listing_id"],
            "prediction": features["income"] * 100,
            "model_version": version,
            "feature_service": spec.features.service,
            "run_id": "run",
        }
    )
    _write(spec, lake, "features", day, features)
    _write(spec, lake, "predictions", day, predictions)
    return predictions


def label(spec: ModelSpec, lake: Lakehouse, day: date, predictions: pd.DataFrame, *, rows: int = ROWS) -> np.ndarray:
    """Write labels: the prediction less 10, with noise of 20. Returns the errors."""
    errors = 10 + np.random.default_rng(9).normal(0, 20, rows)
    chosen = predictions.iloc[:rows]
    labels = pd.DataFrame({"listing_id": chosen["listing_id"], spec.target: chosen["prediction"] - errors})
    labels["arrived_at"] = at(day + timedelta(days=1))
    _write(spec, lake, "labels", day, labels.sample(frac=1, random_state=1))
    return errors


def _write(spec: ModelSpec, lake: Lakehouse, layer: str, day: date, frame: pd.DataFrame) -> None:
    rows = pa.Table.from_pandas(frame.assign(batch_date=day), preserve_index=False)
    lake.replace_partition(spec.table(layer), rows, {"batch_date": day})


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def measure(spec: ModelSpec, lake: Lakehouse, day: date = DAY, as_of: date = NEXT) -> windows.WindowMetrics:
    reference = window.reference(spec, lake, "2025-01-02")
    return window.measure(spec, lake, day, reference=reference, as_of=at(as_of))


def test_reference_holds_the_features_and_nothing_else(spec: ModelSpec, lake: Lakehouse) -> None:
    frame = window.reference(spec, lake, "2025-01-02")
    assert sorted(frame.columns) == sorted(FEATURES)
    assert len(frame) == 3000
    with pytest.raises(DataError, match="training set 2024-01-01 has no rows"):
        window.reference(spec, lake, "2024-01-01")


def test_a_labelled_window(spec: ModelSpec, lake: Lakehouse) -> None:
    predictions = deliver(spec, lake, DAY, version="7")
    errors = label(spec, lake, DAY, predictions)
    measured = measure(spec, lake)
    actual = predictions["prediction"].to_numpy() - errors
    r2 = 1 - (errors**2).sum() / ((actual - actual.mean()) ** 2).sum()
    assert measured.adjusted_r2 == pytest.approx(1 - (1 - r2) * (ROWS - 1) / (ROWS - len(FEATURES) - 1))
    assert measured.rmse == pytest.approx(np.sqrt((errors**2).mean()))
    assert measured.mae == pytest.approx(np.abs(errors).mean())
    assert measured.bias == pytest.approx(errors.mean())
    assert (measured.rows, measured.labelled_rows, measured.version) == (ROWS, ROWS, "7")
    assert measured.labelled
    assert measured.drifted_features == ()
    assert json.loads(json.dumps(asdict(measured), default=str))["window"] == "2025-01-05"


def test_labels_are_not_seen_before_they_arrive(spec: ModelSpec, lake: Lakehouse) -> None:
    label(spec, lake, DAY, deliver(spec, lake, DAY))
    early = window.measure(
        spec,
        lake,
        DAY,
        reference=window.reference(spec, lake, "2025-01-02"),
        as_of=at(NEXT) - timedelta(microseconds=1),
    )
    assert not early.labelled
    assert (early.labelled_rows, early.rmse) == (0, None)
    assert measure(spec, lake).labelled_rows == ROWS


def test_too_few_labels_give_errors_but_no_adjusted_r2(spec: ModelSpec, lake: Lakehouse) -> None:
    predictions = deliver(spec, lake, DAY)
    label(spec, lake, DAY, predictions, rows=least_rows(len(FEATURES)) - 1)
    few = measure(spec, lake)
    assert few.rmse is not None
    assert not few.labelled
    label(spec, lake, DAY, predictions, rows=least_rows(len(FEATURES)))
    assert measure(spec, lake).labelled


def test_drift_names_the_feature_and_the_predictions_apart(spec: ModelSpec, lake: Lakehouse) -> None:
    deliver(spec, lake, DAY)
    assert measure(spec, lake).prediction_drifted is None
    deliver(spec, lake, NEXT, seed=2, change=lambda rows: rows.assign(income=rows["income"] * 1.5))
    drifted = measure(spec, lake, NEXT, NEXT)
    assert drifted.drifted_features == ("income",)
    assert drifted.prediction_drifted is True
    deliver(spec, lake, NEXT, seed=3)
    assert measure(spec, lake, NEXT, NEXT).prediction_drifted is False
    deliver(spec, lake, NEXT, seed=3, version="2")
    assert measure(spec, lake, NEXT, NEXT).prediction_drifted is None


def test_metrics_table_holds_values_with_their_thresholds(spec: ModelSpec, lake: Lakehouse) -> None:
    label(spec, lake, DAY, deliver(spec, lake, DAY))
    measured = measure(spec, lake)
    table = lake.read(spec.table("metrics"))
    assert table.schema.equals(windows.SCHEMA)
    rows = table.to_pandas().set_index(["metric", "slice"])
    assert set(rows["window"]) == {DAY}
    assert rows.loc[("adjusted_r2", "all"), "value"] == measured.adjusted_r2
    assert rows.loc[("adjusted_r2", "all"), "threshold"] == spec.monitoring.performance.adjusted_r2
    assert rows.loc[("ks_statistic", "income"), "threshold"] == spec.monitoring.drift.min_effect
    assert rows.loc[("ks_adjusted_p", "income"), "threshold"] == spec.monitoring.drift.alpha
    assert {name for metric, name in rows.index if metric == "drifted"} == set(FEATURES)


def test_measuring_again_leaves_the_same_rows(spec: ModelSpec, lake: Lakehouse) -> None:
    label(spec, lake, DAY, deliver(spec, lake, DAY))
    first = measure(spec, lake)
    before = lake.read(spec.table("metrics")).sort_by([("metric", "ascending"), ("slice", "ascending")])
    assert measure(spec, lake) == first
    after = lake.read(spec.table("metrics")).sort_by([("metric", "ascending"), ("slice", "ascending")])
    assert after.equals(before)


def test_history_reads_back_what_was_measured(spec: ModelSpec, lake: Lakehouse) -> None:
    assert windows.history(spec, lake, DAY) == []
    label(
        spec,
        lake,
        NEXT,
        deliver(spec, lake, NEXT, seed=2, change=lambda rows: rows.assign(age=rows["age"] + 60)),
    )
    deliver(spec, lake, DAY)
    second = measure(spec, lake, NEXT, NEXT + timedelta(days=1))
    first = measure(spec, lake)
    assert windows.history(spec, lake, NEXT) == [first, second]
    assert windows.history(spec, lake, DAY) == [first]
    assert second.drifted_features == ("age",)


def test_a_day_on_which_nothing_was_scored(spec: ModelSpec, lake: Lakehouse) -> None:
    nothing = measure(spec, lake)
    assert (nothing.rows, nothing.version, nothing.labelled, nothing.drifted_features) == (0, None, False, ())
    assert window.scored_version(spec, lake, DAY) is None
    label(spec, lake, DAY, deliver(spec, lake, NEXT, version="3"))
    assert measure(spec, lake) == nothing
    assert windows.history(spec, lake, DAY) == [nothing]
    assert window.scored_version(spec, lake, NEXT) == "3"


def test_broken_tables_are_named(spec: ModelSpec, lake: Lakehouse) -> None:
    predictions = deliver(spec, lake, DAY).drop(columns="model_version")
    _write(spec, lake, "predictions", DAY, predictions.assign(model_version=["1"] * 200 + ["2"] * 100))
    with pytest.raises(DataError, match="predictions_california_housing, batch_date 2025-01-05: rows of versions 1, 2"):
        measure(spec, lake)
    predictions["model_version"] = "1"
    _write(spec, lake, "predictions", DAY, pd.concat([predictions, predictions.iloc[:3]]))
    with pytest.raises(DataError, match="3 rows repeat a value of listing_id"):
        measure(spec, lake)
    _write(spec, lake, "predictions", DAY, predictions.assign(prediction=np.nan))
    with pytest.raises(DataError, match="rows have no prediction"):
        measure(spec, lake)
    _write(spec, lake, "predictions", DAY, predictions)
    _write(spec, lake, "features", DAY, _features(1).iloc[:290])
    with pytest.raises(DataError, match="10 of 300 scored rows have no features"):
        measure(spec, lake)
    _write(spec, lake, "features", DAY, _features(1).drop(columns="age").assign(age=None))
    assert measure(spec, lake).drifted_features == ("age",)
    assert not lake.exists(spec.table("labels"))


def test_delivered_columns_that_shifted_are_named(spec: ModelSpec, lake: Lakehouse) -> None:
    deliver(spec, lake, DAY)
    for day, nulls in ((date(2025, 1, 1), 3), (DAY, 90)):
        rows = [("count", 300.0), ("nulls", float(nulls))]
        profile = pa.Table.from_pylist(
            [
                {"batch_date": day, "column": "total_rooms", "statistic": statistic, "category": None, "value": value}
                for statistic, value in rows
            ],
            schema=PROFILE_SCHEMA,
        )
        lake.replace_partition(spec.table("profiles"), profile, {"batch_date": day})
    days = window.trained_on(spec, lake, "2025-01-02")
    assert days == [date(2025, 1, 1)]
    reference = window.reference(spec, lake, "2025-01-02")
    measured = window.measure(spec, lake, DAY, reference=reference, as_of=at(NEXT), trained_on=days)
    assert measured.shifted_columns == ("total_rooms",)
    assert measured.drifted_features == ()
    assert windows.history(spec, lake, DAY) == [measured]
