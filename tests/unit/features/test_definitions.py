from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from feast import Entity, FeatureService, FeatureView
from feast.data_source import DataSource
from feast.saved_dataset import SavedDatasetStorage
from feast.types import Float64, Int32, Int64

from feast_delta.source import DeltaSource, SavedDatasetDeltaStorage
from include.core.errors import ConfigError
from include.features.definitions import feast_objects


def test_objects_come_from_the_model_folder(make_spec):
    spec = make_spec(**{"  ttl_days: 400\n": "  ttl_days: 30\n  descriptions: {inland: 1 if inland}\n"})
    entity, source, view, service = feast_objects(spec, "s3://bucket/lake")
    assert isinstance(entity, Entity)
    assert (entity.name, entity.join_key) == ("california_housing_listing", "listing_id")
    assert isinstance(source, DeltaSource)
    assert source.path == "s3://bucket/lake/features_california_housing"
    assert isinstance(view, FeatureView)
    assert view.name == "california_housing_features"
    assert (view.ttl, view.online, view.owner) == (timedelta(days=30), True, "data-platform")
    assert view.tags == {
        "model": "california_housing",
        "domain": "housing",
        "source.table": "features_california_housing",
        "source.clean_table": "clean_california_housing",
        "source.sql_sha256": hashlib.sha256((spec.folder / "features.sql").read_bytes()).hexdigest()[:16],
    }
    assert source.tags == service.tags == view.tags
    assert {field.tags["source.table"] for field in view.features} == {"features_california_housing"}
    types = {field.name: field.dtype for field in view.schema}
    assert types == {
        "listing_id": Int64,
        "median_income": Float64,
        "rooms_per_household": Float64,
        "inland": Int32,
    }
    described = {field.name: field.description for field in view.features}
    assert described["inland"] == "1 if inland"
    assert described["median_income"] == "Median household income, in 10,000 US dollars"
    assert isinstance(service, FeatureService)
    assert service.name == "california_housing_v1"


def test_a_description_of_no_feature_names_the_key(make_spec):
    spec = make_spec(**{"  ttl_days: 400\n": "  ttl_days: 400\n  descriptions: {rooms: many}\n"})
    with pytest.raises(ConfigError, match=r"model.yaml: key features.descriptions: features.sql selects no rooms"):
        feast_objects(spec, "/lake")


def test_a_key_that_feast_cannot_keep_is_refused(make_spec):
    spec = make_spec(**{"listing_id: {type: integer": "listing_id: {type: number"})
    with pytest.raises(ConfigError, match=r"key entity.keys: listing_id is of type number\. Feast has keys"):
        feast_objects(spec, "/lake")


def test_a_relative_lakehouse_is_refused(spec):
    with pytest.raises(ConfigError, match="FLIGHTLINE_LAKEHOUSE_URI is the relative path 'var/lake'"):
        feast_objects(spec, "var/lake")


def test_no_folder_can_take_the_names_of_another(make_spec):
    first = feast_objects(make_spec(), "/lake")
    copied = feast_objects(make_spec(name="california"), "/lake")
    assert {(type(item), item.name) for item in first}.isdisjoint((type(item), item.name) for item in copied)


def test_source_and_storage_survive_the_registry():
    source = DeltaSource(
        path="/lake/features_x",
        name="features_x",
        timestamp_field="at",
        created_timestamp_column="known",
        field_mapping={"a": "b"},
        date_partition_column="batch_date",
        description="d",
        tags={"model": "x"},
        owner="o",
    )
    assert DataSource.from_proto(source.to_proto()) == source
    assert DataSource.from_proto(source.to_proto()) != DeltaSource(path="/elsewhere", name="features_x")
    storage = SavedDatasetStorage.from_proto(SavedDatasetDeltaStorage("/lake/saved").to_proto())
    assert isinstance(storage, SavedDatasetDeltaStorage)
    assert storage.path == "/lake/saved"
