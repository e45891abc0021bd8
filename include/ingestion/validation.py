"""Validate a delivery: in one piece while it is small, else chunk by chunk in bounded memory, with the same findings.

Great Expectations decides in both. Of chunks, Arrow finds the rows that can fail at all: Great Expectations is asked
about those alone, and about the statistics of the rules that check a column as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion import expectations, suite
from include.ingestion.expectations import EXAMPLES, KINDS, Failure, Rule, RuleOutcome
from include.ingestion.files import Flag
from include.ingestion.rows import NO_ROWS, POSITION, Rows, are_among, ascending, cast_delivered
from include.ingestion.scan import BatchScan
from include.lakehouse.schemas import EXTRA_COLUMNS, ROW_NUMBER, SOURCE_FILE, typed_columns

MEMORY = "500MB"
"""What DuckDB may hold; it spills the rest to the disk."""
CHECKED_AT_ONCE = 50_000
CHECKED_BYTES = 16 << 20
"""Rows that may fail wait for each other up to so many, or so many bytes."""

UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
"""Rows fail that repeat another: no chunk alone tells."""
STATISTICS: Mapping[str, str] = {
    "expect_column_mean_to_be_between": "avg",
    "expect_column_min_to_be_between": "min",
    "expect_column_max_to_be_between": "max",
    "expect_column_sum_to_be_between": "sum",
}
"""Of one row with the statistic itself, Great Expectations computes the same statistic."""
ROW_COUNTS = ("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal")
"""Great Expectations would hash every row to count them: it is asked about the number instead."""
_ACROSS_ROWS = (
    *UNIQUE,
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_not_be_outliers",
)
_STEERING = ("mostly", "row_condition", "condition_parser")
_INT64 = (-(2**63), 2**63 - 1)

_DUPLICATES = """
    SELECT {position} FROM (
        SELECT {position}, row_number() OVER (PARTITION BY {columns} ORDER BY {position}) AS n
        FROM raw JOIN candidates USING ({row})
    ) WHERE n > 1 ORDER BY {position}
"""


@dataclass(frozen=True)
class Findings:
    """What is wrong with a batch, by its rows and by the rules."""

    scan: BatchScan
    outcomes: Sequence[RuleOutcome]
    """One for each rule of expectations.yaml; none where the shape of the batch is wrong."""
    duplicates: Rows
    """Positions of the rows that repeat an earlier one."""
    flags: Sequence[tuple[int, Flag]]
    """Rows that their file could not hold as they were meant, by position."""
    shape: Sequence[str]
    """Reasons to reject the batch before any rule: it cannot be what model.yaml describes."""
    keys: pa.Table | None
    """The typed key of each row, in order, where ``ingestion.repeated_key`` asks for it."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Further columns of the files, which are not kept, with their positions."""


def validate(
    spec: ModelSpec,
    partition: Partition,
    delivered: pa.Table,
    *,
    file_types: Mapping[str, str] | None = None,
    flags: Sequence[tuple[int, Flag]] = (),
    shape: Sequence[str] | None = None,
) -> Findings:
    """Validate every row of a delivery; `ChunkedValidator` does the same for one of any size.

    Of rows that are the same in every column the first is kept. Rows that share a key and differ contradict
    each other: a unique expectation quarantines all of them. A cell that does not fit its type is a reason of
    its own, and no further rule checks it.

    Args:
        delivered: as ``Delivery.read`` returns it.
        file_types: by column the type that it has in Parquet files.
        flags: rows that their file could not hold as they were meant, by position.
        shape: what is wrong with the batch's shape, where these rows do not show it.

    Raises:
        ConfigError: expectations.yaml is wrong.
    """
    rules, scan = expectations.load(spec), BatchScan(spec, partition)
    typed = cast_delivered(spec, delivered)
    scan.update(delivered, typed)
    duplicates = _duplicates(delivered)
    if shape is None:
        shape = scan.shape(delivered.column_names, file_types or {})
    outcomes = []
    if not shape:
        kept = suite.frame(typed.columns).drop(index=pd.Index(duplicates))
        errors, hidden = scan.cast_errors, scan.hidden
        outcomes = suite.check(spec, rules, kept, cast_errors=errors, hidden=hidden)
    keys = typed.columns.select(list(spec.entity.keys)) if _looks_for_keys(spec) else None
    return Findings(scan, outcomes, duplicates, flags, shape, keys)


class ChunkedValidator:
    """Validates one batch whose rows are shown one chunk after the other."""

    def __init__(self, spec: ModelSpec, partition: Partition) -> None:
        self._spec = spec
        self._types = typed_columns(spec)
        self._rules = expectations.load(spec)
        self._scan = BatchScan(spec, partition)
        self._names: list[str] = []
        self._folder = TemporaryDirectory(prefix="flightline-")
        self._stage = Path(self._folder.name) / "typed.parquet"
        self._staged = self._staged_columns()
        schema = pa.schema([(name, self._types[name]) for name in self._staged])
        self._writer = pq.ParquetWriter(self._stage, schema, compression="lz4", use_dictionary=False)
        self._alone = {n: rule for n, rule in enumerate(self._rules) if checks_rows_alone(rule)}
        self._pending: dict[int, list[tuple[pa.Table, Rows, dict[str, Rows]]]] = {n: [] for n in self._alone}
        self._found: dict[int, list[RuleOutcome]] = {n: [] for n in self._alone}
        self._broken: dict[int, RuleOutcome] = {}
        self._keys_repeat = True

    def close(self) -> None:
        self._writer.close()
        self._folder.cleanup()

    def update(self, delivered: pa.Table) -> Rows:
        """Check the next rows, as ``Delivery.chunks`` returns them.

        Returns:
            Those that may be quarantined, counted from 0 in ``delivered``. More may be, where rules look at several
            rows or at rows of any kind.
        """
        self._names = delivered.column_names
        if not delivered.num_rows:
            return NO_ROWS
        start = self._scan.rows
        typed = cast_delivered(self._spec, delivered)
        misdated = self._scan.update(delivered, typed)
        self._writer.write_table(typed.columns.select(self._staged))
        places = {name: np.flatnonzero(flags) for name, flags in typed.errors.items()}
        cast_errors = {name: rows + start for name, rows in places.items()}
        candidates = [*places.values(), misdated]
        for n, rule in self._alone.items():
            rows = may_fail(rule, typed.columns)
            if rows is None:
                rows = np.arange(delivered.num_rows)
            else:
                candidates.append(rows)
            if rows.size:
                some = typed.columns.select(_needed(rule, typed.columns.column_names)).take(pa.array(rows))
                self._pending[n].append((some, rows + start, cast_errors))
                waiting = self._pending[n]
                many = sum(len(part[1]) for part in waiting) >= CHECKED_AT_ONCE
                if many or sum(part[0].nbytes for part in waiting) >= CHECKED_BYTES:
                    self._check_pending(n)
        return ascending(*candidates)

    def findings(
        self,
        raw: pa.RecordBatchReader,
        offsets: Mapping[str, int],
        file_types: Mapping[str, str],
        flags: Sequence[tuple[int, Flag]],
    ) -> Findings:
        """What is wrong with the batch, once all its rows were shown.

        Args:
            raw: the rows that were shown, as ``raw_`` has them; only read where keys repeat.
            offsets: by source file, in the order of the rows, the position of the row before its first.
        """
        self._writer.close()
        shape = self._scan.shape(self._names, file_types)
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            connection.execute(f"SET temp_directory = '{self._folder.name}'")
            connection.execute(
                f"CREATE TEMP VIEW staged AS SELECT file_row_number AS {POSITION}, * "
                f"FROM read_parquet('{self._stage}', file_row_number = true)"
            )
            duplicates = self._duplicates(connection, raw, offsets)
            connection.register("duplicates", pa.table({POSITION: duplicates}))
            connection.execute(f"CREATE TEMP VIEW kept AS FROM staged ANTI JOIN duplicates USING ({POSITION})")
            outcomes = []
            if not shape:
                outcomes = [self._outcome(n, connection, duplicates) for n in range(len(self._rules))]
        keys = None
        if _looks_for_keys(self._spec):
            keys = pq.read_table(self._stage, columns=list(self._spec.entity.keys))
        return Findings(self._scan, outcomes, duplicates, flags, shape, keys)

    def _staged_columns(self) -> list[str]:
        """The columns that are looked at again, when all rows are there."""
        again = set(self._spec.entity.keys)
        for rule in self._rules:
            if not checks_rows_alone(rule):
                again |= set(_needed(rule, self._spec.columns))
        return [name for name in self._spec.columns if name in again]

    def _check_pending(self, n: int) -> None:
        """Have Great Expectations check the rows of a rule that may fail."""
        parts, self._pending[n] = self._pending[n], []
        typed = suite.frame(pa.concat_tables(part[0] for part in parts))
        typed.index = pd.Index(np.concatenate([part[1] for part in parts]))
        names = {name for part in parts for name in part[2]}
        cast_errors = {name: np.concatenate([part[2][name] for part in parts if name in part[2]]) for name in names}
        outcome = self._check(self._rules[n], typed, cast_errors)
        if not outcome.success and outcome.rows is None:
            self._broken[n] = outcome
        elif not outcome.success:
            self._found[n].append(outcome)

    def _check(self, rule: Rule, typed: pd.DataFrame, cast_errors: Mapping[str, Rows]) -> RuleOutcome:
        (outcome,) = suite.check(self._spec, [rule], typed, cast_errors=cast_errors, hidden=self._scan.hidden)
        return outcome

    def _outcome(self, n: int, connection: duckdb.DuckDBPyConnection, duplicates: Rows) -> RuleOutcome:
        """What became of a rule, over all rows but duplicates."""
        rule, cast_errors = self._rules[n], self._scan.cast_errors
        if n in self._alone:  # what a later row says hides the values of an earlier one
            return suite.conceal(self._outcome_of_parts(n, duplicates), self._scan.hidden)
        if is_plain(rule) and rule.type in ROW_COUNTS:
            counted = pd.DataFrame({"rows": [self._scan.rows - duplicates.size]})
            return replace(self._check(_of_row_count(rule, "rows"), counted, cast_errors), rule=rule)
        if is_plain(rule) and rule.type in STATISTICS and _is_of_numbers(self._types[rule.columns[0]]):
            (name,) = rule.columns
            statistic = f'SELECT {STATISTICS[rule.type]}("{name}")::DOUBLE AS "{name}" FROM kept'
            return self._check(rule, connection.sql(statistic).to_arrow_table().to_pandas(), cast_errors)
        text = f"SELECT {', '.join([POSITION, *_quoted(_needed(rule, self._staged))])} FROM kept"
        if is_plain(rule) and rule.type in UNIQUE:
            if not self._keys_repeat and set(self._spec.entity.keys) <= set(rule.columns):
                return RuleOutcome(rule)
            some = ", ".join(_quoted(rule.columns))
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {some} FROM kept GROUP BY {some} HAVING count(*) > 1"
            )
            same = " AND ".join(f"k.{name} IS NOT DISTINCT FROM repeated.{name}" for name in _quoted(rule.columns))
            text = f"SELECT k.* FROM ({text}) k WHERE EXISTS (FROM repeated WHERE {same})"
        table = connection.sql(f"{text} ORDER BY {POSITION}").to_arrow_table()
        if table.num_columns > 1:
            typed = suite.frame(table.drop_columns([POSITION]))
            typed.index = pd.Index(table[POSITION].to_numpy())
        else:  # a rule on the columns of the table: all of them, and no row
            typed = suite.frame(pa.schema(list(self._types.items())).empty_table())
        return self._check(rule, typed, cast_errors)

    def _outcome_of_parts(self, n: int, duplicates: Rows) -> RuleOutcome:
        if self._pending[n]:
            self._check_pending(n)
        if n in self._broken:
            return self._broken[n]
        rule, parts = self._rules[n], self._found[n]
        found = ascending(*(part.rows for part in parts if part.rows is not None))
        kept = found[~are_among(found, duplicates)]
        if not kept.size:
            return RuleOutcome(rule)
        examples = tuple(text for part in parts for text in (part.failure.examples if part.failure else ()))
        return RuleOutcome(rule, kept, Failure(rule.reason, rule.severity, int(kept.size), examples[:EXAMPLES]))

    def _duplicates(
        self, connection: duckdb.DuckDBPyConnection, raw: pa.RecordBatchReader, offsets: Mapping[str, int]
    ) -> Rows:
        """Positions of the rows that repeat an earlier one: only rows of one key, or of none, can."""
        keys = _quoted(self._spec.entity.keys)
        listed, without = ", ".join(keys), " OR ".join(f"{key} IS NULL" for key in keys)
        repeated = f"SELECT ({listed}) FROM staged WHERE NOT ({without}) GROUP BY {listed} HAVING count(*) > 1"
        candidates = connection.sql(
            f"SELECT {POSITION} FROM staged WHERE {without} OR ({listed}) IN ({repeated}) ORDER BY {POSITION}"
        ).to_arrow_table()[POSITION]
        self._keys_repeat = bool(len(candidates))
        if not self._keys_repeat:
            return NO_ROWS
        connection.register("candidates", _named(candidates.to_numpy(), offsets))
        connection.register("raw", raw)
        columns = ", ".join(_quoted([*self._spec.columns, EXTRA_COLUMNS]))
        found = connection.sql(
            _DUPLICATES.format(position=POSITION, columns=columns, row=f"{SOURCE_FILE}, {ROW_NUMBER}")
        )
        return found.to_arrow_table()[POSITION].to_numpy().astype(np.int64)


def checks_rows_alone(rule: Rule) -> bool:
    """Whether a row fails or passes whatever the other rows are."""
    return KINDS[rule.type].on_rows and rule.type not in _ACROSS_ROWS and "mostly" not in rule.arguments


def is_plain(rule: Rule) -> bool:
    """Whether the rule is about all rows, each as it is."""
    return not any(key in rule.arguments for key in _STEERING)


def may_fail(rule: Rule, typed: pa.Table) -> Rows | None:
    """Positions of all rows that fail, and perhaps of some that pass. None where any row may fail."""
    if not is_plain(rule) or not rule.columns:
        return None
    column = typed[rule.columns[0]].combine_chunks()
    if rule.type == "expect_column_values_to_not_be_null":
        return _flagged(pc.is_null(column)) if column.null_count else NO_ROWS
    if rule.type == "expect_column_values_to_be_null":
        return _flagged(pc.is_valid(column))
    if rule.type == "expect_column_values_to_be_between":
        return _outside(column, rule.arguments)
    if rule.type in ("expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set"):
        known = _values(column.type, rule.arguments["value_set"])
        if known is None:
            return None
        within_set = pc.is_in(column, value_set=known)
        flags = within_set if rule.type.endswith("not_be_in_set") else pc.invert(within_set)
        return _flagged(pc.and_(flags, pc.is_valid(column)))
    return None


def _outside(column: pa.Array, arguments: Mapping[str, Any]) -> Rows | None:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if not _is_of_numbers(column.type) or not all(value is None or _is_number(value) for value in (low, high)):
        return None
    found = []
    least, greatest = pc.min_max(column).as_py().values()
    # A bound itself may fail (strict_min): Great Expectations says so.
    if low is not None and least is not None and least <= low:
        found.append(_flagged(pc.less_equal(column, _bound(column.type, low, math.floor))))
    if high is not None and greatest is not None and greatest >= high:
        found.append(_flagged(pc.greater_equal(column, _bound(column.type, high, math.ceil))))
    return ascending(*found)


def _is_of_numbers(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_)


def _bound(type_: pa.DataType, value: Any, rounded: Any) -> pa.Scalar:
    """A bound of the column's own type: Arrow compares no integer above 2^53 with a number of another."""
    if pa.types.is_integer(type_):
        value = rounded(min(max(value, _INT64[0]), _INT64[1]))
    return pa.scalar(value, type_)


def _flagged(flags: pa.Array) -> Rows:
    return np.flatnonzero(flags.fill_null(False))


def _values(kind: pa.DataType, values: Sequence[Any]) -> pa.Array | None:
    if pa.types.is_string(kind):
        return pa.array(values, kind) if all(isinstance(value, str) for value in values) else None
    if all(_is_number(value) for value in values):
        return pa.array([float(value) for value in values]) if pa.types.is_floating(kind) else None
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _of_row_count(rule: Rule, column: str) -> Rule:
    """The rule on a number of rows, as one on a column that has that number as its only value."""
    arguments = {key: value for key, value in rule.arguments.items() if key != "value"}
    if "value" in rule.arguments:
        arguments |= {"min_value": rule.arguments["value"], "max_value": rule.arguments["value"]}
    return replace(rule, type="expect_column_max_to_be_between", arguments={"column": column, **arguments})


def _named(positions: Rows, offsets: Mapping[str, int]) -> pa.Table:
    """Source file and row number of positions."""
    files, starts = list(offsets), np.array(list(offsets.values()))
    place = np.clip(np.searchsorted(starts, positions, side="left") - 1, 0, len(files) - 1)
    names = pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), pa.array(files))
    numbers = pa.array(positions - starts[place])
    return pa.table({SOURCE_FILE: names.cast(pa.string()), ROW_NUMBER: numbers, POSITION: pa.array(positions)})


def _needed(rule: Rule, columns: Iterable[str]) -> list[str]:
    """The rule's own columns; all, where a condition may name any."""
    return list(dict.fromkeys(rule.columns)) if is_plain(rule) else list(columns)


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _looks_for_keys(spec: ModelSpec) -> bool:
    return spec.ingestion.repeated_key == "quarantine"


def _duplicates(delivered: pa.Table) -> Rows:
    """Positions of the rows that repeat an earlier one in every delivered column."""
    columns = [name for name in delivered.column_names if name not in (SOURCE_FILE, ROW_NUMBER)]
    if not columns:
        return NO_ROWS
    # Numbers that stand for the texts: as exact, and far smaller.
    texts = {name: delivered[name].combine_chunks() for name in columns}
    codes = {name: text.dictionary_encode(null_encoding="encode").indices for name, text in texts.items()}
    return np.flatnonzero(pd.DataFrame({name: code.to_numpy() for name, code in codes.items()}).duplicated())
