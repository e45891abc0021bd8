"""A model with three features whose versions are in a real registry, and whose partitions are delivered by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.evaluation.drift import quantiles
from include.lakehouse import alias_history, reference_profiles
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import (
    ARRIVED_AT,
    EVENT_TIMESTAMP,
    FEATURES,
    LABELS,
    PARTITION,
    PREDICTION,
    RESIDUAL,
    SERVED,
    SPLIT,
    TRAINING_SET,
    TRAINING_SETS,
)
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import WindowMetrics
from include.monitoring import steps
from tests.tables import day, put, put_predictions

HISTORY, DAY = day("2025-01-01"), day("2025-01-05")
NEXT = DAY.shift(1)
NAMES = ("income", "age", "coastal")
ROWS = 300

Change = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Scene:
    spec: ModelSpec
    lake: Lakehouse

    def changed(self, **changes: Any) -> Scene:
        """The same tables and versions, with other keys in model.yaml."""
        content = self.spec.model_dump() | changes
        return replace(self, spec=ModelSpec.model_validate(content))

    def run(self, partition: Partition = DAY, run_id: str = "run") -> Run:
        return Run(self.spec, Settings(environment="dev"), self.lake, run_id, partition)

    def measure(self, partition: Partition = DAY) -> WindowMetrics:
        return steps.measure_window(self.run(partition))

    def train(
        self,
        rows: pd.DataFrame,
        features: Sequence[str] = NAMES,
        training_set: str = "2025-01-02",
        predictions: pd.Series | None = None,
        **more: str,
    ) -> str:
        """Write a training set, and register a version that was trained on it; its number.

        Args:
            predictions: the version's, for those rows.
        """
        table = TRAINING_SETS.of(self.spec, _features_of(rows, self.spec, SPLIT, self.spec.target))
        written = put(self.lake, table, rows, {TRAINING_SET: training_set})
        tags = {"features": json.dumps(list(features)), "categories": "{}", "training_set": training_set, **more}
        made = self.register(tags | {"training_set.version": str(written)})
        missed = pd.Series(-(10 + np.random.default_rng(8).normal(0, 20, len(rows))))  # as `label` has it
        predictions = predicted(rows) if predictions is None else predictions
        known = {PREDICTION: predictions, RESIDUAL: missed, **rows[list(features)]}
        profile = {name: quantiles(values.to_numpy(float)) for name, values in known.items()}
        reference_profiles.write(self.spec, self.lake, made, profile)
        return made

    def register(self, tags: dict[str, str]) -> str:
        client = MlflowClient()
        if not client.search_registered_models(f"name = '{self.spec.name}'"):
            client.create_registered_model(self.spec.name)
        made = str(client.create_model_version(self.spec.name, source="file:///nowhere", tags=tags).version)
        recorded = {"digest": "", "files": {}, "tags": tags}
        self.run().decide(Kind.REGISTRATION, Outcome.REGISTERED, [], subject=f"version {made}", inputs=recorded)
        return made

    def promote(self, version: str) -> None:
        alias_history.begin(
            self.lake, self.spec, version, model_time=HISTORY.end, decision_id=f"promotion of {version}"
        )

    def deliver(
        self,
        partition: Partition = DAY,
        *,
        seed: int = 1,
        version: str = "1",
        change: Change | None = None,
        extra: Change | None = None,
    ) -> pd.DataFrame:
        """Write features and served predictions of a partition; the model predicts 100 times the income.

        Args:
            change: of the features, before they are scored.
            extra: of the features that are written, after.
        """
        features = rows_of(seed, partition)
        features = change(features) if change else features
        stored = extra(features) if extra else features
        put(self.lake, FEATURES.of(self.spec, _features_of(stored, self.spec)), stored, partition)
        return self.score(partition, features, predicted(features), version)

    def score(
        self, partition: Partition, rows: pd.DataFrame, predicted: pd.Series, version: str, *, served: bool = True
    ) -> pd.DataFrame:
        """Write predictions of rows; beside those of other versions."""
        predictions = rows[list(self.spec.entity.keys)].assign(**{PREDICTION: predicted, SERVED: served})
        put_predictions(self.lake, self.spec, partition, version, predictions)
        return predictions

    def label(
        self,
        predictions: pd.DataFrame,
        partition: Partition = DAY,
        *,
        rows: int = ROWS,
        noise: float = 20,
        slope: float = 1,
    ) -> np.ndarray:
        """Write labels: so many times the prediction less 10, with noise. Returns the errors."""
        errors = 10 + np.random.default_rng(9).normal(0, noise, rows)
        chosen = predictions.iloc[:rows]
        labels = chosen[list(self.spec.entity.keys)].assign(
            **{
                self.spec.target: slope * chosen[PREDICTION] - errors,
                ARRIVED_AT: partition.shift(1).start,
            }
        )
        put(self.lake, LABELS.of(self.spec), labels.sample(frac=1, random_state=1), partition)
        return errors


def predicted(rows: pd.DataFrame) -> pd.Series:
    return rows["income"] * 100


def rows_of(seed: int, partition: Partition = HISTORY, rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "listing_id": np.arange(rows) + 10_000 * seed,
            EVENT_TIMESTAMP: partition.start,
            "income": rng.lognormal(1, 0.4, rows),
            "age": rng.integers(1, 53, rows).astype(float),
            "coastal": rng.integers(0, 2, rows).astype(float),
        }
    )


def trained(seed: int = 0, rows: int = 3000, split: str = "train") -> pd.DataFrame:
    """Rows of a training set."""
    return rows_of(seed, rows=rows).assign(**{SPLIT: split, "median_house_value": 1.0, PARTITION: HISTORY.key})


def _features_of(rows: pd.DataFrame, spec: ModelSpec, *others: str) -> dict[str, pa.DataType]:
    known = {*spec.entity.keys, EVENT_TIMESTAMP, PARTITION, *others}
    return {name: pa.float64() for name in rows.columns if name not in known}


@pytest.fixture
def scene(tmp_path: Path, mlflow_store: None) -> Scene:
    """Version 1 was trained on 3,000 rows and is in production; nothing has been delivered."""
    spec = catalogue.load("california_housing").model_copy(update={"name": f"houses_{uuid4().hex[:8]}"})
    made = Scene(spec, Lakehouse(str(tmp_path)))
    made.promote(made.train(trained()))
    return made
