"""Which split is proposed for which file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.sections import Split
from include.scaffold import draft
from include.scaffold.guess import Wanted

ROWS = 400


@pytest.fixture
def proposed(tmp_path: Path) -> Callable[..., tuple[Split, str]]:
    """The split of the folder that is drafted from a file, and what is said of it."""

    def of(**columns: object) -> tuple[Split, str]:
        random = np.random.default_rng(1)
        frame = pd.DataFrame({"visit": np.arange(1, ROWS + 1), "size": random.normal(size=ROWS), **columns})
        frame["label"] = random.normal(size=ROWS)
        frame.to_csv(tmp_path / "rows.csv", index=False)
        (tmp_path / "models").mkdir()
        made = draft.make("m", str(tmp_path / "rows.csv"), Wanted(), date(2025, 1, 1), tmp_path / "models")
        draft.write(made, tmp_path / "models")
        text = (tmp_path / "models/m/model.yaml").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("  split: "))
        split = catalogue.load("m", tmp_path / "models").training.split
        (said,) = (line for line in made.review() if line.startswith("split "))
        assert said == f"split {split.kind} ({line.partition('  # ')[2]})"
        return split, said

    return of


def whole(values: object) -> np.ndarray:
    return np.asarray(values, dtype=int)


RANDOM = np.random.default_rng(2)
WIDE = {"lon": RANDOM.uniform(-124, -114, ROWS).round(3), "lat": RANDOM.uniform(32, 42, ROWS).round(3)}


def test_rows_that_share_an_id_are_split_by_it(proposed: Callable[..., tuple[Split, str]]) -> None:
    split, said = proposed(patient_id=whole(np.arange(ROWS) % 50))
    assert (split.kind, split.group, split.test_share) == ("by_group", "patient_id", 0.3)
    assert "rows share a patient_id" in said


def test_rows_with_a_place_are_split_by_blocks(proposed: Callable[..., tuple[Split, str]]) -> None:
    split, said = proposed(**WIDE)
    assert (split.kind, dict(split.blocks), split.margin) == ("by_block", {"lon": 0.5, "lat": 0.5}, 0.0)
    assert "neighbours are alike" in said


def test_a_time_comes_first(proposed: Callable[..., tuple[Split, str]]) -> None:
    days = pd.date_range("2025-01-01", periods=40).strftime("%Y-%m-%d")
    split, _ = proposed(day=np.resize(days, ROWS), patient_id=whole(np.arange(ROWS) % 50), **WIDE)
    assert (split.kind, split.gap, split.columns) == ("by_time", 1, ())


@pytest.mark.parametrize(
    "columns",
    [
        {"patient_id": whole(np.arange(ROWS) % 5)},  # few
        {"patient_id": whole(np.where(np.arange(ROWS) < 150, 1, np.arange(ROWS) % 50))},  # one has most rows
        {"patient_id": whole(np.arange(ROWS) % 300)},  # most are there once
        {"patients": whole(np.arange(ROWS) % 50)},  # a number of something
        {"lon": WIDE["lon"]},
        {"lon": np.full(ROWS, 1.5), "lat": WIDE["lat"]},
        {name: values + np.where(np.arange(ROWS) == 0, 9000, 0) for name, values in WIDE.items()},  # one far away
    ],
)
def test_other_rows_are_split_by_their_key(
    columns: dict[str, object], proposed: Callable[..., tuple[Split, str]]
) -> None:
    split, said = proposed(**columns)
    assert split.kind == "random_by_key"
    assert said.startswith("split random_by_key (guessed: no column has a date in every row; by_time where")
