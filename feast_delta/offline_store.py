"""Feast's offline store on Delta tables, read as Arrow and joined in time by DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from feast.data_source import DataSource
from feast.errors import FeastEntityDFMissingColumnsError, SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feast_delta.errors import DataError
from feast_delta.point_in_time import FeatureRows, join, latest, to_microseconds
from feast_delta.registry import give_versions
from feast_delta.source import DeltaSource, SavedDatasetDeltaStorage, arrow_schema, scan, source_column

give_versions()


class DeltaOfflineStoreConfig(FeastConfigBaseModel):
    """The section ``offline_store`` of feature_store.yaml."""

    type: str = "feast_delta.offline_store.DeltaOfflineStore"
    lakehouse_uri: str = ""
    """Folder or URL below which the Delta tables live, for definitions that read it here: the store itself does not."""
    memory_limit: str | None = None
    """Memory that DuckDB may use before it spills to disk, e.g. ``2GB``; four fifths of all by default."""
    threads: int | None = None

    @property
    def duckdb_settings(self) -> dict[str, str]:
        settings = {"memory_limit": self.memory_limit, "threads": self.threads}
        return {name: str(value) for name, value in settings.items() if value is not None}


class DeltaRetrievalJob(RetrievalJob):
    """A retrieval that runs when its result is asked for, on the table versions it was made for.

    ``table_versions`` gives, for the name of each source, the Delta version that is read.
    """

    def __init__(
        self,
        query: Callable[[], pa.Table | Iterator[pa.RecordBatch]],
        *,
        table_versions: dict[str, int],
        metadata: RetrievalMetadata | None = None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
    ) -> None:
        self._query = query
        self.table_versions = table_versions
        self._metadata = metadata
        self._on_demand_feature_views = on_demand_feature_views or []
        self._full_feature_names = full_feature_names

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The result in batches; where it comes in batches, it is never in memory as a whole."""
        result = self._query()
        yield from result.to_batches() if isinstance(result, pa.Table) else result

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        result = self._query()
        # One chunk: Feast's local engine writes the first one only to the online store.
        return result if isinstance(result, pa.Table) else pa.Table.from_batches(result).combine_chunks()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal().to_pandas()

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result as a Delta table of its own.

        Raises:
            SavedDatasetLocationAlreadyExists: unless ``allow_overwrite``.
        """
        if not isinstance(storage, SavedDatasetDeltaStorage):
            raise DataError(f"{type(storage).__name__} is no Delta table", fix="Use SavedDatasetDeltaStorage")
        if DeltaTable.is_deltatable(storage.path) and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=storage.path)
        write_deltalake(storage.path, self.to_arrow(), mode="overwrite", schema_mode="overwrite")


class DeltaOfflineStore(OfflineStore):
    """Feast's offline store for sources of type ``DeltaSource``."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **period: datetime,
    ) -> RetrievalJob:
        """Join the features of the views to the entity rows, each as of its time.

        Raises:
            DataError: the entity frame is no pandas frame, or a time, a key or a name in it cannot be used.
            FeastEntityDFMissingColumnsError: a join key is missing in it.
        """
        if not feature_refs:
            raise DataError("no feature is asked for", fix="Name features as <view>:<feature>, or a feature service")
        if not isinstance(entity_df, pd.DataFrame):
            given = "an SQL string" if isinstance(entity_df, str) else "no entity frame"
            fix = "Pass a pandas DataFrame of keys and times"
            raise DataError(f"features were asked for with {given}", fix=fix)
        at_name = infer_event_timestamp_from_entity_df({str(name): kind for name, kind in entity_df.dtypes.items()})
        entities, at = _entity_rows(entity_df, at_name)
        lookups = [_Lookup(view, _requested(view, feature_refs), full_feature_names) for view in feature_views]
        for lookup in lookups:
            lookup.check(entities)
        names = [*entities.column_names, *(name for lookup in lookups for name in lookup.output)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise DataError(
                f"the entity frame and the features both have {', '.join(repeated)}",
                fix="Rename the column of the entity frame, or ask for full_feature_names",
            )

        settings = config.offline_store.duckdb_settings

        def query() -> pa.Table:
            result = entities
            for lookup in lookups:
                found = lookup.find(entities, at, filter_by_created_timestamp, settings)
                for name, column in zip(lookup.output, found.columns, strict=True):
                    result = result.append_column(name, column)
            return result

        oldest, newest = _bounds(at)
        return DeltaRetrievalJob(
            query,
            table_versions={lookup.source.name: lookup.table.version() for lookup in lookups},
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entities.column_names if name != at_name],
                min_event_timestamp=oldest,
                max_event_timestamp=newest,
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> DeltaRetrievalJob:
        """The newest row of every key in the time from ``start_date`` to ``end_date``, both included."""
        source, table = _opened(data_source)
        created = created_timestamp_column or None
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, *([created] if created else [])]

        def query() -> pa.Table | Iterator[pa.RecordBatch]:
            scanner = scan(source, table, columns, timestamp_field, created, start_date, end_date)
            rows = FeatureRows(
                rows=scanner.to_reader(),
                keys=join_key_columns,
                timestamp=timestamp_field,
                features=feature_name_columns,
                created=created,
            )
            found = latest(rows, config.offline_store.duckdb_settings)
            if join_key_columns:
                return found
            only = pa.Table.from_batches(found)
            return only.append_column(DUMMY_ENTITY_ID, pa.repeat(DUMMY_ENTITY_VAL, only.num_rows)).combine_chunks()

        return DeltaRetrievalJob(query, table_versions={source.name: table.version()})

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows with an event time from ``start_date`` to ``end_date``, both included."""
        source, table = _opened(data_source)
        created = created_timestamp_column or None
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, *([created] if created else [])]

        def query() -> pa.Table:
            scanner = scan(source, table, columns, timestamp_field, created, start_date, end_date)
            return scanner.to_table().combine_chunks()

        return DeltaRetrievalJob(query, table_versions={source.name: table.version()})

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows into the view's table; a row that is there already (same keys and times) is replaced.

        Raises:
            DataError: the columns are not those of the table.
        """
        source, target = _opened(feature_view.batch_source)
        schema = arrow_schema(target)
        expected = [name for name in schema.names if name != source.date_partition_column]
        table = table.rename_columns([source_column(source, name) for name in table.column_names])
        if sorted(table.column_names) != sorted(expected):
            raise DataError(
                f"rows for {feature_view.name} have the columns {', '.join(sorted(table.column_names))}",
                where=source.path,
                fix=f"The table has {', '.join(sorted(expected))}",
            )
        timestamp = source_column(source, source.timestamp_field)
        rows = table.select(expected).cast(pa.schema([schema.field(name) for name in expected]))
        if source.date_partition_column:
            rows = rows.append_column(source.date_partition_column, rows[timestamp].cast(pa.date32()))
        keys = [source_column(source, key) for key in feature_view.join_keys if key != DUMMY_ENTITY_ID]
        if source.created_timestamp_column:
            keys.append(source_column(source, source.created_timestamp_column))
        same = [f"old.`{name}` = new.`{name}`" for name in (*keys, timestamp)]
        merge = target.merge(rows, predicate=" AND ".join(same), source_alias="new", target_alias="old")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
        if progress:
            progress(rows.num_rows)


class _Lookup:
    """One feature view of a retrieval: where its columns are, and what they are called in the result."""

    def __init__(self, view: FeatureView, features: list[str], full_feature_names: bool) -> None:
        self.view = view
        self.source, self.table = _opened(view.batch_source)
        entity_columns = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
        self.entity_keys = [view.projection.join_key_map.get(name, name) for name in entity_columns]
        self.keys = [source_column(self.source, name) for name in entity_columns]
        self.features = [source_column(self.source, name) for name in features]
        prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
        self.output = [prefix + name for name in features]
        self.timestamp = source_column(self.source, self.source.timestamp_field)
        created = self.source.created_timestamp_column
        self.created = source_column(self.source, created) if created else None

    def check(self, entities: pa.Table) -> None:
        missing = set(self.entity_keys) - set(entities.column_names)
        if missing:
            raise FeastEntityDFMissingColumnsError(set(self.entity_keys), missing)

    def find(self, entities: pa.Table, at: pa.ChunkedArray, known_then: bool, settings: dict[str, str]) -> pa.Table:
        times = [self.timestamp, self.created] if self.created else [self.timestamp]
        columns = list(dict.fromkeys([*self.keys, *self.features, *times]))
        oldest, newest = _bounds(at)
        start = oldest - self.view.ttl if self.view.ttl and oldest else None
        schema = arrow_schema(self.table)
        keys = [
            _comparable(entities[name], schema.field(key).type, name)
            for name, key in zip(self.entity_keys, self.keys, strict=True)
        ]
        asked = _distinct(self.keys, keys, schema)
        scanner = scan(self.source, self.table, columns, self.timestamp, self.created, start, newest, asked)
        rows = FeatureRows(
            rows=scanner.to_reader(),
            keys=self.keys,
            timestamp=self.timestamp,
            features=self.features,
            created=self.created,
            ttl=self.view.ttl,
        )
        return join(keys, at, rows, known_then=known_then, settings=settings)


def _requested(view: FeatureView, feature_refs: list[str]) -> list[str]:
    prefix = f"{view.projection.name_to_use()}:"
    return list(dict.fromkeys(ref.removeprefix(prefix) for ref in feature_refs if ref.startswith(prefix)))


def _entity_rows(entity_df: pd.DataFrame, at_name: str) -> tuple[pa.Table, pa.ChunkedArray]:
    """The entity frame as Arrow, its times in UTC; and those times."""
    try:
        # Times without a zone count as UTC, as everywhere in Feast.
        times = pd.to_datetime(entity_df[at_name], utc=True)
        entities = pa.Table.from_pandas(entity_df.assign(**{at_name: times}), preserve_index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise DataError(f"the entity frame cannot be read: {error}") from None
    entities = entities.replace_schema_metadata(None)
    if entities[at_name].null_count:
        raise DataError(f"{entities[at_name].null_count} rows of the entity frame have no {at_name}")
    return entities, entities[at_name]


def _bounds(at: pa.ChunkedArray) -> tuple[datetime | None, datetime | None]:
    bounds = pc.min_max(to_microseconds(at)).as_py()
    return bounds["min"], bounds["max"]


def _comparable(values: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    """Entity keys in the type of the table's keys: pandas makes floats of integers where a key is missing."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    text = (pa.types.is_string, pa.types.is_large_string)
    if pa.types.is_null(values.type) or (pa.types.is_floating(values.type) and pa.types.is_integer(kind)):
        try:
            return values.cast(kind)
        except pa.ArrowInvalid as error:
            raise DataError(f"entity key {name} has values that are no whole numbers: {error}") from None
    if any(test(values.type) for test in text) != any(test(kind) for test in text):
        raise DataError(
            f"entity key {name} is of type {values.type} in the entity frame and {kind} in the table",
            fix="Convert the column of the entity frame",
        )
    return values


def _distinct(names: Sequence[str], keys: Sequence[pa.ChunkedArray], schema: pa.Schema) -> dict[str, pa.Array]:
    """The values of each key column once, in the type of the table; not of a column whose values that cannot hold.

    Whole numbers and texts alone: of these Arrow finds equal what DuckDB does (of floats, 0.0 and -0.0 it does not).
    """
    found = {}
    for name, values in zip(names, keys, strict=True):
        kind = schema.field(name).type
        if pa.types.is_integer(kind) or pa.types.is_string(kind):
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                found[name] = pc.unique(values).drop_null().cast(kind)
    return found


def _opened(source: DataSource | None) -> tuple[DeltaSource, DeltaTable]:
    if not isinstance(source, DeltaSource):
        raise DataError(f"{type(source).__name__} is no Delta table", fix="Use a DeltaSource")
    return source, source.open()
