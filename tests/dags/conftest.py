"""The DAGs of this package, parsed once."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag

from include.core.settings import PROJECT_ROOT


@pytest.fixture(scope="session")
def dag_bag() -> DagBag:
    return DagBag(str(PROJECT_ROOT / "dags"))
