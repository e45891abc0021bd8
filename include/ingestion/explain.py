"""What a reason code means and what to do: the words for whoever is on call."""

from __future__ import annotations

_MEANINGS = {
    "empty_file": ("the file has no byte", "Have the sender deliver it again"),
    "no_rows": ("the file has a header and no rows", "Have the sender deliver it again"),
    "missing_column": (
        "column {columns} is not delivered",
        "Have the sender add it, or take it out of columns in model.yaml",
    ),
    "extra_column": (
        "column {columns} is not known",
        "Have the sender leave it out, or add it to columns in model.yaml",
    ),
    "retyped_column": (
        "no value of column {columns} has the type that model.yaml gives it",
        "Have the sender restore the type, or change it in model.yaml",
    ),
    "quarantine_budget_exceeded": (
        "too large a share of the rows fails",
        "Look into the quarantine table for the reasons; ingestion.quarantine_budget in model.yaml is the limit",
    ),
    "row_count_off_band": (
        "the number of rows is far from that of the last batches",
        "Ask the sender; if it is right, widen ingestion.row_count_band in model.yaml and run again",
    ),
    "stale_rows": ("the newest row is too old", "Ask the sender whether this is the right day's delivery"),
    "not_evaluated": (
        "a rule on {columns} cannot be evaluated on this batch",
        "Look into the Data Docs, then mend the rule in expectations.yaml",
    ),
}


def explain(reason: str) -> str:
    """One line: what happened, which column, what to do."""
    code, _, columns = reason.partition(":")
    what, fix = _MEANINGS.get(
        code,
        ("the rule of that name in expectations.yaml fails", "Look into the Data Docs; mend the data, or the rule"),
    )
    return f"{what.format(columns=repr(columns))}. {fix}"
