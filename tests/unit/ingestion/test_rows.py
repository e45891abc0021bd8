from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.rows import NO_ROWS, RowReasons, are_among, ascending, cast
from include.lakehouse.schemas import COLUMN_TYPES


def cast_one(text: str | None, kind: str) -> tuple[object, bool]:
    found = cast(pa.table({"x": pa.array([text], pa.string())}), {"x": COLUMN_TYPES[kind]})
    return found.columns["x"][0].as_py(), "x" in found.errors


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-122.23", -122.23),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        (" 7 ", 7.0),
        ("1e308", 1e308),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert cast_one(text, "number") == (value, False)


@pytest.mark.parametrize(
    "text", ["NaN", "nan", "inf", "-Infinity", "1e309", "12a", "1,5", "0x10", "1_000", " ", "=1+1"]
)
def test_what_is_no_number_is_null_and_an_error(text: str) -> None:
    assert cast_one(text, "number") == (None, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("+12", 12), ("7.0", 7), ("-3.", -3), (str(2**63 - 1), 2**63 - 1), (f"{-(2**63)}.0", -(2**63))],
)
def test_integers(text: str, value: int) -> None:
    assert cast_one(text, "integer") == (value, False)


@pytest.mark.parametrize("text", ["1.5", "1e3", str(2**63), str(-(2**63) - 1), "9" * 20, "one"])
def test_what_is_no_integer_is_null_and_an_error(text: str) -> None:
    assert cast_one(text, "integer") == (None, True)


@pytest.mark.parametrize("kind", ["integer", "number", "text"])
def test_empty_cell_is_null_and_no_error(kind: str) -> None:
    assert cast_one(None, kind) == (None, False)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_number_is_read_as_python_reads_it(number: float) -> None:
    value, error = cast_one(repr(number), "number")
    assert error == (not math.isfinite(number))
    assert value == (number if math.isfinite(number) else None)


def test_absent_column_is_null() -> None:
    found = cast(pa.table({"y": ["1"]}), {"x": pa.int64(), "y": pa.int64()})
    assert found.columns.to_pylist() == [{"x": None, "y": 1}]
    assert found.errors == {}


CELLS = st.sampled_from(
    [
        None,
        "",
        "1",
        " 7 ",
        "7.0",
        "+3",
        "0x10",
        "X",
        "1e3",
        "many",
        "123456789012345678",
        "-2",
        str(2**63 - 1),
        "9" * 19,
    ]
)


@given(
    cells=st.lists(CELLS, max_size=12),
    kept=st.integers(0, 12),
    kind=st.sampled_from(["integer", "number", "text"]),
    null=st.sampled_from(["mask", "encode"]),
)
def test_a_dictionary_of_texts_is_cast_like_the_texts(cells: list[str | None], kept: int, kind: str, null: str) -> None:
    texts = pa.array(cells, pa.string())
    plain = cast(pa.table({"x": texts[:kept]}), {"x": COLUMN_TYPES[kind]})
    # The dictionary also has what the rows left out say.
    encoded = cast(pa.table({"x": texts.dictionary_encode(null)[:kept]}), {"x": COLUMN_TYPES[kind]})
    assert encoded.columns.equals(plain.columns)
    assert {name: flags.to_pylist() for name, flags in encoded.errors.items()} == {
        name: flags.to_pylist() for name, flags in plain.errors.items()
    }


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.lists(st.integers(0, 20)))))
def test_reasons_are_those_of_a_dictionary_of_lists(added: list[tuple[str, list[int]]]) -> None:
    reasons = RowReasons()
    expected: dict[int, list[str]] = {}
    for reason in dict.fromkeys(reason for reason, rows in added if rows):
        for row in {row for other, rows in added if other == reason for row in rows}:
            expected.setdefault(row, []).append(reason)
    for reason, rows in added:
        reasons.add(reason, rows)
    assert reasons.rows().tolist() == sorted(expected)
    assert reasons.column().to_pylist() == [expected[row] for row in sorted(expected)]
    assert sum(reasons.counts().values()) == sum(map(len, expected.values()))


ROWS = st.lists(st.integers(0, 30)).map(lambda rows: np.array(rows, dtype=np.int64))


@given(st.lists(ROWS))
def test_ascending_is_what_numpy_says(parts: list[np.ndarray]) -> None:
    expected = np.unique(np.concatenate([NO_ROWS, *parts]))
    assert np.array_equal(ascending(*parts), expected)


@given(ROWS, ROWS)
def test_are_among_is_what_numpy_says(rows: np.ndarray, others: np.ndarray) -> None:
    assert np.array_equal(are_among(rows, np.unique(others)), np.isin(rows, others))
