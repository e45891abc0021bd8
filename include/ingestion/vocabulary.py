"""The closed vocabulary of ``expectations.yaml``: Great Expectations' core expectations, as plain data.

Airflow checks the rules whenever it parses a DAG file, and the import of Great Expectations takes seconds.
A test holds this table against the library's own classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Kind:
    """One type of expectation."""

    reason: str
    """What a failure is called, e.g. ``out_of_range``; ``:<column>`` follows where columns are judged."""
    on_rows: bool
    """Whether it judges each row; otherwise it judges the batch as a whole."""
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


def _batch(reason: str, required: str = "", also: str = "") -> Kind:
    return Kind(reason, False, tuple(required.split()), tuple(also.split()))


def _column(reason: str, required: str = "", also: str = "") -> Kind:
    return _batch(reason, f"column {required}", f"{also} {_FILTER}")


def _rows(reason: str, required: str, also: str) -> Kind:
    return Kind(reason, True, tuple(required.split()), (*also.split(), "mostly", *_FILTER.split()))


def _values(reason: str, required: str = "", also: str = "") -> Kind:
    return _rows(reason, f"column {required}", also)


def _pair(reason: str, required: str = "", also: str = "") -> Kind:
    return _rows(reason, f"column_A column_B {required}", f"{also} ignore_row_if")


def _many(reason: str, required: str = "") -> Kind:
    return _rows(reason, f"column_list {required}", "ignore_row_if")


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "expect_column_distinct_values_to_be_in_set": _column("unknown_category", "value_set"),
        "expect_column_distinct_values_to_contain_set": _column("missing_category", "value_set"),
        "expect_column_distinct_values_to_equal_set": _column("categories_differ", "value_set"),
        "expect_column_kl_divergence_to_be_less_than": _column(
            "distribution_differs",
            also=f"partition_object threshold bucketize_data {_LIMITS} internal_weight_holdout tail_weight_holdout",
        ),
        "expect_column_max_to_be_between": _column("max_out_of_range", also=_RANGE),
        "expect_column_mean_to_be_between": _column("mean_out_of_range", also=_RANGE),
        "expect_column_median_to_be_between": _column("median_out_of_range", also=_RANGE),
        "expect_column_min_to_be_between": _column("min_out_of_range", also=_RANGE),
        "expect_column_most_common_value_to_be_in_set": _column("unexpected_mode", "value_set", also="ties_okay"),
        "expect_column_pair_values_a_to_be_greater_than_b": _pair("not_greater", also="or_equal"),
        "expect_column_pair_values_to_be_equal": _pair("not_equal"),
        "expect_column_pair_values_to_be_in_set": _pair("unknown_pair", "value_pairs_set"),
        "expect_column_proportion_of_non_null_values_to_be_between": _column("null_share_out_of_range", also=_RANGE),
        "expect_column_proportion_of_unique_values_to_be_between": _column("unique_share_out_of_range", also=_RANGE),
        "expect_column_quantile_values_to_be_between": _column(
            "quantile_out_of_range", "quantile_ranges", also="allow_relative_error"
        ),
        "expect_column_stdev_to_be_between": _column("deviation_out_of_range", also=_RANGE),
        "expect_column_sum_to_be_between": _column("sum_out_of_range", also=_RANGE),
        "expect_column_to_exist": _batch("missing_column", "column", also="column_index"),
        "expect_column_type_to_be": _batch("wrong_type", "column type_"),
        "expect_column_unique_value_count_to_be_between": _column("unique_count_out_of_range", also=_RANGE),
        "expect_column_value_lengths_to_be_between": _values("wrong_length", also=_RANGE),
        "expect_column_value_lengths_to_equal": _values("wrong_length", "value"),
        "expect_column_value_z_scores_to_be_less_than": _values("outlier", "threshold double_sided"),
        "expect_column_values_to_be_between": _values("out_of_range", also=_RANGE),
        "expect_column_values_to_be_dateutil_parseable": _values("not_a_date"),
        "expect_column_values_to_be_decreasing": _values("not_decreasing", also="strictly"),
        "expect_column_values_to_be_in_set": _values("unknown_category", "value_set"),
        "expect_column_values_to_be_in_type_list": _values("wrong_type", also="type_list"),
        "expect_column_values_to_be_increasing": _values("not_increasing", also="strictly"),
        "expect_column_values_to_be_json_parseable": _values("not_json"),
        "expect_column_values_to_be_null": _values("not_null"),
        "expect_column_values_to_be_of_type": _values("wrong_type", "type_"),
        "expect_column_values_to_be_unique": _values("duplicate_value"),
        "expect_column_values_to_match_json_schema": _values("wrong_json", "json_schema"),
        "expect_column_values_to_match_regex": _values("wrong_pattern", also="regex"),
        "expect_column_values_to_match_regex_list": _values("wrong_pattern", "regex_list", also="match_on"),
        "expect_column_values_to_match_strftime_format": _values("not_a_date", "strftime_format"),
        "expect_column_values_to_not_be_in_set": _values("forbidden_value", "value_set"),
        "expect_column_values_to_not_be_null": _values("null"),
        "expect_column_values_to_not_be_outliers": _values("outlier", also="method multiplier"),
        "expect_column_values_to_not_match_regex": _values("forbidden_pattern", "regex"),
        "expect_column_values_to_not_match_regex_list": _values("forbidden_pattern", "regex_list"),
        "expect_compound_columns_to_be_unique": _many("duplicate_combination"),
        "expect_multicolumn_sum_to_equal": _many("wrong_sum", "sum_total"),
        "expect_multicolumn_values_to_be_equal": _many("not_equal"),
        "expect_select_column_values_to_be_unique_within_record": _many("repeated_in_row"),
        "expect_table_column_count_to_be_between": _batch("column_count_out_of_range", also=_LIMITS),
        "expect_table_column_count_to_equal": _batch("wrong_column_count", "value"),
        "expect_table_columns_to_match_ordered_list": _batch("columns_differ", also="column_list"),
        "expect_table_columns_to_match_set": _batch("columns_differ", also="column_set exact_match"),
        "expect_table_row_count_to_be_between": _batch("row_count_out_of_range", also=f"{_RANGE} {_FILTER}"),
        "expect_table_row_count_to_equal": _batch("wrong_row_count", "value", also=_FILTER),
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
