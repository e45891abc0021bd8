"""Definitions that were applied anew, in a process that has read the ones before."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
from feast import FeatureStore, RepoConfig
from feast.infra.registry.sql import SqlRegistry
from feast.protos.feast.core.Registry_pb2 import Registry

from feast_delta.registry import give_versions
from tests.unit.feast_delta.online.conftest import PROJECT, VIEW, define


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project=PROJECT,
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{tmp_path}/registry.db"},
            offline_store={"type": "feast_delta.offline_store.DeltaOfflineStore", "lakehouse_uri": str(tmp_path)},
            online_store=None,
            entity_key_serialization_version=3,
        )
    )


def features(store: FeatureStore) -> tuple[list[str], list[str]]:
    """Of the view by its name and in the list, as the way to the online store asks for them."""
    view = store.registry.get_any_feature_view(VIEW, PROJECT, allow_cache=True)
    (listed,) = store.registry.list_feature_views(PROJECT, allow_cache=True)
    return [field.name for field in view.features], [field.name for field in listed.features]


def test_a_state_is_not_taken_for_one_that_lay_at_its_address(store):
    define(store, "median_income")
    store.refresh_registry()
    assert features(store) == (["median_income"], ["median_income"])
    address, version = id(store.registry.cached_registry_proto), store.registry.cached_registry_proto.version_id
    define(store, "income")
    store.registry.cached_registry_proto = None  # the state that was parsed is gone, as with a store that is dropped
    elsewhere = list(takewhile(lambda state: id(state) != address, (Registry() for _ in range(10_000))))
    store.refresh_registry()  # it lies there as a rule, and where it does not, the versions differ all the same
    assert len({version, store.registry.cached_registry_proto.version_id, ""}) == 3, len(elsewhere)
    assert features(store) == (["income"], ["income"])


def test_versions_are_given_once():
    proto = SqlRegistry.proto
    give_versions()
    assert SqlRegistry.proto is proto
