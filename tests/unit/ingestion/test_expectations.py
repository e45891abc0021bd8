from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from great_expectations.expectations.expectation import (
    BatchExpectation,
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)

from include.core import catalogue
from include.core.errors import ConfigError
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.ingestion import expectations, suite
from include.ingestion.expectations import KINDS, NEEDS_SQL

ON_ROWS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)

STEERING = {*BatchExpectation.__fields__, "library_metadata"}
"""Fields that steer Great Expectations itself: severity, meta, result_format and so on."""

GOOD = "{type: expect_column_values_to_not_be_null, column: longitude, severity: quarantine_row}"

Write = Callable[[str], ModelSpec]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A copy of the model with these entries as its expectations."""
    source = catalogue.MODELS / "california_housing"

    def copy(content: str) -> ModelSpec:
        folder = tmp_path / "california_housing"
        folder.mkdir()
        for file in ("model.yaml", "features.sql"):
            (folder / file).write_text((source / file).read_text())
        (folder / "expectations.yaml").write_text(content)
        return catalogue.load("california_housing", tmp_path)

    return copy


@pytest.mark.parametrize("model", catalogue.registered())
def test_expectations_of_every_model_are_right(model: str) -> None:
    spec = catalogue.load(model)
    rules = expectations.load(spec)
    assert len(suite.build(spec, rules).expectations) == len(rules) > 0


def test_rule_says_what_is_checked_and_what_a_failure_is_called(write: Write) -> None:
    spec = write(
        "expectations:\n"
        f"  - {GOOD}\n"
        "  - {type: expect_column_values_to_be_unique, column: listing_id, severity: quarantine_row}\n"
        "  - {type: expect_column_values_to_be_unique, column: latitude, severity: warn}\n"
        "  - {type: expect_column_pair_values_a_to_be_greater_than_b, column_A: total_rooms,\n"
        "     column_B: total_bedrooms, severity: warn}\n"
        "  - {type: expect_table_row_count_to_be_between, min_value: 1, severity: reject_batch}\n"
    )
    rules = expectations.load(spec)
    assert [rule.reason for rule in rules] == [
        "null:longitude",
        "duplicate_key:listing_id",
        "duplicate_value:latitude",
        "not_greater:total_rooms,total_bedrooms",
        "row_count_out_of_range",
    ]
    assert rules[4].arguments == {"min_value": 1}
    assert rules[4].severity == "reject_batch"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{type: expect_magic, severity: warn}",
            r"expectations\[1\]\.type: 'expect_magic' is no core expectation",
        ),
        ("{severity: warn}", r"expectations\[1\]\.type: None is no core expectation"),
        ("just text", r"expectations\[1\]: is no mapping"),
        (
            "{type: expect_column_values_to_be_null, column: longitude}",
            r"expectations\[1\]\.severity: is None\. Set it to one of reject_batch, quarantine_row, warn",
        ),
        (
            "{type: expect_column_values_to_be_null, column: longitud, severity: warn}",
            r"expectations\[1\]\.column: column 'longitud' is not among the columns of model.yaml",
        ),
        (
            "{type: expect_compound_columns_to_be_unique, column_list: [longitude, x], severity: warn}",
            r"expectations\[1\]\.column_list\[1\]: column 'x' is not among",
        ),
        (
            "{type: expect_column_values_to_be_between, column: longitude, minimum: 3, severity: warn}",
            r"expectations\[1\]\.minimum: unknown key\. Known keys: .*min_value",
        ),
        (
            "{type: expect_column_values_to_be_in_set, column: longitude, severity: warn}",
            r"expectations\[1\]\.value_set: is missing",
        ),
        (
            "{type: expect_column_values_to_be_between, column: longitude, min_value: low, severity: warn}",
            r"expectations\[1\]\.min_value: 'low' is neither a number nor a date",
        ),
        (
            "{type: expect_column_values_to_be_in_set, column: ocean_proximity, value_set: [A, 7], severity: warn}",
            r"expectations\[1\]\.value_set\[1\]: 7 is no text, and column ocean_proximity has nothing else\. "
            'Write "7", with quotes',
        ),
        (
            "{type: expect_column_values_to_be_in_set, column: ocean_proximity, value_set: [NO, SE], severity: warn}",
            r'line 3, column .*: NO is read as false\. Write "NO", with quotes, for the text, or false',
        ),
        (
            "{type: expect_column_values_to_be_in_set, column: longitude, value_set: ['7'], severity: warn}",
            r"expectations\[1\]\.value_set\[0\]: '7' is no number, and .* Write a number, without quotes",
        ),
        (
            "{type: [expect_column_values_to_be_null], column: longitude, severity: warn}",
            r"expectations\[1\]\.type: .* is no core expectation",
        ),
        (
            "{type: expect_column_values_to_be_null, column: [longitude], severity: warn}",
            r"expectations\[1\]\.column: column \['longitude'\] is not among the columns of model.yaml",
        ),
        (
            "{type: expect_compound_columns_to_be_unique, column_list: longitude, severity: warn}",
            r"expectations\[1\]\.column_list: is no list of columns",
        ),
        (
            "{type: expect_table_row_count_to_equal, value: 1, severity: quarantine_row}",
            r"expectations\[1\]\.severity: .* judges the batch, not its rows\. Use reject_batch or warn",
        ),
        (
            "{type: unexpected_rows_expectation, unexpected_rows_query: SELECT 1, severity: warn}",
            r"expectations\[1\]\.type: .* works in a SQL database only",
        ),
        (GOOD.replace("quarantine_row", "warn"), r"expectations\[1\]: checks the same as expectations\[0\]"),
    ],
)
def test_wrong_entry_is_one_error_that_names_file_and_key(write: Write, entry: str, message: str) -> None:
    spec = write(f"expectations:\n  - {GOOD}\n  - {entry}\n")
    with pytest.raises(ConfigError, match=f"^{spec.folder}/expectations.yaml: {message}"):
        expectations.load(spec)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{type: expect_column_values_to_be_between, column: longitude, severity: warn}",
            r"expectations\[1\]: min_value and max_value cannot both be None",
        ),
        (
            "{type: expect_column_values_to_be_in_set, column: longitude, value_set: INLAND, severity: warn}",
            r"expectations\[1\]\.value_set: value is not a valid list",
        ),
        (
            "{type: expect_column_values_to_not_be_null, column: longitude, mostly: 1.5, severity: warn}",
            r"expectations\[1\]\.mostly: ensure this value is less than or equal to 1",
        ),
    ],
)
def test_wrong_value_is_the_same_error_before_anything_is_checked(write: Write, entry: str, message: str) -> None:
    spec = write(f"expectations:\n  - {GOOD}\n  - {entry}\n")
    rules = expectations.load(spec)
    with pytest.raises(ConfigError, match=f"^{spec.folder}/expectations.yaml: {message}"):
        suite.check(spec, rules, pd.DataFrame())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expectations: a list of expectations is needed"),
        ("expectations: 3", "expectations: a list of expectations is needed"),
        ("expectations: []\nrules: []", "rules: unknown key"),
        ("expectations: [", "not valid YAML in line 2"),
    ],
)
def test_wrong_file_is_one_error(write: Write, content: str, message: str) -> None:
    spec = write(content)
    with pytest.raises(ConfigError, match=message):
        expectations.load(spec)


def test_types_are_the_core_expectations() -> None:
    assert KINDS.keys() | NEEDS_SQL.keys() == suite.core_types().keys()
    assert not KINDS.keys() & NEEDS_SQL.keys()


@pytest.mark.parametrize("type_", KINDS)
def test_kind_is_as_its_class_has_it(type_: str) -> None:
    expectation, kind = suite.core_types()[type_], KINDS[type_]
    own = {key: field for key, field in expectation.__fields__.items() if key not in STEERING}
    assert sorted(kind.required) == sorted(key for key, field in own.items() if field.required)
    assert sorted(kind.optional) == sorted(key for key, field in own.items() if not field.required)
    assert kind.on_rows == issubclass(expectation, ON_ROWS)


def test_what_is_to_be_used_instead_is_there() -> None:
    instead = {name for name in NEEDS_SQL.values() if name.startswith("expect_")}
    assert instead
    assert instead <= KINDS.keys()


LOAD = """
import logging, sys
from include.core import catalogue
from include.ingestion import expectations
assert all(expectations.load(catalogue.load(name)) for name in catalogue.registered())
assert "great_expectations" not in sys.modules
logging.basicConfig(level=logging.INFO)
assert not logging.getLogger("great_expectations._docs_decorators").isEnabledFor(logging.INFO)
"""


def test_rules_are_loaded_without_great_expectations_whose_import_would_be_quiet() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
