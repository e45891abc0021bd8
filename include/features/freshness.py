"""What the freshness sensor asks: are a day's features in the table."""

from __future__ import annotations

from datetime import date

from include.workspace import open_workspace


def is_fresh(model: str, day: str) -> bool:
    """Whether the feature table has rows of that day."""
    workspace = open_workspace(model)
    rows = workspace.lake.read_if_exists(
        workspace.spec.table("features"), where=[("batch_date", "=", date.fromisoformat(day))]
    )
    return rows is not None and rows.num_rows > 0


def describe(model: str, day: str) -> str:
    table = open_workspace(model).spec.table("features")
    return f"features of {day} in {table}, which {model}.build_features writes"
