"""The feature store: definitions applied, days materialised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView
from feast.data_source import DataSource
from feast.errors import FeastObjectNotFoundException
from feast.feast_object import FeastObject
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from feast_delta import errors
from feast_delta.online import address
from feast_delta.online.following import follow
from include.core.errors import ConfigError, DataError, StackError
from include.core.partition import Partition
from include.core.settings import PROJECT_ROOT, Settings
from include.core.spec import ModelSpec
from include.features.definitions import feast_objects
from include.lakehouse.schemas import FEATURES, PARTITION
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse

REPOSITORY = PROJECT_ROOT / "feature_repo"
NEEDED = ("lakehouse_uri", "feast_registry", "feast_online_store")
ONLINE_STORE = "FLIGHTLINE_FEAST_ONLINE_STORE"
MICROSECOND = timedelta(microseconds=1)
REGISTRY_LOCK, OPENING_LOCK = 4_210_000_001, 4_210_000_003  # any numbers, the same in every process


@dataclass(frozen=True)
class Withdrawn:
    """What was taken out of the features of a partition."""

    rows: int
    """Of the table."""
    keys: int
    """Of the online store: keys that were served values of the partition."""


def open_store() -> FeatureStore:
    """Open the Feast repository ``feature_repo`` and its registry, on the places that the environment names.

    Raises:
        ConfigError: naming the environment variable that is missing, or what is wrong with its value.
    """
    Settings.load(need=NEEDED)
    with answering():
        store = FeatureStore(repo_path=str(REPOSITORY))
    with _registry_lock(store, OPENING_LOCK):
        store.registry  # noqa: B018  (creates its tables when it is opened first)
    return store


def apply(store: FeatureStore, spec: ModelSpec) -> bool:
    """Register a model's definitions if they differ from the registered ones. Safe beside another ``apply``.

    Returns:
        Whether anything had to be changed.

    Raises:
        ConfigError: the SQL is wrong.
        StackError: the online store does not answer.
    """
    wanted = feast_objects(spec, store.config.offline_store.lakehouse_uri)
    with _registry_lock(store):
        store.refresh_registry()
        if all(_is_registered(store, item) for item in wanted):
            return False
        with answering():
            store.apply(wanted)
    return True


def registered(store: FeatureStore, model: str) -> list[FeastObject]:
    """What is registered of a model, for when its folder is broken: `feast apply` deletes what it does not find."""
    found: list[FeastObject] = []
    for view in store.list_feature_views(tags={"model": model}):
        found += [store.get_entity(name) for name in view.entities]
        found += [item for item in (view.batch_source, view) if item is not None]
    return found + list(store.list_feature_services(tags={"model": model}))


def materialize(store: FeatureStore, spec: ModelSpec, partition: Partition) -> None:
    """Copy a partition's features into the online store. Safe to repeat, in any order of partitions.

    The interval is the partition's alone: Feast includes both ends, so it stops a microsecond before the next one.
    Partitions wait for each other: Feast reads a view's list of intervals and writes it back, and one would be lost.
    Those that adjoin are kept as one interval: else the list that is rewritten each time would grow with them.
    A key that the partition had before, and has no more, gets back what it had before that.

    Raises:
        StackError: the online store does not answer.
    """
    with _registry_lock(store), answering():
        store.refresh_registry()
        store.materialize(partition.start, partition.last_moment, feature_views=[spec.feature_view])
        view = store.registry.get_feature_view(spec.feature_view, store.project)
        follow(store, view, partition.start, partition.last_moment)
        view.materialization_intervals = merged(view.materialization_intervals)
        store.registry.apply_feature_view(view, store.project)


def withdraw(store: FeatureStore, spec: ModelSpec, lake: Lakehouse, partition: Partition) -> Withdrawn:
    """Empty a partition of the features table, and take its values out of the online store. Safe to repeat.

    Whoever materialises waits meanwhile, and finds the partition empty then.

    Raises:
        StackError: the online store does not answer.
    """
    table, rows, keys = FEATURES.of(spec), 0, 0
    with _registry_lock(store), answering():
        if rows := lake.count(table, where=within(partition)):
            lake.replace(table, table.schema.empty_table(), {PARTITION: partition.key})
        store.refresh_registry()
        view = {view.name: view for view in store.list_feature_views()}.get(spec.feature_view)
        if view is not None:
            keys = follow(store, view, partition.start, partition.last_moment)
            view.materialization_intervals = without(
                view.materialization_intervals, partition.start, partition.last_moment
            )
            store.registry.apply_feature_view(view, store.project)
    return Withdrawn(rows, keys)


def merged(intervals: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same times in as few intervals as there can be; both ends belong to an interval, in whole microseconds."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1] + MICROSECOND:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def without(
    intervals: Iterable[tuple[datetime, datetime]], first: datetime, last: datetime
) -> list[tuple[datetime, datetime]]:
    """The same times but for those from ``first`` to ``last``.

    Feast keeps a list that it is to replace by an empty one: where nothing else remains, ``first`` alone does.
    """
    left = [
        piece
        for start, end in intervals
        for piece in ((start, min(end, first - MICROSECOND)), (max(start, last + MICROSECOND), end))
        if piece[0] <= piece[1]
    ]
    return merged(left) or [(first, first)]


def read_online(store: FeatureStore, service: str, entities: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What is served for some entities now.

    Args:
        service: name of the feature service.
        entities: the key of each, by column.

    Returns:
        By feature the values in the order of the entities, None where there is none; and ``<feature>__ts``, their event
        times in seconds, 0 where there is none.

    Raises:
        StackError: the online store does not answer.
    """
    with answering():
        served = store.get_online_features(
            features=store.get_feature_service(service), entity_rows=[dict(entity) for entity in entities]
        )
    found: dict[str, list[Any]] = served.to_dict(include_event_timestamps=True)
    return found


@contextmanager
def answering() -> Iterator[None]:
    """Around what asks Feast: the errors of its stores as ours, with what can be set here.

    Raises:
        ConfigError: the address of the online store, or a definition, is wrong.
        DataError: a table is missing or has other columns, or keys and times cannot be joined.
        StackError: the online store does not answer.
    """
    try:
        with address.answering():
            yield
    except errors.AddressError as error:
        where, fix = "feature_repo/feature_store.yaml", f"Set {ONLINE_STORE} to postgresql://... or redis://..."
        raise ConfigError(error.what, where=where, fix=fix) from None
    except errors.OnlineStoreError as error:
        raise StackError(error.what, where=ONLINE_STORE, fix=f"{error.fix}; then clear the task") from None
    except errors.ConfigError as error:
        raise ConfigError(error.what, where=error.where, fix=error.fix) from None
    except errors.DataError as error:
        raise DataError(error.what, where=error.where, fix=error.fix) from None


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
def _registry_lock(store: FeatureStore, lock: int = REGISTRY_LOCK) -> Iterator[None]:
    """Hold the registry against other processes: Feast creates and changes it in several transactions."""
    engine = create_engine(store.config.registry.path, poolclass=NullPool)
    if engine.dialect.name != "postgresql":
        raise ConfigError(
            f"FLIGHTLINE_FEAST_REGISTRY is a {engine.dialect.name} database",
            where="feature_repo/feature_store.yaml",
            fix="The registry is kept in PostgreSQL",
        )
    with engine.connect() as connection:  # closing the connection releases the lock, also after a crash
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": lock})
        yield
