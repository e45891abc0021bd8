"""Batch scoring: one prediction per accepted row of a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from include.core.errors import DataError
from include.core.partition import day_end, known_after
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.lakehouse import decisions
from include.lakehouse.run import Workspace
from include.lakehouse.tables import Lakehouse
from include.scoring import by_key


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
    keyed = by_key.load(spec, store, version)
    keys = _keys(spec, lake, day)
    predicted = _predict(keyed, keys, day)
    rows = pa.table(
        {
            spec.entity.key: pa.array(keys),
            "batch_date": pa.array([day] * len(keys), pa.date32()),
            "prediction": pa.array(predicted, pa.float64()),
            "model_version": pa.array([keyed.version] * len(keys), pa.string()),
            "feature_service": pa.array([keyed.feature_service] * len(keys), pa.string()),
            "run_id": pa.array([run_id] * len(keys), pa.string()),
        }
    )
    lake.replace_partition(spec.table("predictions"), rows, {"batch_date": day})
    return ScoreCounts(rows=len(keys), version=keyed.version)


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


def _predict(keyed: by_key.KeyedModel, keys: pd.Series, day: date) -> Floats:
    features = keyed.offline(keys, day_end(day))
    without = keys[features.isna().all(axis=1).to_numpy()]
    if len(without):
        raise DataError(
            f"{len(without)} of {len(keys)} rows of {day} have no features, "
            f"e.g. {keyed.spec.entity.key} {without.iloc[0]}",
            where=keyed.feature_service,
            fix=f"Run {keyed.spec.name}.build_features for {day}",
        )
    return keyed.predict(features)
