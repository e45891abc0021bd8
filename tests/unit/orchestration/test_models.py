"""What a model's folder names and is not there is said when the folder is loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from include.core import catalogue
from include.orchestration import models

NAME = "california_housing"


def test_an_unknown_drift_test_is_a_problem_of_the_folder(tmp_path: Path) -> None:
    shutil.copytree(catalogue.MODELS / NAME, tmp_path / NAME)
    path = tmp_path / NAME / "model.yaml"
    path.write_text(path.read_text().replace("{test: kolmogorov_smirnov", "{test: kuiper"))
    problem = models.problem(NAME, tmp_path)
    assert "model.yaml: monitoring.drift.tests.number.test: 'kuiper' is not known" in str(problem)


def test_checking_the_names_of_drift_tests_needs_no_statistics() -> None:
    """Every DAG file that is parsed checks them, and scipy takes a second to import."""
    code = (
        "import sys; from include.core import catalogue; from include.evaluation import drift; "
        f"drift.check(catalogue.load('{NAME}')); sys.exit(bool({{'scipy', 'pandas', 'sklearn'}} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
