"""What a task learns from its run: the partition, the moment, the model. Never from the clock."""

from __future__ import annotations

from datetime import date
from typing import Any

from include.core.errors import DataError
from include.lakehouse.run import Workspace, open_workspace


def workspace_of(context: Any) -> Workspace:
    """The model whose DAG this is, opened."""
    return open_workspace(context["dag"].dag_id.split(".")[0])


def day_of(context: Any) -> date:
    """The day that the run's partition stands for.

    Raises:
        DataError: the run was triggered without a partition key, or with one that is no day.
    """
    key = context["dag_run"].partition_key
    try:
        return date.fromisoformat(str(key)[:10])
    except ValueError:
        raise DataError(
            f"the run's partition key is {key!r}, not a day",
            where=context["dag"].dag_id,
            fix="Trigger it with a partition key such as 2025-01-31, or backfill a range of days",
        ) from None


def version_of(context: Any) -> str:
    """The model version that the run's partition stands for.

    Raises:
        DataError: the run was triggered without a version's number as its partition key.
    """
    key = context["dag_run"].partition_key
    if key is None or not key.isdigit():
        raise DataError(
            f"the run's partition key is {key!r}, not a version's number",
            where=context["dag"].dag_id,
            fix="Trigger it with the number of a registered version as partition key, such as 3",
        )
    return str(key)
