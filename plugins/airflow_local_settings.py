"""Loaded by Airflow in each of its processes, before anything else of ours.

The scheduler (or Celery worker) forks a process for each task, the DAG processor one for each file. They import the
heavy libraries once, here, so that a task starts in tenths of a second and not in the ten seconds that Feast,
Great Expectations and MLflow take to import.
"""

from __future__ import annotations

import importlib
import sys

from feast_delta import fast_import

_FOR_TASKS = (
    "pandas",
    "scipy.stats",
    "matplotlib.figure",
    "lightgbm",
    "hyperopt",
    "mlflow.lightgbm",
    "great_expectations",
    "feast",
    "duckdb",
)
# deltalake is left out: it starts threads when it is imported, and threads do not survive a fork.
_FOR_PARSING = ("pyarrow.compute", "duckdb")
_BY_COMMAND = {"scheduler": _FOR_TASKS, "celery": _FOR_TASKS, "dag-processor": _FOR_PARSING}

fast_import.enable()
for _command in sys.argv[1:2]:
    for _name in _BY_COMMAND.get(_command, ()):
        importlib.import_module(_name)
