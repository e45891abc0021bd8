"""The features of one partition: ``features.sql`` over the rows that it sees, checked before they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from include.core.errors import ConfigError, DataError
from include.core.files import read_text
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import categories, lookback, window_frames
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP, FEATURES, PARTITION, TIMESTAMP
from include.lakehouse.tables import Lakehouse

TIMESTAMP_SUFFIX = "__ts"
"""Of the names under which `store.read_online` gives event times."""
IN_NO_NAME = '",:[]{}'
"""LightGBM keeps names as JSON."""
FEATURE_TYPES = (pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string())


@dataclass(frozen=True)
class FeatureCounts:
    """What ``write`` left in the features table."""

    rows: int
    features: int
    table_version: int


def feature_schema(spec: ModelSpec) -> dict[str, pa.DataType]:
    """Names and types of the features, in the order of the SQL. No table is read.

    Raises:
        ConfigError: the SQL is wrong, or gives no key, no time, the target, or a type no feature has.
    """
    schema = _run(spec, _empty_clean(spec)).schema
    unknown = sorted(set(spec.features.descriptions) - set(schema.names))
    if unknown:
        raise ConfigError(
            f"key features.descriptions: features.sql selects no {', '.join(unknown)}",
            where=spec.file(),
        )
    return {field.name: field.type for field in schema if field.name not in (*spec.entity.keys, EVENT_TIMESTAMP)}


def compute(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> pa.Table:
    """Features of one partition: the entity's key, ``event_timestamp`` and the features; one row an entity and time.

    Raises:
        ConfigError: the SQL is wrong, or gives the wrong columns.
        DataError: a key or time is null, out of the partition or repeated, or a number is not finite.
    """
    return of_rows(spec, lake.read(CLEAN.of(spec), where=lookback.where(spec, partition)), partition)


def of_rows(spec: ModelSpec, clean: pa.Table, partition: Partition) -> pa.Table:
    """As `compute`, of the rows that features.sql sees."""
    features = _run(spec, clean, partition)
    _check_rows(spec, features, partition)
    return features


def write(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> FeatureCounts:
    """Compute one partition and make it that of the features table; again, if rows that it is made of change meanwhile.

    Of which rows it was made is recorded, where features look back (`lookback.stale`).
    """
    table, declared, former = CLEAN.of(spec), feature_schema(spec), None
    where = lookback.where(spec, partition)
    while former != (former := lake.paths(table, where)):
        clean = lake.read(table, where=where)
        features = of_rows(spec, clean, partition)
        rows = features.append_column(PARTITION, pa.repeat(pa.scalar(partition.key), features.num_rows))
        version = lake.replace(FEATURES.of(spec, declared), rows, {PARTITION: partition.key})
        lookback.record(spec, lake, partition, clean)
    return FeatureCounts(rows=features.num_rows, features=len(declared), table_version=version)


def reads(spec: ModelSpec, columns: Iterable[str]) -> set[str]:
    """Those of some delivered columns that features.sql makes features of: without one it is not the same SELECT.

    Raises:
        ConfigError: the SQL is wrong.
    """
    clean, found = _empty_clean(spec), set()
    shown = {name: column.model_copy(update={"pii": False}) for name, column in spec.columns.items()}
    spec = spec.model_copy(update={"columns": shown})  # of empty rows personal data is none
    names = set(_select(spec, clean).schema.names)
    for column in set(columns) & set(clean.column_names):
        try:
            without = set(_select(spec, clean.drop_columns([column])).schema.names)
        except ConfigError:
            found.add(column)
        else:
            found |= {column} & (names - without)
    return found


def spark_sql(spec: ModelSpec) -> str:
    """``features.sql``, and the encoding of its texts around it, in Spark's dialect: what Databricks runs."""
    sql = read_text(spec.folder / "features.sql")
    try:
        # To sqlglot a comment behind the semicolon is a statement, too.
        (found,) = (part for part in sqlglot.parse(sql, read="duckdb") if isinstance(part, exp.Query))
        if spec.features.categories:
            encoded = categories.sql(spec, _select(spec, _empty_clean(spec)).schema.names)
            around = sqlglot.parse_one(encoded, read="duckdb", into=exp.Select)
            found = around.from_(exp.Subquery(this=found, alias=categories.SELECTED))
        translated = window_frames.for_spark(found.transform(_for_spark))
        return translated.sql("spark", unsupported_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        raise ConfigError(
            f"cannot be translated to Spark SQL: {str(error).splitlines()[0]}", where=_where(spec)
        ) from None


def _for_spark(part: exp.Expr) -> exp.Expr:
    """What sqlglot does not translate."""
    if isinstance(part, exp.Anonymous) and part.name.lower() == "error":
        return exp.Anonymous(this="raise_error", expressions=part.expressions)
    return part


def _empty_clean(spec: ModelSpec) -> pa.Table:
    return CLEAN.of(spec).schema.empty_table()


def _run(spec: ModelSpec, clean: pa.Table, partition: Partition | None = None) -> pa.Table:
    """Run the SQL, take the rows of the partition, and encode their texts."""
    selected = _select(spec, clean)
    _check_schema(spec, selected.schema)
    if partition is not None:
        selected = lookback.own(spec, selected, partition)
    encoded = categories.encode(spec, selected)
    _check_schema(spec, encoded.schema)
    return encoded


def _select(spec: ModelSpec, clean: pa.Table) -> pa.Table:
    """Run the SQL in a DuckDB of its own, in which the clean table is the only one."""
    sql = read_text(spec.folder / "features.sql")
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        personal = sorted(spec.personal_columns & set(clean.column_names))
        connection.register(spec.table("clean"), clean.drop_columns(personal))
        connection.execute("SET enable_external_access = false")
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ConfigError("holds something other than one SELECT", where=_where(spec))
            features = connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            for name in personal:
                if f'"{name}"' in str(error):
                    raise ConfigError(
                        f"reads {name}, which has pii: true in model.yaml",
                        where=_where(spec),
                        fix="Personal data is no feature: leave it out",
                    ) from None
            raise ConfigError(_first_line(error), where=_where(spec)) from None
    return features.combine_chunks()


def _check_schema(spec: ModelSpec, schema: pa.Schema) -> None:
    def refuse(what: str, fix: str) -> ConfigError:
        return ConfigError(what, where=_where(spec), fix=fix)

    for name in (*spec.entity.keys, EVENT_TIMESTAMP):
        if name not in schema.names:
            raise refuse(f"does not select {name}", "Every feature row needs the entity's key and its event time")
    for name in (spec.target, PARTITION):
        if name in schema.names:
            raise refuse(f"selects {name}, which is no feature", f"Remove {name} from the SELECT")
    folded = [_folded(name) for name in schema.names]
    repeated = sorted({name for name in schema.names if folded.count(_folded(name)) > 1})
    if repeated:
        raise refuse(f"selects {', '.join(repeated)} more than once", "Give every column a name of its own")
    if unfit := [name for name in schema.names if set(IN_NO_NAME).intersection(name)]:
        raise refuse(f"selects {unfit[0]!r}", f"A feature has none of {' '.join(IN_NO_NAME)} in its name")
    if reserved := [name for name in schema.names if name.endswith(TIMESTAMP_SUFFIX)]:
        raise refuse(f"selects {', '.join(reserved)}, named as an event time is online", "Give it another name")
    if len(schema) == len(spec.entity.keys) + 1:
        raise refuse("selects no feature", "Add at least one column")
    for field in schema:
        expected = (TIMESTAMP,) if field.name == EVENT_TIMESTAMP else FEATURE_TYPES
        if field.type not in expected:
            types = ", ".join(str(item) for item in expected)
            raise refuse(f"{field.name} is of type {field.type}", f"CAST it to one of: {types}")


def _folded(name: str) -> str:
    """Names that are one to tables, or to LightGBM."""
    return name.casefold().replace(" ", "_")


def _check_rows(spec: ModelSpec, features: pa.Table, partition: Partition) -> None:
    where = f"{spec.table('features')} of {partition}"
    fix = f"Change {_where(spec)}"
    named = [*spec.entity.keys, EVENT_TIMESTAMP]
    at = features[EVENT_TIMESTAMP]
    for name in (*spec.entity.keys, EVENT_TIMESTAMP):
        if features[name].null_count:
            raise DataError(f"{name} is null in {features[name].null_count} rows", where=where, fix=fix)
    first, last = pa.scalar(partition.start, TIMESTAMP), pa.scalar(partition.last_moment, TIMESTAMP)
    outside = pc.or_(pc.less(at, first), pc.greater(at, last))
    if pc.any(outside).as_py():
        raise DataError(
            f"{pc.sum(outside).as_py()} rows have an event time outside the partition", where=where, fix=fix
        )
    repeats = features.num_rows - features.select(named).group_by(named).aggregate([]).num_rows
    if repeats:
        raise DataError(f"{repeats} rows repeat an entity key at the same time", where=where, fix=fix)
    for field in features.schema:
        if pa.types.is_floating(field.type):
            wrong = pc.sum(pc.invert(pc.is_finite(features[field.name]))).as_py()
            if wrong:
                raise DataError(f"{field.name} is infinite or not a number in {wrong} rows", where=where, fix=fix)


def _where(spec: ModelSpec) -> str:
    return spec.file("features.sql")


def _first_line(error: duckdb.Error) -> str:
    """What DuckDB says, in one line: the excerpt with its caret would not fit one."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not set(line) <= {"^", "~", " "})
