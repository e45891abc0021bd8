from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.rows import NO_ROWS, Notation, RowReasons, are_among, ascending, cast
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


@pytest.mark.parametrize("kind", COLUMN_TYPES)
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
    kind=st.sampled_from(list(COLUMN_TYPES)),
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


TRUE, FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
FORMS = (None, "%d.%m.%Y", "%m/%d/%y", "%Y%m%d")


def read_slowly(text: str | None, kind: str, nulls: frozenset[str], form: str | None) -> tuple[object, bool]:
    """The value of a cell, and whether it fits no value of the type: one rule after the other."""
    if text is None or text.strip() in nulls:
        return None, False
    if kind == "text":
        return text, False
    text = text.strip()
    if kind == "boolean":
        value = True if text.lower() in TRUE else False if text.lower() in FALSE else None
        return value, value is None
    if kind == "date":
        with suppress(ValueError):
            if form is not None:
                return datetime.strptime(text, form).date(), False
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.removesuffix(" 00:00:00")):
                return date.fromisoformat(text[:10]), False
        return None, True
    with suppress(ValueError):
        number = float(text) if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", text) else math.nan
        if number in [float(null) for null in nulls if re.fullmatch(r"[-+]?[0-9.]+", null)]:
            return None, False
        if math.isfinite(number):
            return number, False
    return None, True


SPACES = st.sampled_from(["", " ", "\t"])
DATES = st.dates(date(1970, 1, 1), date(2068, 1, 1))
WRITTEN = st.one_of(
    st.none(),
    st.sampled_from(
        ["NA", "n/a", "-999", "-999.0", "-999.5", "na", "", "-", "0", "0000-01-01", "2023-02-29", "x" * 99]
    ),
    st.sampled_from([*TRUE, *FALSE, "on", "yess", "\uff39"]).flatmap(
        lambda word: st.sampled_from([word, word.upper(), word.title()])
    ),
    DATES.flatmap(lambda day: st.sampled_from([day.strftime(form or "%Y-%m-%d") for form in FORMS])),
    DATES.map(lambda day: f"{day} 00:00:00"),
    DATES.map(lambda day: f"{day} 05:00:00"),
    st.text(max_size=6),
)


@given(
    cells=st.lists(st.tuples(SPACES, WRITTEN, SPACES).map(lambda parts: parts[1] and "".join(parts)), max_size=12),
    kind=st.sampled_from(["number", "text", "date", "boolean"]),
    nulls=st.frozensets(st.sampled_from(["NA", "n/a", "-999", "-", ""])),
    form=st.sampled_from(FORMS),
    encoded=st.booleans(),
)
def test_cells_are_read_as_one_after_the_other_is(
    cells: list[str | None], kind: str, nulls: frozenset[str], form: str | None, encoded: bool
) -> None:
    texts = pa.array(cells, pa.string())
    written = {"x": Notation(nulls, form if kind == "date" else None)}
    found = cast(pa.table({"x": texts.dictionary_encode() if encoded else texts}), {"x": COLUMN_TYPES[kind]}, written)
    wanted = [read_slowly(cell, kind, nulls, form) for cell in cells]
    assert found.columns["x"].to_pylist() == [value for value, _ in wanted]
    flags = found.errors["x"].to_pylist() if "x" in found.errors else [False] * len(cells)
    assert flags == [misfit for _, misfit in wanted]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("9999-12-31", date(9999, 12, 31)),
        ("2024-02-29T00:00", date(2024, 2, 29)),
        ("2024-02-29T00:00:00.000Z", date(2024, 2, 29)),
        (" 0001-01-01 ", date(1, 1, 1)),
    ],
)
def test_dates(text: str, day: date) -> None:
    assert cast_one(text, "date") == (day, False)


@pytest.mark.parametrize(
    "text", ["2023-02-29", "2024-1-1", "20240101", "2024-01-01T05:00", "0000-01-01", "10000-01-01"]
)
def test_what_is_no_date_is_null_and_an_error(text: str) -> None:
    assert cast_one(text, "date") == (None, True)


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
