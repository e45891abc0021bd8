"""The feature store: definitions applied, days materialised, online values held against offline ones."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureService, FeatureStore, FeatureView
from feast.data_source import DataSource
from feast.errors import FeastObjectNotFoundException
from feast.feast_object import FeastObject
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from include.errors import ConfigError, DataError
from include.features import query
from include.features.definitions import check_names, feast_objects, view_name
from include.lakehouse.tables import Lakehouse
from include.models import catalogue
from include.models.spec import ModelSpec
from include.places import PROJECT_ROOT

REPOSITORY = PROJECT_ROOT / "feature_repo"
VARIABLES = (
    "FLIGHTLINE_LAKEHOUSE_URI",
    "FLIGHTLINE_FEAST_REGISTRY",
    "FLIGHTLINE_FEAST_ONLINE_HOST",
    "FLIGHTLINE_FEAST_ONLINE_PORT",
    "FLIGHTLINE_FEAST_ONLINE_DATABASE",
    "FLIGHTLINE_FEAST_ONLINE_USER",
)
MAY_BE_EMPTY = ("FLIGHTLINE_FEAST_ONLINE_PASSWORD",)
REGISTRY_LOCK = 4_210_000_001  # any number, the same in every process

PARITY_KEYS = 200
RELATIVE_TOLERANCE = {pa.float32(): 1e-6, pa.float64(): 1e-12}
TIMESTAMP_SUFFIX = "__ts"


@dataclass(frozen=True)
class Parity:
    """How the values served online compare with a point-in-time join of the table.

    ``mismatches`` counts values (key x feature) that differ, ``features`` names the features they are of.
    ``expired`` counts keys with online values older than the time to live: served, but unseen in training.
    """

    keys: int
    mismatches: int
    expired: int
    features: tuple[str, ...]


def open_store(environ: Mapping[str, str] | None = None) -> FeatureStore:
    """Open the Feast repository ``feature_repo`` and its registry.

    Raises:
        ConfigError: naming the environment variable that is missing.
    """
    environ = os.environ if environ is None else environ
    missing = [name for name in VARIABLES if not environ.get(name)]
    missing += [name for name in MAY_BE_EMPTY if name not in environ]
    if missing:
        raise ConfigError(
            f"environment variable {missing[0]} is not set",
            where="feature_repo/feature_store.yaml",
            fix="Run `make up`, then `. var/env`; or set it yourself",
        )
    store = FeatureStore(repo_path=str(REPOSITORY))
    with _registry_lock(store):
        store.registry  # noqa: B018  (creates its tables when it is opened first)
    return store


def apply(store: FeatureStore, spec: ModelSpec) -> bool:
    """Register a model's definitions if they differ from the registered ones. Safe beside another ``apply``.

    Returns:
        Whether anything had to be changed.

    Raises:
        ConfigError: the SQL is wrong, or another model has the same names.
    """
    check_names([spec, *_other_models(spec)])
    wanted = feast_objects(spec, store.config.offline_store.lakehouse_uri)
    with _registry_lock(store):
        store.refresh_registry()
        if all(_is_registered(store, item) for item in wanted):
            return False
        store.apply(wanted)
    return True


def materialize(store: FeatureStore, spec: ModelSpec, day: date) -> None:
    """Copy the day's features into the online store. Safe to repeat, in any order of days.

    The interval is the day's alone: Feast includes both ends, so it stops a microsecond before the next day.
    """
    store.materialize(query.day_start(day), query.day_end(day), feature_views=[view_name(spec)])


def check_parity(store: FeatureStore, spec: ModelSpec, lake: Lakehouse, day: date, keys: int = PARITY_KEYS) -> Parity:
    """Read a sample of keys online, and offline by a point-in-time join as of the same moment, and compare.

    The moment is the end of the day; for a key whose online values are newer (a backfill), it is their time.
    The sample is the same for the same table: half of it keys of the day, the rest keys of the days before.

    Raises:
        DataError: the day has no features.
    """
    sample = _sample(spec, lake, day, keys)
    service = store.get_feature_service(spec.features.service)
    features = query.feature_schema(spec)
    online = store.get_online_features(
        features=service, entity_rows=[{spec.entity.key: key} for key in sample]
    ).to_dict(include_event_timestamps=True)
    at = _event_times(online, list(features), len(sample))
    moment = query.day_end(day)
    entity_df = pd.DataFrame(
        {
            spec.entity.key: sample,
            query.EVENT_TIMESTAMP: [max(moment, served) if served else moment for served in at],
        }
    )
    offline = store.get_historical_features(entity_df=entity_df, features=service).to_arrow().to_pydict()
    ttl = spec.features.ttl_days * 86_400
    expired = {row for row, served in enumerate(at) if served and (moment - served).total_seconds() > ttl}
    differing = {
        name: sum(
            not _same(online[name][row], offline[name][row], kind) for row in range(len(sample)) if row not in expired
        )
        for name, kind in features.items()
    }
    return Parity(
        keys=len(sample),
        mismatches=sum(differing.values()),
        expired=len(expired),
        features=tuple(name for name, count in differing.items() if count),
    )


def _sample(spec: ModelSpec, lake: Lakehouse, day: date, keys: int) -> list[Any]:
    """Keys that have features by the day, the day's own first, in the order of their hashes."""
    rows = lake.read(
        spec.table("features"),
        where=[(query.BATCH_DATE, "<=", day)],
        columns=[spec.entity.key, query.BATCH_DATE],
    )
    newest = rows.group_by(spec.entity.key).aggregate([(query.BATCH_DATE, "max")]).to_pandas()
    newest["order"] = pd.util.hash_array(newest[spec.entity.key].astype(str).to_numpy(dtype=object))
    newest = newest.sort_values(["order", spec.entity.key])
    of_day = newest[f"{query.BATCH_DATE}_max"] == day
    if not of_day.any():
        raise DataError(f"{spec.table('features')} has no rows of {day}", fix="Build the features of that day first")
    before = newest[~of_day][spec.entity.key].tolist()
    of_day_keys = newest[of_day][spec.entity.key].tolist()
    first = of_day_keys[: max(keys - len(before), keys // 2)]
    return first + before[: keys - len(first)]


def _event_times(online: Mapping[str, Sequence[Any]], features: list[str], rows: int) -> list[datetime | None]:
    """Event time of each key's online values; None for a key that is not online (Feast gives the epoch)."""
    seconds = [max(online[name + TIMESTAMP_SUFFIX][row] for name in features) for row in range(rows)]
    return [datetime.fromtimestamp(value, UTC) if value else None for value in seconds]


def _same(online: Any, offline: Any, kind: pa.DataType) -> bool:
    if online is None or offline is None:
        return online is offline
    tolerance = RELATIVE_TOLERANCE.get(kind)
    return bool(online == offline if tolerance is None else math.isclose(online, offline, rel_tol=tolerance))


def _other_models(spec: ModelSpec) -> Iterator[ModelSpec]:
    for name in catalogue.registered():
        if name != spec.name:
            try:
                yield catalogue.load(name)
            except ConfigError:
                continue  # reported by that model's own DAGs, no reason to stop this one


def _is_registered(store: FeatureStore, wanted: FeastObject) -> bool:
    try:
        match wanted:
            case FeatureView():
                registered = store.get_feature_view(wanted.name)
                # What has been materialised is no part of the definition.
                registered.materialization_intervals = wanted.materialization_intervals
                return bool(registered == wanted)
            case Entity():
                return bool(store.get_entity(wanted.name) == wanted)
            case FeatureService():
                return bool(store.get_feature_service(wanted.name) == wanted)
            case DataSource():
                return bool(store.get_data_source(wanted.name) == wanted)
            case _:
                return False
    except FeastObjectNotFoundException:
        return False


@contextmanager
def _registry_lock(store: FeatureStore) -> Iterator[None]:
    """Hold the registry against other processes: Feast creates and changes it in several transactions."""
    engine = create_engine(store.config.registry.path, poolclass=NullPool)
    if engine.dialect.name != "postgresql":
        raise ConfigError(
            f"FLIGHTLINE_FEAST_REGISTRY is a {engine.dialect.name} database",
            where="feature_repo/feature_store.yaml",
            fix="The registry is kept in PostgreSQL",
        )
    with engine.connect() as connection:  # closing the connection releases the lock, also after a crash
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": REGISTRY_LOCK})
        yield
