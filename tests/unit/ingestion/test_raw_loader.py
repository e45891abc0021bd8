from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.ingestion import raw_loader
from include.ingestion.raw_loader import RowSpill


def chunk(start: int, rows: int) -> pa.Table:
    return pa.table(
        {"row_number": np.arange(start + 1, start + rows + 1), "text": [f"row {start + n}" for n in range(rows)]}
    )


def kept() -> RowSpill:
    aside = RowSpill()
    aside.add(chunk(0, 5), np.array([1, 4]), 0)
    aside.add(chunk(5, 5), np.array([], dtype=np.int64), 5)
    aside.add(chunk(10, 5), np.array([2]), 10)
    return aside


def test_kept_rows_come_back_with_their_positions() -> None:
    parts = list(kept().rows())
    assert np.concatenate([positions for _, positions in parts]).tolist() == [1, 4, 12]
    assert pa.concat_tables(rows for rows, _ in parts)["text"].to_pylist() == ["row 1", "row 4", "row 12"]


@pytest.mark.parametrize(("wanted", "all_there"), [([], True), ([4, 12], True), ([4, 5], False)])
def test_has_tells_whether_every_row_is_kept(wanted: list[int], all_there: bool) -> None:
    assert kept().has(np.array(wanted, dtype=np.int64)) is all_there


def test_nothing_set_aside_is_nothing_there() -> None:
    aside = RowSpill()
    assert list(aside.rows()) == []
    aside.close()


def test_too_many_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_loader, "SPILLED_ROWS", 2)
    assert not kept().has(np.array([1]))
