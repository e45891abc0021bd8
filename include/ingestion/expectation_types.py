"""What ``expectations.yaml`` can say: the types of Great Expectations' core expectations, as plain data.

Airflow checks the rules whenever it parses a DAG file, and the import of Great Expectations takes seconds.
A test holds this table against the library's own classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from include.lakehouse.decisions import Reason


@dataclass(frozen=True)
class Kind:
    """One type of expectation."""

    reason: Reason
    """What a failure is called; ``:<column>`` follows where columns are checked."""
    on_rows: bool
    """Whether it checks each row; otherwise it checks the batch as a whole."""
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that say what it checks, next to ``type`` and ``severity``."""
        return (*self.required, *self.optional)


_FILTER = "row_condition condition_parser"
_LIMITS = "min_value max_value"
_RANGE = "min_value max_value strict_min strict_max"


# One function for each family of types, with the keys that all of it have.


def _batch(reason: Reason, required: str = "", also: str = "") -> Kind:
    return Kind(reason, False, tuple(required.split()), tuple(also.split()))


def _column(reason: Reason, required: str = "", also: str = "") -> Kind:
    return _batch(reason, f"column {required}", f"{also} {_FILTER}")


def _rows(reason: Reason, required: str, also: str) -> Kind:
    return Kind(reason, True, tuple(required.split()), (*also.split(), "mostly", *_FILTER.split()))


def _values(reason: Reason, required: str = "", also: str = "") -> Kind:
    return _rows(reason, f"column {required}", also)


def _pair(reason: Reason, required: str = "", also: str = "") -> Kind:
    return _rows(reason, f"column_A column_B {required}", f"{also} ignore_row_if")


def _many(reason: Reason, required: str = "") -> Kind:
    return _rows(reason, f"column_list {required}", "ignore_row_if")


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "expect_column_distinct_values_to_be_in_set": _column(Reason.UNKNOWN_CATEGORY, "value_set"),
        "expect_column_distinct_values_to_contain_set": _column(Reason.MISSING_CATEGORY, "value_set"),
        "expect_column_distinct_values_to_equal_set": _column(Reason.CATEGORIES_DIFFER, "value_set"),
        "expect_column_kl_divergence_to_be_less_than": _column(
            Reason.DISTRIBUTION_DIFFERS,
            also=f"partition_object threshold bucketize_data {_LIMITS} internal_weight_holdout tail_weight_holdout",
        ),
        "expect_column_max_to_be_between": _column(Reason.MAX_OUT_OF_RANGE, also=_RANGE),
        "expect_column_mean_to_be_between": _column(Reason.MEAN_OUT_OF_RANGE, also=_RANGE),
        "expect_column_median_to_be_between": _column(Reason.MEDIAN_OUT_OF_RANGE, also=_RANGE),
        "expect_column_min_to_be_between": _column(Reason.MIN_OUT_OF_RANGE, also=_RANGE),
        "expect_column_most_common_value_to_be_in_set": _column(Reason.UNEXPECTED_MODE, "value_set", also="ties_okay"),
        "expect_column_pair_values_a_to_be_greater_than_b": _pair(Reason.NOT_GREATER, also="or_equal"),
        "expect_column_pair_values_to_be_equal": _pair(Reason.NOT_EQUAL),
        "expect_column_pair_values_to_be_in_set": _pair(Reason.UNKNOWN_PAIR, "value_pairs_set"),
        "expect_column_proportion_of_non_null_values_to_be_between": _column(
            Reason.NULL_SHARE_OUT_OF_RANGE, also=_RANGE
        ),
        "expect_column_proportion_of_unique_values_to_be_between": _column(
            Reason.UNIQUE_SHARE_OUT_OF_RANGE, also=_RANGE
        ),
        "expect_column_quantile_values_to_be_between": _column(
            Reason.QUANTILE_OUT_OF_RANGE, "quantile_ranges", also="allow_relative_error"
        ),
        "expect_column_stdev_to_be_between": _column(Reason.DEVIATION_OUT_OF_RANGE, also=_RANGE),
        "expect_column_sum_to_be_between": _column(Reason.SUM_OUT_OF_RANGE, also=_RANGE),
        "expect_column_to_exist": _batch(Reason.MISSING_COLUMN, "column", also="column_index"),
        "expect_column_type_to_be": _batch(Reason.WRONG_TYPE, "column type_"),
        "expect_column_unique_value_count_to_be_between": _column(Reason.UNIQUE_COUNT_OUT_OF_RANGE, also=_RANGE),
        "expect_column_value_lengths_to_be_between": _values(Reason.WRONG_LENGTH, also=_RANGE),
        "expect_column_value_lengths_to_equal": _values(Reason.WRONG_LENGTH, "value"),
        "expect_column_value_z_scores_to_be_less_than": _values(Reason.OUTLIER, "threshold double_sided"),
        "expect_column_values_to_be_between": _values(Reason.OUT_OF_RANGE, also=_RANGE),
        "expect_column_values_to_be_dateutil_parseable": _values(Reason.NOT_A_DATE),
        "expect_column_values_to_be_decreasing": _values(Reason.NOT_DECREASING, also="strictly"),
        "expect_column_values_to_be_in_set": _values(Reason.UNKNOWN_CATEGORY, "value_set"),
        "expect_column_values_to_be_in_type_list": _values(Reason.WRONG_TYPE, also="type_list"),
        "expect_column_values_to_be_increasing": _values(Reason.NOT_INCREASING, also="strictly"),
        "expect_column_values_to_be_json_parseable": _values(Reason.NOT_JSON),
        "expect_column_values_to_be_null": _values(Reason.NOT_NULL),
        "expect_column_values_to_be_of_type": _values(Reason.WRONG_TYPE, "type_"),
        "expect_column_values_to_be_unique": _values(Reason.DUPLICATE_VALUE),
        "expect_column_values_to_match_json_schema": _values(Reason.WRONG_JSON, "json_schema"),
        "expect_column_values_to_match_regex": _values(Reason.WRONG_PATTERN, also="regex"),
        "expect_column_values_to_match_regex_list": _values(Reason.WRONG_PATTERN, "regex_list", also="match_on"),
        "expect_column_values_to_match_strftime_format": _values(Reason.NOT_A_DATE, "strftime_format"),
        "expect_column_values_to_not_be_in_set": _values(Reason.FORBIDDEN_VALUE, "value_set"),
        "expect_column_values_to_not_be_null": _values(Reason.NULL),
        "expect_column_values_to_not_be_outliers": _values(Reason.OUTLIER, also="method multiplier"),
        "expect_column_values_to_not_match_regex": _values(Reason.FORBIDDEN_PATTERN, "regex"),
        "expect_column_values_to_not_match_regex_list": _values(Reason.FORBIDDEN_PATTERN, "regex_list"),
        "expect_compound_columns_to_be_unique": _many(Reason.DUPLICATE_COMBINATION),
        "expect_multicolumn_sum_to_equal": _many(Reason.WRONG_SUM, "sum_total"),
        "expect_multicolumn_values_to_be_equal": _many(Reason.NOT_EQUAL),
        "expect_select_column_values_to_be_unique_within_record": _many(Reason.REPEATED_IN_ROW),
        "expect_table_column_count_to_be_between": _batch(Reason.COLUMN_COUNT_OUT_OF_RANGE, also=_LIMITS),
        "expect_table_column_count_to_equal": _batch(Reason.WRONG_COLUMN_COUNT, "value"),
        "expect_table_columns_to_match_ordered_list": _batch(Reason.COLUMNS_DIFFER, also="column_list"),
        "expect_table_columns_to_match_set": _batch(Reason.COLUMNS_DIFFER, also="column_set exact_match"),
        "expect_table_row_count_to_be_between": _batch(Reason.ROW_COUNT_OUT_OF_RANGE, also=f"{_RANGE} {_FILTER}"),
        "expect_table_row_count_to_equal": _batch(Reason.WRONG_ROW_COUNT, "value", also=_FILTER),
    }
)

NEEDS_SQL: Mapping[str, str] = MappingProxyType(
    {
        "expect_column_values_to_match_like_pattern": "expect_column_values_to_match_regex",
        "expect_column_values_to_match_like_pattern_list": "expect_column_values_to_match_regex_list",
        "expect_column_values_to_not_match_like_pattern": "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_like_pattern_list": "expect_column_values_to_not_match_regex_list",
        "expect_query_results_to_match_comparison": "an expectation on columns",
        "expect_table_row_count_to_equal_other_table": "expect_table_row_count_to_be_between",
        "unexpected_rows_expectation": "an expectation on columns",
    }
)
"""Core expectations that work in a SQL database only, and what to use instead."""
