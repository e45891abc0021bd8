from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from great_expectations.core import ExpectationValidationResult

from include.core import catalogue
from include.core.spec import ModelSpec
from include.ingestion import suite
from include.ingestion.expectations import KINDS, Failure, Rule, RuleOutcome, Severity
from include.ingestion.verdict import sort_out
from include.lakehouse.decisions import Reason

BETWEEN = "expect_column_values_to_be_between"
QUANTILES = {"quantiles": [0.5], "value_ranges": [[30, 40]]}


@pytest.fixture
def spec() -> ModelSpec:
    return catalogue.load("california_housing")


def rule(kind: str, severity: Severity = "quarantine_row", **arguments: Any) -> Rule:
    columns = tuple(arguments[key] for key in ("column", "column_A", "column_B") if key in arguments)
    columns += tuple(arguments.get("column_list", ()))
    reason = ":".join([KINDS[kind].reason, *columns])
    return Rule("expectations[0]", kind, severity, columns, arguments, reason)


def rows_by_reason(spec: ModelSpec, rules: list[Rule], frame: pd.DataFrame, **known: Any) -> dict[str, list[int]]:
    """The rows to quarantine."""
    rows, _, _ = sort_out(suite.check(spec, rules, frame, **known))
    return {reason: rows.rows_of(reason).tolist() for reason in rows.counts()}


def test_all_failing_rows_are_found_however_many(spec: ModelSpec) -> None:
    numbers = np.arange(5000.0)
    numbers[::3] = np.nan
    frame = pd.DataFrame({"longitude": numbers, "latitude": numbers * 0, "same": 1.0})
    rules = [
        rule("expect_column_values_to_not_be_null", column="longitude"),
        rule(BETWEEN, column="longitude", max_value=10),
        rule("expect_column_values_to_be_unique", column="latitude"),
        rule("expect_column_pair_values_to_be_equal", column_A="longitude", column_B="latitude"),
        rule("expect_compound_columns_to_be_unique", column_list=["latitude", "same"]),
    ]
    found = rows_by_reason(spec, rules, frame)
    given = np.flatnonzero(~np.isnan(numbers))
    assert found["null:longitude"] == list(range(0, 5000, 3))
    assert found["out_of_range:longitude"] == given[given > 10].tolist()
    assert found["duplicate_value:latitude"] == given.tolist()
    assert len(found["duplicate_combination:latitude:same"]) > 3000
    assert len(found["not_equal:longitude:latitude"]) > 3000


def test_rows_are_named_by_the_index_of_the_frame(spec: ModelSpec) -> None:
    frame = pd.DataFrame({"longitude": [1.0, -1.0, 1.0]}, index=pd.Index([4, 8, 15]))
    rules = [rule(BETWEEN, column="longitude", max_value=0)]
    assert rows_by_reason(spec, rules, frame) == {"out_of_range:longitude": [4, 15]}


def test_rules_that_say_the_same_in_other_words_are_both_checked(spec: ModelSpec) -> None:
    kind = "expect_column_values_to_not_be_null"
    rules = [rule(kind, column="longitude"), rule(kind, column="longitude", mostly=1)]
    found = suite.check(spec, rules, pd.DataFrame({"longitude": [1.0, np.nan]}))
    assert [outcome.failure and outcome.failure.reason for outcome in found] == ["null:longitude"] * 2
    assert [outcome.rows.tolist() for outcome in found if outcome.rows is not None] == [[1], [1]]


@pytest.mark.parametrize(
    ("severity", "batch_reasons", "warnings"),
    [("reject_batch", ["out_of_range:longitude"], []), ("warn", [], ["out_of_range:longitude"])],
)
def test_severity_decides_what_a_failing_row_means(
    spec: ModelSpec, severity: Severity, batch_reasons: list[str], warnings: list[str]
) -> None:
    frame = pd.DataFrame({"longitude": [5.0, -1.0, np.nan]})
    outcomes = suite.check(spec, [rule(BETWEEN, severity, column="longitude", max_value=0)], frame)
    assert [outcome.failure for outcome in outcomes] == [Failure("out_of_range:longitude", severity, 1, ("5.0",))]
    rows, *others = sort_out(outcomes)
    assert (rows.counts(), others) == ({}, [batch_reasons, warnings])


def test_statistic_out_of_range_says_what_was_observed(spec: ModelSpec) -> None:
    frame = pd.DataFrame({"longitude": [1.0, 2.0]})
    (found,) = suite.check(
        spec, [rule("expect_column_mean_to_be_between", "warn", column="longitude", min_value=3)], frame
    )
    assert found.failure == Failure("mean_out_of_range:longitude", "warn", 0, ("observed 1.5",))
    assert sort_out([found])[2] == ["mean_out_of_range:longitude"]


def test_cell_that_could_not_be_read_gets_no_second_reason(spec: ModelSpec) -> None:
    frame = pd.DataFrame({"longitude": [np.nan, np.nan, 1.0], "latitude": [1.0, 1.0, 2.0]})
    rules = [
        rule("expect_column_values_to_not_be_null", column="longitude"),
        rule("expect_column_pair_values_a_to_be_greater_than_b", column_A="latitude", column_B="longitude"),
    ]
    assert rows_by_reason(spec, rules, frame, cast_errors={"longitude": np.array([0])}) == {
        "null:longitude": [1],
        "not_greater:latitude:longitude": [1],
    }


@pytest.mark.parametrize(("severity", "place"), [("quarantine_row", 1), ("reject_batch", 1), ("warn", 2)])
def test_rule_that_cannot_be_evaluated_counts_as_broken(spec: ModelSpec, severity: Severity, place: int) -> None:
    frame = pd.DataFrame({"ocean_proximity": ["INLAND", "ISLAND"]})
    rules = [
        rule(
            "expect_column_value_z_scores_to_be_less_than",
            severity,
            column="ocean_proximity",
            threshold=3,
            double_sided=True,
        )
    ]
    found = sort_out(suite.check(spec, rules, frame))
    assert found[place] == ["not_evaluated:ocean_proximity"]
    assert found[0].counts() == {}


def test_list_that_is_cut_names_no_rows() -> None:
    result = {"unexpected_count": 3, "unexpected_index_list": [0, 1]}
    outcome = ExpectationValidationResult(success=False, result=result)
    assert suite._failing_rows(rule(BETWEEN, column="longitude"), outcome, {}) is None
    result["unexpected_index_list"].append(2)
    assert suite._failing_rows(rule(BETWEEN, column="longitude"), outcome, {}).tolist() == [0, 1, 2]


def test_mostly_lets_a_share_of_rows_pass(spec: ModelSpec) -> None:
    frame = pd.DataFrame({"longitude": [-1.0, -1.0, -1.0, 1.0]})
    (found,) = suite.check(spec, [rule(BETWEEN, column="longitude", max_value=0, mostly=0.75)], frame)
    assert found.success


ARGUMENTS: dict[str, Any] = {
    "column": "longitude",
    "column_A": "longitude",
    "column_B": "latitude",
    "column_list": ["longitude", "latitude"],
    "column_set": ["longitude", "latitude", "ocean_proximity"],
    "value_set": [1.0],
    "value_pairs_set": [[1.0, 2.0]],
    "min_value": 0,
    "value": 3,
    "threshold": 3.0,
    "double_sided": True,
    "type_": "float64",
    "type_list": ["float64"],
    "regex": "x",
    "regex_list": ["x"],
    "strftime_format": "%Y",
    "json_schema": {"type": "string"},
    "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 9]]},
    "sum_total": 3,
    "partition_object": {"bins": [0.0, 1.0, 2.0], "weights": [0.5, 0.5]},
    "method": "iqr",
    "multiplier": 1.5,
}
ON_TEXT = ("regex", "strftime", "json", "length", "dateutil")


@pytest.mark.parametrize("kind", KINDS)
def test_every_core_expectation_is_evaluated(spec: ModelSpec, kind: str) -> None:
    arguments = {key: ARGUMENTS[key] for key in KINDS[kind].keys if key in ARGUMENTS}
    if any(word in kind for word in ON_TEXT):
        arguments["column"] = "ocean_proximity"
    frame = pd.DataFrame({"longitude": [1.0, 1.5], "latitude": [2.0, 0.5], "ocean_proximity": ["1", "1999"]})
    (found,) = suite.check(spec, [rule(kind, "warn", **arguments)], frame)
    assert not found.reason.startswith(Reason.NOT_EVALUATED)


def test_expectations_are_told_in_words_whatever_their_values(spec: ModelSpec) -> None:
    rules = [
        rule("expect_column_values_to_be_in_set", column="ocean_proximity", value_set=["<b>$column", "NEAR BAY"]),
        rule("expect_column_quantile_values_to_be_between", column="latitude", quantile_ranges=QUANTILES),
        rule("expect_table_row_count_to_equal", value=3),
    ]
    told = suite.tell(spec, [RuleOutcome(item, observed=3.0) for item in rules], hidden={"latitude"})
    assert [(item.expected, item.observed) for item in told] == [
        ("ocean_proximity values must belong to this set: <b>$column NEAR BAY.", 3.0),
        ("latitude expect column quantile values to be between", None),
        ("Must have exactly 3 rows.", 3.0),
    ]
