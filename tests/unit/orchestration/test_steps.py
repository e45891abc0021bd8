"""The registry of steps is what the DAGs run, and what each of them reads and writes is declared."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from include.core.settings import PROJECT_ROOT
from include.orchestration import steps
from include.orchestration.steps import STEPS

DAGS = PROJECT_ROOT / "dags"


def verbs_of(file: Path) -> dict[str, set[str]]:
    """By task, what it calls of a stage's ``steps``: ``<stage>.<verb>``."""
    found: dict[str, set[str]] = {}
    for task in ast.walk(ast.parse(file.read_text())):
        if not isinstance(task, ast.FunctionDef) or not task.decorator_list:
            continue
        imported = {
            alias.asname or alias.name: f"{(node.module or '').removeprefix('include.')}.{alias.name}"
            for node in task.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include.")
            for alias in node.names
        }
        for node in ast.walk(task):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                base = node.func.value
                if isinstance(base, ast.Name) and imported.get(base.id, "").endswith((".steps", ".maintenance")):
                    stage = imported[base.id].split(".")[0]
                    found.setdefault(f"{file.stem}.{task.name}", set()).add(f"{stage}.{node.func.attr}")
    return found


CALLED = {task: verbs for file in sorted(DAGS.glob("*.py")) for task, verbs in verbs_of(file).items()}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_a_function_of_a_run(name: str) -> None:
    function = steps.function_of(name)
    assert next(iter(inspect.signature(function).parameters)) == "run"
    assert inspect.getdoc(function)


def test_the_tasks_of_the_dags_are_the_tasks_of_the_steps() -> None:
    registered = {task: name for name, step in STEPS.items() for task in step.tasks}
    assert {task: {name} for task, name in registered.items()} == CALLED


def test_the_step_of_a_task_is_found() -> None:
    assert steps.step_of("ingest_batch", "accept_and_quarantine") is STEPS["ingestion.load_batch"]
    assert steps.step_of("train_model", "keep_baseline") is None
