"""Parsing the DAG files stays cheap: no heavy library is imported."""

from __future__ import annotations

import json
import subprocess
import sys

from include.core.settings import PROJECT_ROOT

HEAVY = {
    "feast",
    "great_expectations",
    "hyperopt",
    "lightgbm",
    "matplotlib",
    "mlflow",
    "scipy",
    "sklearn",
    "statsmodels",
}
"""Of the large libraries only DuckDB, Arrow and Delta are there when a file is parsed: features.sql is checked then."""

PARSE = """
import json, runpy, sys
import airflow.sdk, airflow.providers.standard.operators.hitl, pydantic, yaml
before = set(sys.modules)
for file in sys.argv[1:]:
    runpy.run_path(file)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_parsing_all_dag_files_imports_nothing_heavy(tmp_path):
    files = [str(file) for file in sorted((PROJECT_ROOT / "dags").glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *files],
        env={
            "PATH": "",
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path),
            "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {module.split(".")[0] for module in json.loads(done.stdout.splitlines()[-1])}
    assert imported & HEAVY == set()
