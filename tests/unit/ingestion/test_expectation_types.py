"""The types of expectations are those of Great Expectations, whose own classes say so."""

from __future__ import annotations

import subprocess
import sys

import pytest
from great_expectations.expectations.expectation import (
    BatchExpectation,
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)

from include.core.settings import PROJECT_ROOT
from include.ingestion.expectation_types import KINDS, NEEDS_SQL
from include.ingestion.validation.rules import core_types

ON_ROWS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)

STEERING = {*BatchExpectation.__fields__, "library_metadata"}
"""Fields that steer Great Expectations itself: severity, meta, result_format and so on."""


def test_types_are_the_core_expectations() -> None:
    assert KINDS.keys() | NEEDS_SQL.keys() == core_types().keys()
    assert not KINDS.keys() & NEEDS_SQL.keys()


@pytest.mark.parametrize("type_", KINDS)
def test_kind_is_as_its_class_has_it(type_: str) -> None:
    expectation, kind = core_types()[type_], KINDS[type_]
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
