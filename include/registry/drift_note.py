"""What a rejected version says, where a person looks at it in MLflow, of the drift that was found."""

from __future__ import annotations

from collections.abc import Sequence

from include.core.spec import ModelSpec
from include.lakehouse.decisions import Outcome
from include.registry import versions
from include.registry.versions import Version

MOST_NAMED = 20
"""Features of a tag."""


def write(spec: ModelSpec, version: Version, outcome: Outcome, drifted: Sequence[str], decision_id: str) -> None:
    """Tags ``drift_check``, ``drift_check.features`` and ``drift_check.decision``, and a line of its description."""
    more = f" and {len(drifted) - MOST_NAMED} more" if len(drifted) > MOST_NAMED else ""
    named = ", ".join(drifted[:MOST_NAMED]) + more
    told = {
        Outcome.DRIFTED: f"since the history {named} drifted",
        Outcome.NO_DRIFT: "no feature drifted since the history",
    }.get(outcome, "it knows the history alone: nothing to compare")
    tags = {
        "drift_check": outcome.value,
        "drift_check.features": named or "none",
        "drift_check.decision": decision_id,
    }
    versions.note(spec, version.version, "Drift check", f"{told} (decision {decision_id})", tags)
