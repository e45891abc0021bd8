from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.ingestion.validation.result import RowReasons


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
