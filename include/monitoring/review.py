"""The daily review of a model: measure a window, decide what follows, alert. What monitor_model runs."""

from __future__ import annotations

import logging
from datetime import date, timedelta

import pandas as pd

from include.core.errors import FlightlineError
from include.core.partition import labels_known_after
from include.lakehouse import decisions, windows
from include.lakehouse.run import Workspace
from include.lakehouse.windows import WindowMetrics
from include.monitoring import policy, window
from include.monitoring.policy import Branch, Decision, Request
from include.registry import versions

log = logging.getLogger(__name__)
KIND = "retraining_policy"


class RootCauseAlert(FlightlineError):
    """Performance fell and no feature drifted: a person has to look."""


def measure(workspace: Workspace, day: date) -> WindowMetrics:
    """Measure the window of a day against the training set of the version that scored it."""
    spec, lake = workspace.spec, workspace.lake
    number = window.scored_version(spec, lake, day)
    reference, trained_on = pd.DataFrame(), list[date]()
    if number is not None:
        training_set = versions.get(spec, number).tag("training_set")
        reference = window.reference(spec, lake, training_set)
        trained_on = window.trained_on(spec, lake, training_set)
    as_of = labels_known_after(spec, day)
    measured = window.measure(spec, lake, day, reference=reference, as_of=as_of, trained_on=trained_on)
    log.info("Window %s: %s", day, measured)
    return measured


def decide(workspace: Workspace, day: date, run_id: str) -> Decision:
    """Apply the retraining policy to a measured window and record the decision."""
    spec, lake = workspace.spec, workspace.lake
    measured = windows.history(spec, lake, upto=day)
    current = next((item for item in measured if item.window == day), None)
    serving = versions.production(spec)
    decided_at = labels_known_after(spec, day)
    decision = policy.decide(
        spec.monitoring.retraining,
        spec.monitoring.performance.adjusted_r2,
        current,
        production=serving.version if serving else None,
        history=measured,
        requests=_past_requests(workspace),
        today=decided_at.date(),
    )
    decisions.record(
        lake,
        model=spec.name,
        kind=KIND,
        subject=day.isoformat(),
        outcome=decision.branch,
        reasons=decision.reasons,
        inputs={"window": current, "decision": decision},
        decided_at=decided_at,
        actor="policy",
        policy_hash=decisions.policy_hash(spec.monitoring),
        run_id=run_id,
    )
    log.info("%s because: %s", decision.branch, decision.explain())
    return decision


def alert(workspace: Workspace, day: date) -> None:
    """Fail with what is known, so that the run turns red where people look.

    Raises:
        RootCauseAlert: always.
    """
    measured = next(item for item in windows.history(workspace.spec, workspace.lake, upto=day) if item.window == day)
    said = f"adjusted R2 is {measured.adjusted_r2:.3f} on {measured.labelled_rows} rows, and no feature drifted"
    if measured.shifted_columns:
        said += f"; nulls or categories changed in what is delivered: {', '.join(measured.shifted_columns)}"
    raise RootCauseAlert(
        said,
        where=f"{workspace.spec.name}, {day}, version {measured.version}",
        fix="Look at labels, joins and upstream changes; retraining on these rows may learn the fault",
    )


def _past_requests(workspace: Workspace) -> list[Request]:
    delay = timedelta(days=workspace.spec.deliveries.label_delay_days)
    return [
        Request(window=decided.decided_at.date() - delay, day=decided.decided_at.date())
        for decided in decisions.history(workspace.lake, workspace.spec.name, KIND)
        if decided.outcome == Branch.REQUEST_RETRAINING
    ]
