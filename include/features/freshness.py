"""What the freshness sensor asks: are a partition's features in the table, and has Feast materialised them."""

from __future__ import annotations

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import store
from include.lakehouse.run import Run, open_run
from include.lakehouse.schemas import FEATURES
from include.lakehouse.selection import within


def is_fresh(model: str, partition: str) -> bool:
    """Whether the feature table has rows of the partition and Feast's registry says that all of it is online.

    Raises:
        UsageError: its batch was rejected or withdrawn, so that nobody makes them.
    """
    run = open_run(model, partition=partition)
    found = missing(run)
    if found is not None:
        run.require_not_refused()
    return found is None


def describe(model: str, partition: str) -> str:
    """What is waited for, and what of it is missing."""
    run = open_run(model, partition=partition)
    found = missing(run)
    return f"features of {run.partition}, which {model}.build_features makes{f' ({found})' if found else ''}"


def missing(run: Run) -> str | None:
    """What the features lack; None where they are fresh. The registry is opened only if the table has rows."""
    table = run.table(FEATURES)
    if not run.lake.exists(table):
        return f"there is no table {table.name}"
    if not run.lake.count(table, where=within(run.partition)):
        return f"{table.name} has no rows of {run.partition}"
    if not _is_materialized(run.spec, run.partition):
        return f"the registry has no materialisation of {run.spec.feature_view} for {run.partition}"
    return None


def _is_materialized(spec: ModelSpec, partition: Partition) -> bool:
    feast = store.open_store()
    views = {view.name: view for view in feast.list_feature_views()}
    view = views.get(spec.feature_view)
    if view is None:
        return False
    return any(
        first <= partition.start and partition.last_moment <= last for first, last in view.materialization_intervals
    )
