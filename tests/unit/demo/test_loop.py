from __future__ import annotations

from pathlib import Path

import pytest

from include.core.errors import StackError
from include.demo.loop import Plan, Progress

DATA = {"path": "/x.csv", "origin": "downloaded", "sha256": "abc", "verified": True}


@pytest.mark.parametrize(
    ("days", "drift_day", "expected"), [(10, "4", 4), (14, "6", 6), (3, "none", None), (1, "1", 1)]
)
def test_plan_of_the_command_line(days: int, drift_day: str, expected: int | None) -> None:
    assert Plan.parse(days, drift_day) == Plan(days, expected)


@pytest.mark.parametrize(("days", "drift_day"), [(0, "none"), (365, "4"), (10, "11"), (10, "0"), (10, "soon")])
def test_words_that_make_no_plan_are_refused(days: int, drift_day: str) -> None:
    with pytest.raises(StackError, match=r"(DAYS|DRIFT_DAY)="):
        Plan.parse(days, drift_day)


def test_progress_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file, plan = tmp_path / "demo" / "progress.json", Plan(10, 4)
    progress = Progress.load(file, plan, DATA)
    progress.finish("history", 1.23)
    again = Progress.load(file, plan, DATA)
    assert again.done == ["history"]
    assert again.seconds == {"history": 1.2}


@pytest.mark.parametrize(("plan", "data"), [(Plan(14, 4), DATA), (Plan(10, 4), {**DATA, "sha256": "other"})])
def test_another_plan_or_file_in_the_same_folder_is_refused(tmp_path: Path, plan: Plan, data: dict) -> None:
    file = tmp_path / "progress.json"
    Progress.load(file, Plan(10, 4), DATA).finish("history", 1)
    with pytest.raises(StackError, match=r"holds a demo with DAYS=10 DRIFT_DAY=4 on downloaded.*make clean"):
        Progress.load(file, plan, data)
