"""Which number a candidate has beside the version in production: a function of what is recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.core import catalogue
from include.lakehouse import comparisons
from include.lakehouse.comparisons import Comparison, Finding, NumberTaken, number_of, record
from include.lakehouse.tables import Lakehouse
from tests.tables import Overtaken

SPEC = catalogue.load("california_housing")
FIRST = Comparison("2", "1", 1, "adjusted_r2", 400, 0.01, -0.002, 0.03, 0.025, 0.003, 0.02, Finding.NOT_SURELY_BETTER)


def test_a_comparison_is_read_as_it_was_recorded_and_again_nothing_changes(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path))
    assert comparisons.read(SPEC, lake, "1") == []
    for _ in range(2):
        record(SPEC, lake, [FIRST], "run")
    assert comparisons.read(SPEC, lake, "1") == [FIRST]
    record(SPEC, lake, [replace(FIRST, gain=0.5)], "run")
    assert [item.gain for item in comparisons.read(SPEC, lake, "1")] == [0.5]


def test_a_candidate_keeps_its_number_and_a_new_one_has_the_next(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path))
    second = replace(FIRST, candidate="3", number=2)
    for item, run in ((FIRST, "a"), (second, "b"), (FIRST, "c"), (second, "b")):
        record(SPEC, lake, [item], run)
    assert [(item.candidate, item.number) for item in comparisons.read(SPEC, lake, "1")] == [
        ("2", 1),
        ("2", 1),
        ("3", 2),
    ]
    other = replace(FIRST, candidate="3", production_version="2")
    record(SPEC, lake, [other], "d")
    assert comparisons.read(SPEC, lake, "2") == [other]
    earlier = [(item.candidate, item.number) for item in comparisons.read(SPEC, lake, "1")]
    assert [number_of(name, earlier) for name in ("2", "3", "4")] == [1, 2, 3]


def test_a_number_that_another_candidate_has_taken_is_not_given_twice(tmp_path: Path) -> None:
    """Between the look at the table and the commit, another gate has recorded its candidate."""
    other = replace(FIRST, candidate="3")
    lake = Overtaken(str(tmp_path), lambda: record(SPEC, Lakehouse(str(tmp_path)), [other], "other"))
    record(SPEC, Lakehouse(str(tmp_path)), [replace(FIRST, production_version="9")], "before")  # the table is there
    with pytest.raises(NumberTaken):
        record(SPEC, lake, [FIRST], "run")
    assert comparisons.read(SPEC, lake, "1") == [other]
    record(SPEC, lake, [replace(FIRST, number=2)], "run")
    assert [item.candidate for item in comparisons.read(SPEC, lake, "1")] == ["3", "2"]
