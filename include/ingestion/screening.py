"""Judge a large batch in parts, with the same result as the whole at once.

Great Expectations stays the judge. Arrow only finds the rows that can fail at all: to those alone, and to the
statistics of the rules that judge a column as a whole, Great Expectations is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.expectations import Rule
from include.ingestion.findings import Rows
from include.ingestion.vocabulary import KINDS

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

_IN_ORDER = (
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_not_be_outliers",
)
_NO_ROWS: Rows = np.empty(0, dtype=np.int64)
_STEERING = ("mostly", "row_condition", "condition_parser")


def judges_rows_alone(rule: Rule) -> bool:
    """Whether a row fails or passes whatever the other rows are."""
    across = (*UNIQUE, *_IN_ORDER)
    return KINDS[rule.type].on_rows and rule.type not in across and "mostly" not in rule.arguments


def is_plain(rule: Rule) -> bool:
    """Whether the rule is about all rows, each as it is."""
    return not any(key in rule.arguments for key in _STEERING)


def of_row_count(rule: Rule, column: str) -> Rule:
    """The rule on a number of rows, as one on a column that has that number as its only value."""
    arguments = {key: value for key, value in rule.arguments.items() if key != "value"}
    if "value" in rule.arguments:
        arguments |= {"min_value": rule.arguments["value"], "max_value": rule.arguments["value"]}
    return replace(rule, type="expect_column_max_to_be_between", arguments={"column": column, **arguments})


def may_fail(rule: Rule, typed: pa.Table) -> Rows | None:
    """Positions of all rows that fail, and perhaps of some that pass. None where any row may fail."""
    if not is_plain(rule):
        return None
    arguments = rule.arguments
    column = typed[rule.columns[0]].combine_chunks() if rule.columns else None
    if column is None:
        return None
    if rule.type == "expect_column_values_to_not_be_null":
        return _flagged(pc.is_null(column)) if column.null_count else _NO_ROWS
    if rule.type == "expect_column_values_to_be_null":
        return _flagged(pc.is_valid(column))
    if rule.type == "expect_column_values_to_be_between":
        return _outside(column, arguments)
    if rule.type in ("expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set"):
        known = _values(column.type, arguments["value_set"])
        if known is None:
            return None
        within = pc.is_in(column, value_set=known)
        flags = within if rule.type.endswith("not_be_in_set") else pc.invert(within)
        return _flagged(pc.and_(flags, pc.is_valid(column)))
    return None


def _outside(column: pa.Array, arguments: Mapping[str, Any]) -> Rows | None:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if pa.types.is_string(column.type) or not all(value is None or _is_number(value) for value in (low, high)):
        return None
    found = [_NO_ROWS]
    least, greatest = pc.min_max(column).as_py().values()
    # A bound itself may fail (strict_min): Great Expectations says so.
    if low is not None and least is not None and least <= low:
        found.append(_flagged(pc.less_equal(column, low)))
    if high is not None and greatest is not None and greatest >= high:
        found.append(_flagged(pc.greater_equal(column, high)))
    return np.unique(np.concatenate(found))


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
