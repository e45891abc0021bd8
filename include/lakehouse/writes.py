"""What a write may hold: the rows as their table is declared, of one partition, each key once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DataError
from include.lakehouse.keys import Keys
from include.lakehouse.schemas import ModelTable

Scalar = str | int


def checked(table: ModelTable, parts: Iterable[pa.Table], partition: Mapping[str, Scalar]) -> Iterator[pa.RecordBatch]:
    """All rows of a write as they are declared; after the last one it is known whether a key repeats.

    Raises:
        DataError: as `conform`; or a key repeats. Its values, which may be personal data, are not told.
    """
    with Keys(table.key) as keys:
        for rows in parts:
            declared = conform(table, rows, partition)
            keys.add(declared)
            yield from declared.to_batches()
        if repeated := keys.repeated():
            raise DataError(
                f"{repeated} rows repeat the key {', '.join(table.key)}",
                where=_where(table, partition),
                fix=f"Mend what {table.table.writer} was given; lakehouse/schemas.py declares the key",
            )


def conform(table: ModelTable, rows: pa.Table, partition: Mapping[str, Scalar]) -> pa.Table:
    """The rows with the columns, and types, that the table declares.

    Raises:
        DataError: a column is missing, not declared, or of another type; a key is null; a row is of another partition.
    """
    where = _where(table, partition)
    if set(partition) != set(table.table.partition):
        raise DataError(f"one write replaces the rows of a {', '.join(table.table.partition)}", where=where)
    if nameless := [name for name, value in partition.items() if value in ("", None)]:
        raise DataError(f"the {', '.join(nameless)} is empty", where=where)
    for what, names in (
        ("have twice the column", sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})),
        ("lack the column", [name for name in table.schema.names if name not in rows.column_names]),
        ("have a column that is not declared:", [name for name in rows.column_names if name not in table.schema.names]),
    ):
        if names:
            raise DataError(f"the rows {what} {', '.join(names)}", where=where, fix="lakehouse/schemas.py declares it")
    columns = []
    for field in table.schema:
        try:
            if not _means_the_same(rows[field.name].type, field.type):
                raise pa.ArrowInvalid
            columns.append(rows[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(
                f"column {field.name} is {rows[field.name].type} and declared as {field.type}", where=where
            ) from None
    found = pa.Table.from_arrays(columns, schema=table.schema)
    for name in table.key:
        if found[name].null_count and name not in table.table.optional:
            raise DataError(f"{found[name].null_count} rows have no {name}, which is part of the key", where=where)
    for name, value in partition.items():
        if found.num_rows and not pc.all(pc.equal(found[name], value)).as_py():
            raise DataError(f"rows of another {name} are among them", where=where)
    return found


def _where(table: ModelTable, partition: Mapping[str, Scalar]) -> str:
    return f"{table.name}, {', '.join(f'{name} {value}' for name, value in partition.items())}"


def _means_the_same(found: pa.DataType, declared: pa.DataType) -> bool:
    """Whether a cast changes how a value is stored, and not what it says: 7 to "7", or a time that gets a zone."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_dictionary(found):
        return _means_the_same(found.value_type, declared)
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(declared):
        return (found.tz is None) == (declared.tz is None)
    return any(of_kind(found) and of_kind(declared) for of_kind in _KINDS) or (
        pa.types.is_integer(found) and pa.types.is_floating(declared)
    )


_KINDS = (
    lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_),
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_date,
    pa.types.is_nested,
)
