"""The Feast objects of a model: all of them come from its model.yaml and its features.sql."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import PurePath

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.feast_object import FeastObject
from feast.types import Bool, FeastType, Float32, Float64, Int32, Int64, String

from feast_delta.source import DeltaSource
from include.core import duration
from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.features import categories
from include.features.query import feature_schema
from include.lakehouse.schemas import EVENT_TIMESTAMP, PARTITION

FEAST_TYPES: dict[pa.DataType, FeastType] = {
    pa.bool_(): Bool,
    pa.int32(): Int32,
    pa.int64(): Int64,
    pa.float32(): Float32,
    pa.float64(): Float64,
}
KEY_TYPES = {
    "integer": (ValueType.INT64, Int64),
    "text": (ValueType.STRING, String),
}


def feast_objects(spec: ModelSpec, lakehouse_uri: str) -> list[FeastObject]:
    """Entity, source, feature view and feature service of one model, each after those that it needs.

    Args:
        lakehouse_uri: absolute folder or URL below which the Delta tables live; the registry keeps it.

    Raises:
        ConfigError: features.sql is wrong, or model.yaml describes a feature that it does not select.
    """
    if "://" not in lakehouse_uri and not PurePath(lakehouse_uri).is_absolute():
        raise ConfigError(
            f"FLIGHTLINE_LAKEHOUSE_URI is the relative path {lakehouse_uri!r}",
            fix="Make it absolute: the feature registry is read from other folders, too",
        )
    tags = {"model": spec.name, **source_tags(spec), **spec.features.tags}
    entities = _entities(spec)
    table = spec.table("features")
    source = DeltaSource(
        name=table,
        path=f"{lakehouse_uri}/{table}",
        timestamp_field=EVENT_TIMESTAMP,
        date_partition_column=PARTITION,
        description=f"Delta table made from {spec.table('clean')} by {spec.file('features.sql')}",
        tags=tags,
        owner=spec.owner,
    )
    view = FeatureView(
        name=spec.feature_view,
        entities=entities,
        schema=[*_key_fields(spec), *_fields(spec)],
        source=source,
        ttl=timedelta(days=spec.features.ttl_days),
        online=True,
        description=f"Features of {spec.name}",
        tags=tags,
        owner=spec.owner,
    )
    service = FeatureService(
        name=spec.feature_service,
        features=[view],
        description=spec.description,
        tags=tags,
        owner=spec.owner,
    )
    return [*entities, source, view, service]


def source_tags(spec: ModelSpec) -> dict[str, str]:
    """Where the features of a model come from: the tables, how far back, and the SQL by its hash. The same for the same
    files."""
    sql, lookback = (spec.folder / "features.sql").read_bytes(), spec.features.lookback
    return {
        **({"source.lookback": duration.said(lookback)} if lookback else {}),
        "source.table": spec.table("features"),
        "source.clean_table": spec.table("clean"),
        "source.sql_sha256": hashlib.sha256(sql).hexdigest()[:16],
    }


def feature_view(spec: ModelSpec, lakehouse_uri: str) -> FeatureView:
    """The feature view of a model, for definitions that build on it."""
    return next(item for item in feast_objects(spec, lakehouse_uri) if isinstance(item, FeatureView))


def _entities(spec: ModelSpec) -> list[Entity]:
    """Feast's entity has one key: an entity of several keys is one of Feast's for each."""
    found = []
    for key in spec.entity.keys:
        kind = spec.columns[key].type
        if kind not in KEY_TYPES:
            raise ConfigError(
                f"key entity.keys: {key} is of type {kind}",
                where=spec.file(),
                fix="Feast has keys of type integer and text",
            )
        name = f"{spec.name}_{spec.entity.name}" + ("" if len(spec.entity.keys) == 1 else f"_{key}")
        value_type, _ = KEY_TYPES[kind]
        found.append(Entity(name=name, join_keys=[key], value_type=value_type, description=spec.entity.description))
    return found


def _key_fields(spec: ModelSpec) -> list[Field]:
    return [Field(name=key, dtype=KEY_TYPES[spec.columns[key].type][1]) for key in spec.entity.keys]


def _fields(spec: ModelSpec) -> list[Field]:
    return [
        Field(
            name=name,
            dtype=FEAST_TYPES[kind],
            description=_description(spec, name),
            tags={"source.table": spec.table("features"), **_codes(spec, name)},
        )
        for name, kind in feature_schema(spec).items()
    ]


def _description(spec: ModelSpec, feature: str) -> str:
    column, own = spec.columns.get(feature), spec.features.descriptions.get(feature)
    return own or categories.described(spec, feature) or (column.description if column else "")


def _codes(spec: ModelSpec, feature: str) -> dict[str, str]:
    """What the codes of a category stand for, as a tag."""
    category = spec.features.coded.get(feature)
    return {"codes": json.dumps(category.codes, ensure_ascii=False)} if category else {}
