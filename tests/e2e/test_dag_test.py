"""`make dag-test`: one DAG in one process, as in production but for the scheduler; a mistake is named with its line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.settings import PROJECT_ROOT
from include.demo.dag_test import Step, needs
from include.lakehouse.schemas import FEATURES
from include.lakehouse.tables import Lakehouse

MODEL, DAY = "california_housing", "2025-01-02"
HISTORY = "2025-01-01"


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """A copy of the DAGs that a test may edit."""
    return shutil.copytree(PROJECT_ROOT / "dags", tmp_path / "dags", ignore=shutil.ignore_patterns("__pycache__"))


def dag_test(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "include.demo.dag_test", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"FLIGHTLINE_VAR": str(tmp_path / "var"), "PYTHONPATH": f"{PROJECT_ROOT}:plugins"},
        capture_output=True,
        text=True,
        check=False,
    )


def line_of(file: Path, text: str) -> int:
    return file.read_text().splitlines().index(text) + 1


def test_a_dag_runs_with_its_partition_after_what_it_needs_and_a_mistake_has_its_line(
    tmp_path: Path, dags: Path
) -> None:
    done = dag_test(tmp_path, f"{MODEL}.build_features", "--partition", DAY, "--dags", str(dags))
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if f" {DAY}: " in line]
    assert [line.split(" ")[0] for line in said if line[0] != " "] == ["ingest_batch", "build_features"]
    ingested, built = [line for line in said if line[0] == " "]  # the notes of the runs
    assert re.fullmatch(rf"  {DAY}: \d+ rows: \d+ accepted, \d+ quarantined( \(.+\))?", ingested)
    assert re.fullmatch(rf"  {DAY}: \d+ rows, \d+ features; 0 of \d+ values differ online, .+", built)
    home = tmp_path / "var" / "dag-test"
    features = FEATURES.of(catalogue.load(MODEL))
    assert Lakehouse(str(home / "lakehouse")).count(features, where=[("partition_key", "=", DAY)]) > 100

    file = dags / "build_features.py"
    good = file.read_text()
    mistake = "            steps.materialize_feature(run_of(context))"
    file.write_text(good.replace("steps.materialize_features(", "steps.materialize_feature(", 1))
    done = dag_test(tmp_path, "build_features", "--dags", str(dags))
    assert done.returncode == 1
    assert done.stdout.count(f" {DAY}: ") == 0, "ingest_batch is done, and is not run again"
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("dag-test: ")]
    assert f"{file}:{line_of(file, mistake)}: task materialize_features: AttributeError: " in said

    file.write_text(good.replace("spec, assets =", "spec, asset =", 1))
    done = dag_test(tmp_path, "build_features", "--dags", str(dags))
    assert done.returncode == 1
    at_fault = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if "assets.clean" in line)
    assert f'{file}", line {at_fault}' in done.stderr
    assert "NameError" in done.stderr


def test_a_dag_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    done = dag_test(tmp_path, "build_feature")
    assert done.returncode == 1
    assert "there is no DAG 'build_feature'. There are: build_features, " in done.stderr
    assert not (tmp_path / "var").exists()


def test_each_dag_is_there_that_another_needs() -> None:
    found = {file.stem for file in (PROJECT_ROOT / "dags").glob("*.py")}
    for name in found:
        assert {step.verb_noun for step in needs(Step(name, DAY), [HISTORY])} <= found
