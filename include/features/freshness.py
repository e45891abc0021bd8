"""What the freshness sensor asks: are a day's features in the table, and has Feast materialised them."""

from __future__ import annotations

from datetime import date

from include.core.spec import ModelSpec
from include.features import query, store
from include.features.definitions import view_name
from include.lakehouse.run import Workspace, open_workspace


def is_fresh(model: str, day: str) -> bool:
    """Whether the feature table has rows of the day and Feast's registry says that all of it is online."""
    return missing(open_workspace(model), date.fromisoformat(day)) is None


def describe(model: str, day: str) -> str:
    """What is waited for, and what of it is missing."""
    found = missing(open_workspace(model), date.fromisoformat(day))
    return f"features of {day}, which {model}.build_features makes{f' ({found})' if found else ''}"


def missing(workspace: Workspace, day: date) -> str | None:
    """What the day's features lack; None where they are fresh. The registry is opened only if the table has rows."""
    spec, lake = workspace.spec, workspace.lake
    table = spec.table("features")
    if not lake.exists(table):
        return f"there is no table {table}"
    rows = lake.read(table, where=[(query.BATCH_DATE, "=", day)], columns=[spec.entity.key])
    if rows.num_rows == 0:
        return f"{table} has no rows of the day"
    if not _is_materialized(spec, day):
        return f"the registry has no materialisation of {view_name(spec)} for the day"
    return None


def _is_materialized(spec: ModelSpec, day: date) -> bool:
    feast = store.open_store()
    views = {view.name: view for view in feast.list_feature_views()}
    view = views.get(view_name(spec))
    if view is None:
        return False
    start, end = query.day_start(day), query.day_end(day)
    return any(first <= start and end <= last for first, last in view.materialization_intervals)
