"""The registry of steps is what the DAGs run, and what each of them reads and writes is declared."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from include.core.settings import PROJECT_ROOT
from include.orchestration import steps
from include.orchestration.steps import STEPS

DAGS = PROJECT_ROOT / "dags"


Functions = Mapping[str, ast.FunctionDef]


def functions_of(file: Path) -> Functions:
    return {node.name: node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def tasks_of(file: Path) -> Iterator[tuple[str, ast.FunctionDef, Functions]]:
    """The tasks of a DAG file: its decorated functions, and those of ``include.orchestration`` that it wraps."""
    for name, function in functions_of(file).items():
        if function.decorator_list:
            yield f"{file.stem}.{name}", function, {}
    for call in ast.walk(ast.parse(file.read_text())):
        match call:
            case ast.Call(
                func=ast.Name(id="task") | ast.Attribute(value=ast.Name(id="task")),
                args=[ast.Attribute(value=ast.Name(id=module), attr=name)],
                keywords=keywords,
            ):
                named = [word.value.value for word in keywords if word.arg == "task_id"]
                beside = functions_of(PROJECT_ROOT / "include" / "orchestration" / f"{module}.py")
                yield f"{file.stem}.{named[0] if named else name}", beside[name], beside


def verbs_of(task: ast.FunctionDef, beside: Functions) -> set[str]:
    """What it calls of a stage's ``steps``, itself or by a function beside it: ``<stage>.<verb>``."""
    found: set[str] = set()
    imported = {
        alias.asname or alias.name: f"{(node.module or '').removeprefix('include.')}.{alias.name}"
        for node in task.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include.")
        for alias in node.names
    }
    for node in ast.walk(task):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=base), attr=verb)):
                if imported.get(base, "").endswith((".steps", ".maintenance")):
                    found.add(f"{imported[base].split('.')[0]}.{verb}")
            case ast.Call(func=ast.Name(id=name)) if name in beside:
                found |= verbs_of(beside[name], beside)
    return found


CALLED = {
    task: verbs
    for file in sorted(DAGS.glob("*.py"))
    for task, function, beside in tasks_of(file)
    if (verbs := verbs_of(function, beside))
}


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
