"""What a model's folder names and is not there is said when the folder is loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("rule", "partitions", "fix"),
    [
        ("expect_table_row_count_to_equal, value: 7", 1, "Set it to 6 or more"),
        ("expect_table_row_count_to_be_between, max_value: 1", 5, "Set it to 38 or more"),
        ("expect_table_row_count_to_equal, value: 0", 1, "Set it to 38 or more"),
        ("expect_table_row_count_to_equal, value: 7", 6, None),
        ("expect_table_row_count_to_be_between, min_value: 7", 1, None),
    ],
)
def test_windows_that_can_never_be_judged_are_refused(
    tmp_path: Path, rule: str, partitions: int, fix: str | None
) -> None:
    """A batch has no more rows than the rules let it have, and the metric needs 38 for 18 features."""
    shutil.copytree(catalogue.MODELS / NAME, tmp_path / NAME)
    rules, model = (tmp_path / NAME / name for name in ("expectations.yaml", "model.yaml"))
    rules.write_text(rules.read_text().replace("expect_table_row_count_to_be_between, min_value: 1", rule))
    model.write_text(
        model.read_text().replace("\nmonitoring:\n", f"\nmonitoring:\n  window: {{partitions: {partitions}}}\n")
    )
    problem = models.problem(NAME, tmp_path)
    if fix is None:
        assert problem is None
    else:
        assert "model.yaml: monitoring.window.partitions: no window is ever judged: it has at most" in str(problem)
        assert fix in str(problem)


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
