"""Delta tables as Feast's data sources and saved datasets, by its extension points for both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as SavedDatasetStorageProto
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from feast.type_map import pa_to_feast_value_type
from feast.value_type import ValueType

from feast_delta import files
from feast_delta.errors import DataError
from feast_delta.point_in_time import TIMESTAMP

FEW = 10
"""Rows that a table has at least for each key that is looked for, where it is filtered by key: else that only costs."""


class DeltaSource(DataSource):
    """A Delta table that holds the rows of one feature view.

    Args:
        path: folder or object-store URL of the table.
        date_partition_column: the partition column, derived from the event time, that is no feature.
        version: of the table; the newest one by default.
        rows: only the rows with these values, by column; all by default.
    """

    def __init__(
        self,
        *,
        path: str,
        version: int | None = None,
        rows: Mapping[str, str] | None = None,
        name: str | None = None,
        timestamp_field: str | None = None,
        created_timestamp_column: str | None = None,
        field_mapping: dict[str, str] | None = None,
        date_partition_column: str | None = None,
        description: str = "",
        tags: dict[str, str] | None = None,
        owner: str = "",
    ) -> None:
        super().__init__(
            name=name or path,
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            field_mapping=field_mapping,
            date_partition_column=date_partition_column,
            description=description,
            tags=tags,
            owner=owner,
        )
        self.path = path
        self.version = version
        self.rows = dict(rows or {})

    # Feast compares sources to find out what has changed; it keeps them in sets, too.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeltaSource) and self._place == other._place and bool(super().__eq__(other))

    def __hash__(self) -> int:
        return hash((self.name, self.path))

    def source_type(self) -> DataSourceProto.SourceType.ValueType:
        return DataSourceProto.CUSTOM_SOURCE

    @property
    def _place(self) -> dict[str, Any]:
        return _place(self.path, self.version, self.rows)

    def open(self) -> DeltaTable:
        """Open the table.

        Raises:
            DataError: the table has never been written.
        """
        try:
            return DeltaTable(self.path, version=self.version)
        except TableNotFoundError:
            raise DataError(
                f"the table of source {self.name} does not exist",
                where=self.path,
                fix="Write it first",
            ) from None

    def validate(self, config: RepoConfig) -> None:
        """Check that the table has the time columns. A table that is yet to be written passes."""
        if not DeltaTable.is_deltatable(self.path):
            return
        columns = {field.name for field in self.open().schema().fields}
        for column in (self.timestamp_field, self.created_timestamp_column):
            if column and source_column(self, column) not in columns:
                raise DataError(f"the table of source {self.name} has no column {column}", where=self.path)

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        return pa_to_feast_value_type

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        fields = arrow_schema(self.open())
        return [(field.name, str(field.type)) for field in fields if field.name != self.date_partition_column]

    def get_table_query_string(self) -> str:
        return self.path

    def _to_proto_impl(self) -> DataSourceProto:
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type=f"{type(self).__module__}.{type(self).__qualname__}",
            custom_options=_options(self._place),
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            field_mapping=self.field_mapping,
            date_partition_column=self.date_partition_column,
            description=self.description,
            tags=self.tags,
            owner=self.owner,
        )

    def _set_timestamps_in_proto(self, data_source_proto: DataSourceProto) -> None:
        """Leave registration times out: with them, ``feast plan`` reports a change where there is none."""

    @staticmethod
    def from_proto(data_source: DataSourceProto) -> DeltaSource:
        return DeltaSource(
            **json.loads(data_source.custom_options.configuration),
            name=data_source.name,
            timestamp_field=data_source.timestamp_field,
            created_timestamp_column=data_source.created_timestamp_column,
            field_mapping=dict(data_source.field_mapping),
            date_partition_column=data_source.date_partition_column,
            description=data_source.description,
            tags=dict(data_source.tags),
            owner=data_source.owner,
        )


class SavedDatasetDeltaStorage(SavedDatasetStorage):
    """Where a saved dataset is kept: a Delta table of its own, or some rows of a version of one.

    Args:
        path: folder or object-store URL of the table.
        version: of the table; the newest one by default.
        rows: only the rows with these values, by column; all by default.
    """

    _proto_attr_name = "custom_storage"

    def __init__(self, path: str, version: int | None = None, rows: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.version = version
        self.rows = dict(rows or {})

    @staticmethod
    def from_proto(storage_proto: SavedDatasetStorageProto) -> SavedDatasetStorage:
        place = json.loads(storage_proto.custom_storage.configuration)
        return SavedDatasetDeltaStorage(place["path"], place.get("version"), place.get("rows"))

    def to_proto(self) -> SavedDatasetStorageProto:
        return self._custom_storage_proto(_options(_place(self.path, self.version, self.rows)))

    def to_data_source(self) -> DeltaSource:
        return DeltaSource(path=self.path, version=self.version, rows=self.rows)


def arrow_schema(table: DeltaTable) -> pa.Schema:
    """Columns of a Delta table as pyarrow types."""
    return pa.schema(table.schema().to_arrow())


def source_column(source: DataSource, name: str) -> str:
    """The column of the source that a mapped name stands for."""
    return next((column for column, mapped in source.field_mapping.items() if mapped == name), name)


def scan(
    source: DeltaSource,
    table: DeltaTable,
    columns: Sequence[str],
    timestamp: str,
    created: str | None,
    start: datetime | None,
    end: datetime | None,
    keys: Mapping[str, pa.Array] | None = None,
) -> ds.Scanner:
    """Columns of the source's rows from ``start`` to ``end``, times in microseconds, UTC; no other file is opened.

    Args:
        keys: distinct values, by column, that the caller looks for. Where they are few beside the rows, most rows with
            other values are left out.
    """
    schema = arrow_schema(table)
    missing = sorted(set(columns) - set(schema.names))
    if missing:
        raise DataError(
            f"the table of source {source.name} has no column {', '.join(missing)}",
            where=f"{source.path}, version {table.version()}",
            fix="Write the table again, with that column",
        )
    projection = {name: ds.field(name) for name in columns}
    for name in filter(None, (timestamp, created)):
        projection[name] = ds.field(name).cast(TIMESTAMP)
    kind = schema.field(timestamp).type
    first, last = (None if at is None else pa.scalar(at, TIMESTAMP).cast(kind) for at in (start, end))
    wanted = ds.scalar(True)
    for name, value in source.rows.items():
        wanted = wanted & (ds.field(name) == value)
    if first is not None:
        wanted = wanted & (ds.field(timestamp) >= first)
    if last is not None:
        wanted = wanted & (ds.field(timestamp) <= last)
    some = files.files(table)
    some = some.filter(_may_hold_times(some, timestamp, first, last))
    for name, values in (keys or {}).items():
        if len(values) * FEW <= (pc.sum(some["num_records"]).as_py() or 0):
            wanted = wanted & ds.field(name).isin(values)
            some = some.filter(files.may_hold_keys(some, name, values))
    return files.dataset(table, some).scanner(columns=projection, filter=wanted)


def _may_hold_times(some: pa.Table, timestamp: str, first: pa.Scalar | None, last: pa.Scalar | None) -> pa.Array:
    """Which files may have rows of an interval; one whose log says nothing of its times may."""
    may = pa.repeat(True, some.num_rows)
    lowest, highest = f"min.{timestamp}", f"max.{timestamp}"
    if highest not in some.column_names or not pa.types.is_timestamp(some[highest].type):
        return may
    if first is not None:
        newest = pc.add(some[highest], files.LOG_PRECISION)
        may = pc.and_(may, pc.greater_equal(newest, first).fill_null(True))
    if last is not None:
        may = pc.and_(may, pc.less_equal(some[lowest], last).fill_null(True))
    return may


def _place(path: str, version: int | None, rows: Mapping[str, str]) -> dict[str, Any]:
    """Where rows are, as Feast's registry keeps it."""
    return {"path": path} | ({"version": version} if version is not None else {}) | ({"rows": rows} if rows else {})


def _options(place: dict[str, Any]) -> Any:
    return DataSourceProto.CustomSourceOptions(configuration=json.dumps(place).encode())
