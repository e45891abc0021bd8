"""A small world for tests: history and daily batches in real Delta tables, and a Feast repository."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64

from include.core import catalogue
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.features import query
from include.lakehouse import windows
from include.lakehouse.tables import Lakehouse
from include.models.california_housing import sample

HISTORY = date(2025, 1, 1)


@dataclass
class World:
    """``deliver`` days, then ``store()`` and build training sets."""

    spec: ModelSpec
    lake: Lakehouse
    folder: Path
    rows: pd.DataFrame
    """Rows of the housing file with listing_id, shuffled, not yet delivered."""

    def deliver(self, day: date, count: int, income_factor: float = 1.0, arrives_after: int = 1) -> pd.DataFrame:
        """Take ``count`` rows as the day's batch: clean_, features_, and labels_ that arrive days later."""
        batch, self.rows = self.rows.iloc[:count].copy(), self.rows.iloc[count:]
        batch["median_income"] *= income_factor
        moment = datetime.combine(day, time(), UTC)
        batch["event_timestamp"] = pd.Timestamp(moment).as_unit("us")
        batch["batch_date"] = day
        clean = batch[[*self.spec.columns, "event_timestamp", "batch_date"]]
        self.put("clean", clean, day)
        self.put("raw", batch[["batch_date"]].assign(source_file="landing/world.csv"), day)
        labels = batch[["listing_id", "event_timestamp", self.spec.target, "batch_date"]]
        labels = labels.assign(arrived_at=pd.Timestamp(moment + timedelta(days=arrives_after)).as_unit("us"))
        self.put("labels", labels, day)
        query.write(self.spec, self.lake, day)
        self.measured(day, drifted=income_factor != 1.0)
        return batch

    def measured(self, day: date, drifted: bool) -> None:
        """What monitoring leaves of a day, as far as training reads it."""
        rows = [("rows", windows.ALL, 1.0), ("labelled_rows", windows.ALL, 0.0), ("drifted", "median_income", drifted)]
        table = pa.Table.from_pylist(
            [
                {"window": day, "metric": metric, "slice": slice_, "value": float(value), "source": windows.SOURCE}
                for metric, slice_, value in rows
            ],
            schema=windows.SCHEMA,
        )
        self.lake.replace_partition(self.spec.table("metrics"), table, {"window": day})

    def put(self, layer: str, rows: pd.DataFrame, day: date) -> None:
        table = pa.Table.from_pandas(rows, preserve_index=False)
        position = table.schema.get_field_index("batch_date")
        table = table.set_column(position, "batch_date", table["batch_date"].cast(pa.date32()))
        self.lake.replace_partition(self.spec.table(layer), table, {"batch_date": day})

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
            name="listing_features",
            entities=[entity],
            ttl=timedelta(days=self.spec.features.ttl_days),
            schema=[
                Field(name="listing_id", dtype=Int64),
                *(Field(name=name, dtype=Float64) for name in names),
            ],
            source=FileSource(path=str(parquet), timestamp_field="event_timestamp"),
        )
        store.apply([entity, view, FeatureService(name=self.spec.features.service, features=[view])])
        return store


def make(folder: Path, seed: int = 1, trials: int = 4) -> World:
    """A world in which nothing has been delivered; few search trials keep tests short."""
    folder.mkdir(parents=True, exist_ok=True)
    lakehouse = str(folder / "lakehouse")
    places = Places("dev", str(folder / "landing"), lakehouse, os.environ.get("MLFLOW_TRACKING_URI", ""))
    return World(quick_spec(trials), Lakehouse(places), folder, housing(seed))


def quick_spec(trials: int) -> ModelSpec:
    spec = catalogue.load("california_housing")
    content = json.loads(spec.model_dump_json())
    content["training"]["search"]["trials"] = trials
    quick = ModelSpec.model_validate(content)
    quick._folder = spec.folder
    return quick


def housing(seed: int) -> pd.DataFrame:
    """The real file if HOUSING_CSV names it, else the generated sample; complete rows, shuffled."""
    path = os.environ.get("HOUSING_CSV")
    rows = pd.read_csv(path) if path else sample.generate()
    rows = rows.dropna(subset="total_bedrooms")
    order = np.random.default_rng(seed).permutation(len(rows))
    rows = rows.iloc[order].reset_index(drop=True)
    return rows.assign(listing_id=np.arange(1, len(rows) + 1), median_house_value=rows.median_house_value.astype(float))


def moment(day: date, hour: int = 6) -> datetime:
    return datetime.combine(day, time(hour), UTC)
