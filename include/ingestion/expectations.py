"""The rules of one model: ``expectations.yaml``, checked against Great Expectations' core types and the columns.

All of it is plain data: Airflow checks the rules whenever it parses a DAG file, and the import of Great Expectations
takes seconds. A test holds the table of types against the library's own classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from include.core.errors import ConfigError
from include.core.files import read_yaml
from include.core.spec import ModelSpec
from include.ingestion.rows import Rows
from include.lakehouse.decisions import Reason

FILE = "expectations.yaml"

Severity = Literal["reject_batch", "quarantine_row", "warn"]

_VALUES: Mapping[str, tuple[type, ...]] = {
    "integer": (int, float),
    "number": (int, float),
    "text": (str,),
    "date": (date,),
    "timestamp": (datetime,),
    "boolean": (bool,),
}
"""By type of a column, what a value of it is in YAML."""
_HOW = {
    **dict.fromkeys(("integer", "number"), "Write a number, without quotes"),
    "date": "Write a date, without quotes: 2025-01-31",
    "timestamp": "Write a moment and its zone, without quotes: 2025-01-31T06:00:00Z",
    "boolean": "Write true or false, without quotes",
}

EXAMPLES = 3
HIDDEN = "(personal data: not shown)"

_ONE_COLUMN = ("column", "column_A", "column_B")
_MANY_COLUMNS = ("column_list", "column_set")


@dataclass(frozen=True)
class Rule:
    """One entry of ``expectations.yaml``."""

    place: str
    """Where it is written, e.g. ``include/models/x/expectations.yaml: expectations[3]``."""
    type: str
    severity: Severity
    columns: tuple[str, ...]
    arguments: Mapping[str, Any]
    """What Great Expectations gets, e.g. ``{"column": "longitude", "min_value": -124.5}``."""
    reason: str
    """The reason code of a failure, e.g. ``out_of_range:longitude``."""


@dataclass(frozen=True)
class Failure:
    """A rule that a batch breaks."""

    reason: str
    severity: Severity
    count: int
    """Failing rows; 0 where the rule checks the batch as a whole."""
    examples: tuple[str, ...]
    """Up to three failing values, each fit to be shown, or what was observed instead of what the rule wants."""


@dataclass(frozen=True)
class RuleOutcome:
    """What became of one rule, kept or broken."""

    rule: Rule
    rows: Rows | None = None
    """The failing rows; None where the rule does not name them all, or holds."""
    failure: Failure | None = None
    observed: float | None = None
    """What was observed, where that is one number: a mean, a count of rows."""

    @property
    def success(self) -> bool:
        return self.failure is None

    @property
    def reason(self) -> str:
        """What the failure is called, or would be."""
        return self.failure.reason if self.failure else self.rule.reason


def load(spec: ModelSpec) -> list[Rule]:
    """Read and check the rules of a model for its batches.

    Whether a value fits its key, e.g. ``min_value`` is a number, only Great Expectations knows:
    ``suite.build`` checks that.

    Raises:
        ConfigError: a type that Great Expectations does not have, a column that the model does not have, an
            unknown or missing key; the text names file and key.
    """
    return _load(spec, "expectations", spec.columns)


def load_for_labels(spec: ModelSpec) -> list[Rule]:
    """As ``load``, the rules for its labels: on the columns of the key, and the target. There need be none.

    Raises:
        ConfigError: as ``load`` does.
    """
    return _load(spec, "labels", (*spec.entity.keys, spec.target))


def most_rows(rules: Sequence[Rule]) -> int | None:
    """The most rows that a batch can have by its rules; None where they set no limit."""
    named = {"expect_table_row_count_to_be_between": "max_value", "expect_table_row_count_to_equal": "value"}
    limits = [
        rule.arguments.get(named[rule.type])
        for rule in rules
        if rule.type in named and rule.severity == "reject_batch" and not set(rule.arguments) & set(_FILTER.split())
    ]
    return min((int(limit) for limit in limits if isinstance(limit, int | float)), default=None)


def _load(spec: ModelSpec, section: str, columns: Collection[str]) -> list[Rule]:
    where = spec.file(FILE)
    content = read_yaml(spec.folder / FILE)
    content = {"labels": [], **content} if isinstance(content, dict) else {}
    unknown = sorted(str(key) for key in set(content) - {"expectations", "labels"})
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown key", where=where, fix="Known keys: expectations, labels")
    entries = content.get(section)
    if not isinstance(entries, list):
        raise ConfigError(f"{section}: a list of expectations is needed", where=where)
    rules = [_rule(spec, f"{where}: {section}[{number}]", entry, columns) for number, entry in enumerate(entries)]
    _check_different(rules)
    return rules


def _check_different(rules: list[Rule]) -> None:
    # Whatever their severity: of two that say the same one is a mistake.
    for number, rule in enumerate(rules):
        for earlier in rules[:number]:
            if (rule.type, rule.arguments) == (earlier.type, earlier.arguments):
                raise ConfigError(
                    f"checks the same as {earlier.place.rsplit(' ', 1)[-1]}",
                    where=rule.place,
                    fix="Remove one",
                )


def _rule(spec: ModelSpec, place: str, entry: object, known: Collection[str]) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigError("is no mapping with type and severity", where=place)
    arguments = {str(key): value for key, value in entry.items()}
    type_ = arguments.pop("type", None)
    if not isinstance(type_, str) or type_ not in KINDS:
        raise _wrong_type(f"{place}.type", type_)
    kind = KINDS[type_]
    severity = _severity(place, type_, kind, arguments.pop("severity", None))
    _check_keys(place, kind, arguments)
    columns = tuple(_columns(known, place, arguments))
    _check_values(spec, place, arguments)
    if columns and all(name in spec.columns and spec.columns[name].type == "timestamp" for name in columns):
        arguments = {key: _in_utc(value) for key, value in arguments.items()}
    return Rule(place, type_, severity, columns, arguments, _reason(spec, type_, columns))


def _in_utc(value: Any) -> Any:
    """A moment, and each of a list, with the zone that the values of a column have."""
    if isinstance(value, list):
        return [_in_utc(item) for item in value]
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time.min, UTC) if isinstance(value, date) else value


def _wrong_type(where: str, type_: object) -> ConfigError:
    if isinstance(type_, str) and type_ in NEEDS_SQL:
        return ConfigError(
            f"{type_} works in a SQL database only, and a batch is a file",
            where=where,
            fix=f"Use {NEEDS_SQL[type_]}",
        )
    return ConfigError(
        f"{type_!r} is no core expectation of Great Expectations",
        where=where,
        fix="They are listed on greatexpectations.io/expectations",
    )


def _severity(place: str, type_: str, kind: Kind, severity: object) -> Severity:
    if severity not in get_args(Severity):
        raise ConfigError(
            f"is {severity!r}",
            where=f"{place}.severity",
            fix="Set it to one of " + ", ".join(get_args(Severity)),
        )
    if severity == "quarantine_row" and not kind.on_rows:
        raise ConfigError(
            f"{type_} judges the batch, not its rows",
            where=f"{place}.severity",
            fix="Use reject_batch or warn",
        )
    return cast(Severity, severity)


def _check_keys(place: str, kind: Kind, arguments: Mapping[str, Any]) -> None:
    for key in arguments:
        if key not in kind.keys:
            raise ConfigError("unknown key", where=f"{place}.{key}", fix="Known keys: " + ", ".join(sorted(kind.keys)))
    for key in kind.required:
        if key not in arguments:
            raise ConfigError("is missing", where=f"{place}.{key}")
    for key in _LIMITS.split():
        if isinstance(value := arguments.get(key), str) and not _is_limit(value):
            raise ConfigError(f"{value!r} is neither a number nor a date", where=f"{place}.{key}")


def _check_values(spec: ModelSpec, place: str, arguments: Mapping[str, Any]) -> None:
    """Values of another type than their column are in no row: YAML has read a text as a number, or the other way."""
    name, values = arguments.get("column"), arguments.get("value_set")
    if name not in spec.columns or not isinstance(values, list):
        return
    type_ = spec.columns[name].type
    for number, value in enumerate(values):
        if type(value) not in _VALUES[type_]:
            raise ConfigError(
                f"{value!r} is no {type_}, and column {name} has nothing else",
                where=f"{place}.value_set[{number}]",
                fix=f'Write "{value}", with quotes' if type_ == "text" else _HOW[type_],
            )


def _is_limit(value: str) -> bool:
    for parse in (float, datetime.fromisoformat):
        with suppress(ValueError):
            parse(value)
            return True
    return False


def _columns(known: Collection[str], place: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    named = [(key, arguments[key]) for key in _ONE_COLUMN if key in arguments]
    for key in _MANY_COLUMNS:
        listed = arguments.get(key, [])
        if not isinstance(listed, list):
            raise ConfigError("is no list of columns", where=f"{place}.{key}")
        named += [(f"{key}[{number}]", column) for number, column in enumerate(listed)]
    for key, column in named:
        if not isinstance(column, str) or column not in known:
            raise ConfigError(
                f"column {column!r} is not among the columns of model.yaml",
                where=f"{place}.{key}",
                fix="They are " + ", ".join(known),
            )
        yield column


def _reason(spec: ModelSpec, type_: str, columns: tuple[str, ...]) -> str:
    reason = KINDS[type_].reason
    if type_.startswith("expect_table_") or not columns:
        return reason.value
    unique = (Reason.DUPLICATE_VALUE, Reason.DUPLICATE_COMBINATION)
    if reason in unique and sorted(columns) == sorted(spec.entity.keys):
        reason = Reason.DUPLICATE_KEY
    return reason.about(",".join(columns))


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
