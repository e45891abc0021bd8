"""Steps from the command line, on real tables."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from include.core import catalogue
from include.jobs.__main__ import main
from include.lakehouse import decisions
from include.lakehouse.schemas import CLEAN, FEATURES
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from tests.tables import day, put

MODEL, KEY = "california_housing", "2025-01-02"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    for variable in ("FLIGHTLINE_LANDING_URI", "FLIGHTLINE_LAKEHOUSE_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    lake = Lakehouse(str(tmp_path / "flightline_lakehouse_uri"))
    spec = catalogue.load(MODEL)
    rows = {name: ["INLAND" if column.type == "text" else 2.0] * 3 for name, column in spec.columns.items()}
    clean = pd.DataFrame(rows | {"listing_id": [1, 2, 3], "event_timestamp": pd.Timestamp(date(2025, 1, 2), tz="UTC")})
    put(lake, CLEAN.of(spec), clean, day(KEY))
    return lake


def test_a_step_does_what_the_task_does_and_prints_what_it_returns(
    lake: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["features.compute_features", "--model", MODEL, "--partition", KEY]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert lake.count(FEATURES.of(catalogue.load(MODEL)), where=within(day(KEY))) == 3


def test_each_run_has_an_id_of_its_own_unless_it_is_given_one(lake: Lakehouse) -> None:
    for arguments in ([], [], ["--run-id", "a"], ["--run-id", "a"]):
        assert main(["training.request_training", "--model", MODEL, "--partition", KEY, *arguments]) == 0
    assert len(decisions.history(lake, MODEL)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["features.compute_features", "--model", MODEL, "--partition", "yesterday"], "not the key of a day"),
        (["features.compute_features", "--model", MODEL], "the run has no partition"),
        (["registry.roll_back", "--model", MODEL, "--version", "99", "--comment", "bad"], "there is no version 99"),
        *(
            (
                [step, "--model", MODEL, "--partition", "2025-03-03"],
                "nothing to do: no rows of 2025-03-03 are in",
            )
            for step in ("features.compute_features", "scoring.score_rows", "monitoring.measure_window")
        ),
        (
            ["training.fit_baseline", "--model", MODEL, "--partition", KEY, "--training-set", "{}"],
            "--training-set: is not what the step takes",
        ),
        (
            ["scoring.score_rows", "--model", MODEL, "--partition", KEY, "--as-of", "yesterday"],
            "--as-of: is not what the step takes: Input should be 'history' or 'current'",
        ),
        (["features.compute_features", "--model", MODEL, "--partition", "2025-W02"], "not the key of a day"),
        (["features.compute_features", "--model", MODEL, "--partition", "9998-01-01"], "that day has not begun"),
        (
            ["training.fit_baseline", "--model", MODEL, "--partition", KEY, "--training-set", "@nowhere.json"],
            "nowhere.json cannot be read",
        ),
    ],
)
def test_a_mistake_is_one_line(
    lake: Lakehouse, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    assert message in said[-1]


@pytest.mark.parametrize("arguments", [["no.step"], ["features.compute_features", "--model", "unknown"]])
def test_what_is_not_known_is_listed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_no_job_can_say_that_a_person_approved(lake: Lakehouse) -> None:
    with pytest.raises(SystemExit):
        main(["registry.answer", "--model", MODEL, "--version", "1", "--given", '{"person": "me", "approves": true}'])
