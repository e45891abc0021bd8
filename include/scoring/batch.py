"""Batch scoring: one prediction per accepted row of a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from include.errors import DataError
from include.governance import decisions
from include.lakehouse.tables import Lakehouse
from include.lakehouse.times import day_end, known_after
from include.models.spec import ModelSpec
from include.registry import versions
from include.training import training_set
from include.training.metrics import Floats
from include.workspace import Workspace


@dataclass(frozen=True)
class ScoreCounts:
    rows: int
    version: str


def score(
    spec: ModelSpec, lake: Lakehouse, store: FeatureStore, day: date, version: str | int, run_id: str
) -> ScoreCounts:
    """Predict every row accepted on a day and replace the day's partition of ``predictions_<model>``.

    Features come from the feature service the version was trained with, as they were at the end of the day.

    Args:
        version: resolved once by the caller; stamped on every row.
        run_id: of the run that scores.

    Raises:
        DataError: no such version, rows without features, or predictions that are not finite.
    """
    found = versions.get(spec, version)
    keys = _keys(spec, lake, day)
    predicted = _predict(spec, store, found, keys, day) if len(keys) else np.empty(0)
    rows = pa.table(
        {
            spec.entity.key: pa.array(keys),
            "batch_date": pa.array([day] * len(keys), pa.date32()),
            "prediction": pa.array(predicted, pa.float64()),
            "model_version": pa.array([found.version] * len(keys), pa.string()),
            "feature_service": pa.array([found.feature_service] * len(keys), pa.string()),
            "run_id": pa.array([run_id] * len(keys), pa.string()),
        }
    )
    lake.replace_partition(spec.table("predictions"), rows, {"batch_date": day})
    return ScoreCounts(rows=len(keys), version=found.version)


def skip(workspace: Workspace, day: date, run_id: str) -> None:
    """Record that nothing was scored, because no version is in production."""
    decisions.record(
        workspace.lake,
        model=workspace.spec.name,
        kind="scoring",
        subject=day.isoformat(),
        outcome="skip_scoring",
        reasons=["no_production_version"],
        inputs={},
        decided_at=known_after(day),
        actor="policy",
        policy_hash="",
        run_id=run_id,
    )


def _keys(spec: ModelSpec, lake: Lakehouse, day: date) -> pd.Series:
    """The day's entity keys, sorted, each once."""
    key = spec.entity.key
    clean = lake.read(spec.table("clean"), where=[("batch_date", "=", day)], columns=[key])
    return clean[key].to_pandas().drop_duplicates().sort_values(ignore_index=True)


def _predict(spec: ModelSpec, store: FeatureStore, version: versions.Version, keys: pd.Series, day: date) -> Floats:
    key = spec.entity.key
    asked = pd.DataFrame({key: keys, "event_timestamp": pd.Timestamp(day_end(day)).as_unit("us")})
    names, features = training_set.point_in_time(spec, store, version.feature_service, asked)
    # Feast does not promise the order of rows.
    features = asked[[key]].merge(features, on=key, how="left", validate="one_to_one")
    without = features.loc[features[names].isna().all(axis=1), key]
    if len(without):
        raise DataError(
            f"{len(without)} of {len(keys)} rows of {day} have no features, e.g. {key} {without.iloc[0]}",
            where=version.feature_service,
            fix=f"Run {spec.name}.build_features for {day}",
        )
    model = mlflow.pyfunc.load_model(version.uri)
    predicted = np.asarray(model.predict(features[names]), dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise DataError(f"version {version.version} predicts values that are not finite on {day}", where=spec.name)
    return predicted
