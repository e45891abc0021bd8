"""What a model's folder names and is not there is said when the folder is loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from include.core import catalogue
from include.core.settings import PROJECT_ROOT
from include.orchestration import models

NAME = "california_housing"


def test_an_unknown_drift_test_is_a_problem_of_the_folder(tmp_path: Path) -> None:
    shutil.copytree(catalogue.MODELS / NAME, tmp_path / NAME)
    path = tmp_path / NAME / "model.yaml"
    path.write_text(path.read_text().replace("{test: kolmogorov_smirnov", "{test: kuiper"))
    problem = models.problem(NAME, tmp_path)
    assert "model.yaml: monitoring.drift.tests.number.test: 'kuiper' is not known" in str(problem)


def test_a_copied_folder_is_a_model_after_the_two_changes_that_the_readme_names(tmp_path: Path) -> None:
    shutil.copytree(catalogue.MODELS / NAME, tmp_path / "sales")
    assert "key name: is 'california_housing' but the folder is 'sales'" in str(models.problem("sales", tmp_path))
    for file, line, changed in (
        ("model.yaml", f"\nname: {NAME}\n", "\nname: sales\n"),
        ("features.sql", f"\nFROM clean_{NAME}\n", "\nFROM clean_sales\n"),
    ):
        path = tmp_path / "sales" / file
        assert line in path.read_text()
        path.write_text(path.read_text().replace(line, changed))
    assert models.valid(tmp_path) == ("sales",)


def test_the_readme_names_the_columns_of_a_delivery() -> None:
    text, spec = (PROJECT_ROOT / "README.md").read_text(), catalogue.load(NAME)
    assert [name for name in (*spec.columns, spec.target) if f"`{name}`" not in text] == []


def test_checking_the_names_of_drift_tests_needs_no_statistics() -> None:
    """Every DAG file that is parsed checks them, and scipy takes a second to import."""
    code = (
        "import sys; from include.core import catalogue; from include.evaluation import drift; "
        f"drift.check(catalogue.load('{NAME}')); sys.exit(bool({{'scipy', 'pandas', 'sklearn'}} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
