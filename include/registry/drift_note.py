"""What a rejected version says, where a person looks at it in MLflow, of the drift that was found."""

from __future__ import annotations

from collections.abc import Sequence

from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.lakehouse.decisions import Outcome
from include.lakehouse.windows import WindowMetrics
from include.registry import versions
from include.registry.versions import Version

MOST_NAMED = 20
"""Features of a tag."""


def write(
    spec: ModelSpec,
    version: Version,
    outcome: Outcome,
    drifted: Sequence[str],
    window: WindowMetrics | None,
    decision_id: str,
) -> None:
    """Tags that begin with ``drift_check``, and a line of its description.

    Args:
        drifted: features of its training set that did, since the history.
        window: the newest labelled one, which `monitor_model` measures again.
    """
    named = _named(drifted)
    told = {
        Outcome.DRIFTED: f"since the history {named} drifted",
        Outcome.NO_DRIFT: "no feature drifted since the history",
    }.get(outcome, "it knows the history alone: nothing to compare")
    tags = {
        "drift_check": outcome.value,
        "drift_check.features": named or "none",
        "drift_check.decision": decision_id,
    }
    if window is not None:
        served = f"served by version {window.version}" if window.version else "in which nothing was served"
        told += f"; in window {window.partition}, {served}, {_named(window.drifted_features) or 'none'} drifted"
        tags |= {
            "drift_check.window": window.partition.key,
            "drift_check.window_features": _named(window.drifted_features) or "none",
        }
        if window.metric is not None:
            metric = metrics.of(spec)
            told += f", and {metric.title} is {metric.shown(window.metric)}"
            tags["drift_check.window_metric"] = metric.shown(window.metric)
    versions.note(spec, version.version, "Drift check", f"{told} (decision {decision_id})", tags)


def _named(features: Sequence[str]) -> str:
    more = f" and {len(features) - MOST_NAMED} more" if len(features) > MOST_NAMED else ""
    return ", ".join(features[:MOST_NAMED]) + more
