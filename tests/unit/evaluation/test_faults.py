"""Mistakes of who delivers: what undoes them is named, and a change of the world is none."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.evaluation import faults
from include.evaluation.corrections import Floats
from include.evaluation.faults import CONVERSIONS, ROW_CONVERSIONS, Fault, FaultKind

ALPHA = 0.01
ROWS, HISTORY = 413, 9000


def incomes(seed: int, count: int = ROWS) -> Floats:
    return np.random.default_rng(seed).lognormal(1.2, 0.5, count)


def temperatures(seed: int, count: int = ROWS) -> Floats:
    return np.random.default_rng(seed).normal(15, 3, count)


REFERENCE = {"income": incomes(0, HISTORY), "degrees": temperatures(1, HISTORY)}


def window(seed: int = 2, **changed: Floats) -> pd.DataFrame:
    return pd.DataFrame({"income": incomes(seed), "degrees": temperatures(seed + 1)} | changed)


def found(rows: pd.DataFrame) -> list[Fault]:
    return faults.of_columns(REFERENCE, rows, ALPHA)


@given(st.integers(0, 500), st.floats(0.4, 2.2))
def test_a_column_that_grows_or_shrinks_has_no_fault(seed: int, factor: float) -> None:
    assert found(window(seed, income=factor * incomes(seed))) == []


@pytest.mark.parametrize("what", CONVERSIONS)
def test_a_column_in_another_unit_is_named_with_what_undoes_it(what: str) -> None:
    conversion = CONVERSIONS[what]
    name = "degrees" if conversion.offset or 1 / 3 < conversion.scale < 3 else "income"
    usual = window()[name].to_numpy()
    (fault,) = found(window(**{name: conversion.scale * usual + conversion.offset}))
    assert (fault.kind, fault.column, fault.what) == (FaultKind.UNIT, name, what)
    undone = pd.DataFrame({name: conversion.scale * usual + conversion.offset}).eval(conversion.undoing(name))
    np.testing.assert_allclose(undone, usual, rtol=1e-4)


@pytest.mark.parametrize("what", [name for name in ROW_CONVERSIONS if name not in ("feet", "metres")])
def test_rows_in_another_unit_are_named_with_their_share(what: str) -> None:
    income = incomes(3)
    income[:30] *= CONVERSIONS[what].scale
    (fault,) = found(window(income=income))
    assert (fault.kind, fault.column, fault.what) == (FaultKind.ROWS, "income", what)
    assert fault.least < 30 / ROWS < fault.most


def test_columns_in_each_others_place_are_named() -> None:
    usual = window()
    (fault,) = found(window(income=usual["degrees"].to_numpy(), degrees=usual["income"].to_numpy()))
    assert (fault.kind, fault.column, fault.what) == (FaultKind.SWAPPED, "income", "degrees")


def test_one_row_far_out_is_no_fault() -> None:
    income = incomes(3)
    income[0] *= 1000
    assert found(window(income=income)) == []


def test_rows_far_out_that_no_factor_explains_are_no_fault() -> None:
    income = incomes(3)
    income[:30] = 99_999.0  # a value that stands for none
    assert found(window(income=income)) == []


def test_few_rows_of_one_value_or_none_are_no_fault() -> None:
    assert found(window().iloc[:0]) == []
    assert found(window().iloc[:2]) == []
    assert found(window().assign(income=np.nan)) == []
    assert faults.of_columns({"flag": np.array([0.0, 1.0])}, pd.DataFrame({"flag": [1.0]}), ALPHA) == []


@given(st.integers(1, 12), st.integers(3, 8), st.integers(0, 5))
def test_the_chance_of_rows_so_far_out_is_that_of_drawing_them(before: int, now: int, seed: int) -> None:
    """Of values in any order the k outermost are all of the window in so many of all orders."""
    rng = np.random.default_rng(seed)
    reference, beyond = np.sort(rng.uniform(1, 2, 10 * before)), rng.uniform(90, 99, 3)
    rows = np.concatenate([rng.uniform(1, 2, 10 * now), beyond])
    orders = comb(len(rows), 3) / comb(len(reference) + len(rows), 3)
    assert faults._outlying(reference, rows).p_value == pytest.approx(min(4 * orders, 1.0))


def test_a_fault_is_said_in_words() -> None:
    said = [
        (Fault(FaultKind.ROWS, "a", "times_10", 0.05, 0.03, 0.08), "a is about ten times too large in 5.0% of rows"),
        (Fault(FaultKind.UNIT, "a", "fahrenheit", 0.0), "(a - 32) / 1.8 is as before"),
        (Fault(FaultKind.UNIT, "a", "metres", 0.0), "a * 3.28084 is as before"),
        (Fault(FaultKind.SWAPPED, "a", "b", 0.0), "a and b are in each other's place"),
        (Fault(FaultKind.APART, "a", "b", 1.0), "the values of a and of b do not belong to the same rows"),
        (Fault(FaultKind.APART, "a", "", 1.0), "the values of a and of the other columns do not belong"),
        (Fault(FaultKind.MOVED, "a", "", -0.1), "a is moved by about -0.1"),
    ]
    for fault, text in said:
        assert text in fault.said
