"""A small world for tests: history and daily batches in real Delta tables, and a Feast repository."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64

from include.core import catalogue
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import query
from include.lakehouse import windows
from include.lakehouse.schemas import ARRIVED_AT, CLEAN, EVENT_TIMESTAMP, LABELS, METRICS, MODEL_VERSION, RAW
from include.lakehouse.tables import Lakehouse
from include.models.california_housing import sample
from tests.tables import day, put

HISTORY = day("2025-01-01")


@dataclass
class World:
    """``deliver`` partitions, then ``store()`` and build training sets."""

    spec: ModelSpec
    lake: Lakehouse
    folder: Path
    rows: pd.DataFrame
    """Rows of the housing file with listing_id, shuffled, not yet delivered."""

    def deliver(
        self,
        partition: Partition,
        count: int,
        income_factor: float = 1.0,
        arrives_after: int = 1,
        price_factor: float = 1.0,
    ) -> pd.DataFrame:
        """Take ``count`` rows as the partition's batch: clean_, features_, and labels_ that arrive days later."""
        batch, self.rows = self.rows.iloc[:count].copy(), self.rows.iloc[count:]
        batch["median_income"] *= income_factor
        batch[self.spec.target] *= price_factor
        batch[EVENT_TIMESTAMP] = pd.Timestamp(partition.start).as_unit("us")
        put(self.lake, CLEAN.of(self.spec), batch[[*self.spec.columns, EVENT_TIMESTAMP]], partition)
        raw = pd.DataFrame({"source_file": "landing/world.csv", "row_number": np.arange(count) + 1})
        put(self.lake, RAW.of(self.spec), raw, partition)
        arrived = pd.Timestamp(partition.shift(arrives_after).start).as_unit("us")
        labels = batch[["listing_id", self.spec.target]].assign(**{ARRIVED_AT: arrived})
        put(self.lake, LABELS.of(self.spec), labels, partition)
        query.write(self.spec, self.lake, partition)
        self.measured(partition, drifted=income_factor != 1.0)
        return batch

    def measured(
        self,
        partition: Partition,
        drifted: bool,
        *,
        version: str | None = None,
        healthy: str | None = None,
        faulty: bool = False,
    ) -> None:
        """What monitoring leaves of a partition, as far as training reads it.

        Args:
            version: whose predictions missed because what is predicted has changed; None where it has not.
            healthy: one whose predictions did not.
            faulty: whether a mistake of who delivered it was found.
        """
        rows = [("rows", windows.ALL, 1.0), ("labelled_rows", windows.ALL, 0.0), ("drifted", "median_income", drifted)]
        rows.append((windows.CONCEPT_DRIFTED, windows.ALL, version is not None))
        if faulty:
            rows.append((f"{windows.FAULT}:rows:times_10", "median_income", 0.05))
        frame = pd.DataFrame(rows, columns=["metric", "slice", "value"]).astype({"value": float})
        frame = frame.assign(**{MODEL_VERSION: version or healthy})
        put(self.lake, METRICS.of(self.spec), frame, {"partition_key": partition.key, "source": windows.SOURCE})

    def store(self) -> FeatureStore:
        """A Feast repository over what has been delivered so far."""
        parquet = self.folder / "features.parquet"
        features = self.lake.read(self.spec.table("features")).to_pandas()
        names = list(query.feature_schema(self.spec))
        features.astype(dict.fromkeys(names, "float64")).to_parquet(parquet)
        config = RepoConfig(
            project="test",
            provider="local",
            registry=str(self.folder / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store=None,
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        entity = Entity(name="listing", join_keys=["listing_id"], value_type=ValueType.INT64)
        view = FeatureView(
            name="california_housing_features",
            entities=[entity],
            ttl=timedelta(days=self.spec.features.ttl_days),
            schema=[
                Field(name="listing_id", dtype=Int64),
                *(Field(name=name, dtype=Float64) for name in names),
            ],
            source=FileSource(path=str(parquet), timestamp_field="event_timestamp"),
        )
        store.apply([entity, view, FeatureService(name=self.spec.feature_service, features=[view])])
        return store


def make(folder: Path, seed: int = 1, trials: int = 4) -> World:
    """A world in which nothing has been delivered; few search trials keep tests short."""
    folder.mkdir(parents=True, exist_ok=True)
    return World(quick_spec(trials), Lakehouse(str(folder / "lakehouse")), folder, housing(seed))


def quick_spec(trials: int) -> ModelSpec:
    spec = catalogue.load("california_housing")
    content = json.loads(spec.model_dump_json())
    content["training"]["search"]["trials"] = trials
    quick = ModelSpec.model_validate(content)
    quick._folder = spec.folder
    return quick


def housing(seed: int) -> pd.DataFrame:
    """The real file if HOUSING_CSV names it, else the generated sample; complete rows, shuffled."""
    rows = _complete_rows(os.environ.get("HOUSING_CSV"))
    order = np.random.default_rng(seed).permutation(len(rows))
    rows = rows.iloc[order].reset_index(drop=True)
    return rows.assign(listing_id=np.arange(1, len(rows) + 1), median_house_value=rows.median_house_value.astype(float))


@cache
def _complete_rows(path: str | None) -> pd.DataFrame:
    rows = pd.read_csv(path) if path else sample.generate()
    return rows.dropna(subset="total_bedrooms")
