"""One key's income, written and read through Feast; and rows written straight into the online store."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int32, Int64

from feast_delta.source import DeltaSource

AT = datetime(2025, 1, 2, tzinfo=UTC)
FEATURES = ("median_income", "rooms_per_household", "inland")
PROJECT, VIEW, SERVICE, REGISTRY = "listings", "listing_features", "listing_service", "FLIGHTLINE_FEAST_REGISTRY"


def open_store() -> FeatureStore:
    """The store at the addresses of the environment."""
    folder = os.environ["LAKEHOUSE"]
    return FeatureStore(
        config=RepoConfig(
            project=PROJECT,
            provider="local",
            registry={"registry_type": "sql", "path": os.environ[REGISTRY]},
            offline_store={"type": "feast_delta.offline_store.DeltaOfflineStore", "lakehouse_uri": folder},
            batch_engine={"type": "feast_delta.engine.ArrowComputeEngine"},
            online_store={
                "type": "feast_delta.online.address.OnlineStore",
                "url": os.environ["FLIGHTLINE_FEAST_ONLINE_STORE"],
            },
            entity_key_serialization_version=3,
        )
    )


def define(store: FeatureStore, *features: str) -> None:
    """Apply the feature view with some features; what is a number is a double, but for ``inland``."""
    entity = Entity(name="listing", join_keys=["listing_id"], value_type=ValueType.INT64)
    fields = [Field(name=name, dtype=Int32 if name == "inland" else Float64) for name in features]
    path = f"{store.config.offline_store.lakehouse_uri}/listings"
    view = FeatureView(
        name=VIEW,
        entities=[entity],
        schema=[Field(name="listing_id", dtype=Int64), *fields],
        source=DeltaSource(path=path, name="listings", timestamp_field="event_timestamp"),
        ttl=timedelta(days=400),
    )
    store.apply([entity, view, FeatureService(name=SERVICE, features=[view])])


def key(number: int) -> EntityKey:
    return EntityKey(join_keys=["listing_id"], entity_values=[Value(int64_val=number)])


def values(income: float) -> dict[str, Value]:
    """A row whose features all follow from one number."""
    return {
        "median_income": Value(double_val=income),
        "rooms_per_household": Value(double_val=income * 2),
        "inland": Value(int32_val=int(income)),
    }


def _value(message: Value) -> Any:
    kind = message.WhichOneof("val")
    return getattr(message, kind) if kind else None


@dataclass
class Online:
    """The online store of a project in which the definitions are applied."""

    store: FeatureStore

    @property
    def stores(self) -> Any:
        return self.store._get_provider().online_store

    def view(self, name: str = "listing_features") -> FeatureView:
        return self.store.get_feature_view(name)

    def write(self, *rows: tuple[int, float, datetime, datetime | None]) -> None:
        """Rows of key, income, event time and created time."""
        data = [(key(number), values(income), event, created) for number, income, event, created in rows]
        self.stores.online_write_batch(self.store.config, self.view(), data, None)

    def read(self, *keys: int) -> list[tuple[datetime | None, list[Any]]]:
        """Event time and the values of all features of each key."""
        asked = [key(number) for number in keys]
        found = self.stores.online_read(self.store.config, self.view(), asked, list(FEATURES))
        return [(at, [_value(row[name]) for name in FEATURES] if row else []) for at, row in found]

    def served(self, *features: str, number: int = 1) -> list[Any]:
        """What Feast's users get for a key."""
        names = [f"listing_features:{feature}" for feature in features]
        found = self.store.get_online_features(features=names, entity_rows=[{"listing_id": number}]).to_dict()
        return [found[feature][0] for feature in features]


@pytest.fixture
def feast_environment(feast_addresses: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses of empty stores, on each kind of online store."""
    for name, value in {"LAKEHOUSE": str(tmp_path), **feast_addresses}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def online(feast_environment) -> Online:
    store = open_store()
    define(store, *FEATURES)
    return Online(store)


def reopened() -> Online:
    """The same store as another process sees it: without what Feast has cached."""
    return Online(open_store())


@pytest.fixture
def write(online: Online) -> Callable[..., tuple[float, datetime]]:
    """Return a function that writes incomes of one key at times, and gives what is served then."""

    def write(*rows: tuple[int, float]) -> tuple[float, datetime]:
        frame = pd.DataFrame(
            {
                "listing_id": 1,
                "event_timestamp": [AT + timedelta(hours=hours) for hours, _ in rows],
                "median_income": [income for _, income in rows],
                "rooms_per_household": 1.0,
                "inland": pd.array([1] * len(rows), dtype="int32"),
            }
        )
        online.store.write_to_online_store("listing_features", frame)
        served = online.store.get_online_features(
            features=["listing_features:median_income"], entity_rows=[{"listing_id": 1}]
        ).to_dict(include_event_timestamps=True)
        return served["median_income"][0], datetime.fromtimestamp(served["median_income__ts"][0], UTC)

    return write
