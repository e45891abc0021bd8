"""Shows a model that is not configured rightly as an import error of Airflow.

The other DAG files leave such a model out, so that one model's mistake never takes the other models' DAGs away.
This file has no DAG of its own: it is quiet while every model is in order.
"""

from __future__ import annotations

from include.core import catalogue
from include.core.errors import ConfigError
from include.orchestration import models

problems = [problem for model in catalogue.registered() if (problem := models.problem(model))]
if problems:
    raise ConfigError("\n".join(str(problem) for problem in problems))
