"""The retraining policy: from the measured windows to one of four branches, with the reasons. Pure.

| labels | adjusted R2 | drift | branch |
|---|---|---|---|
| yes | at or above threshold | no | ``no_action`` |
| yes | at or above | yes | ``record_drift`` |
| yes | below | yes | ``request_retraining`` |
| yes | below | no | ``alert_root_cause`` |
| no | unknown | no | ``no_action`` |
| no | unknown | yes | ``drift_without_labels`` of the policy: ``record_drift`` or ``request_retraining`` |

Three things hold a request back, and then the branch is ``record_drift``: fewer than n of the last m labelled
windows below the threshold (asked only where labels are there), the cool-down, and the budget. Drift means
drift of features; drift of the predictions is measured, but decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.core.spec import Retraining
    from include.lakehouse.windows import WindowMetrics


class Branch(StrEnum):
    """What is done about a window."""

    NO_ACTION = "no_action"
    RECORD_DRIFT = "record_drift"
    REQUEST_RETRAINING = "request_retraining"
    ALERT_ROOT_CAUSE = "alert_root_cause"


class Reason(StrEnum):
    """Why a branch was taken: the closed set of reason codes."""

    NO_PRODUCTION_VERSION = "no_production_version"
    NOTHING_SCORED = "nothing_scored"
    PERFORMANCE_HOLDS = "performance_holds"
    HARMLESS_DRIFT = "harmless_drift"
    HARMFUL_DRIFT = "harmful_drift"
    DEGRADED_WITHOUT_DRIFT = "degraded_without_drift"
    NO_LABELS_NO_DRIFT = "no_labels_no_drift"
    UNLABELLED_DRIFT_RECORDED = "unlabelled_drift_recorded"
    UNLABELLED_DRIFT_REQUESTED = "unlabelled_drift_requested"
    WAITING_FOR_N_OF_M = "waiting_for_n_of_m"
    COOLING_DOWN = "cooling_down"
    BUDGET_SPENT = "budget_spent"
    VERSION_REPLACED = "version_replaced"


EXPLANATIONS: dict[Reason, str] = {
    Reason.NO_PRODUCTION_VERSION: "No version of the model is in production, so there is nothing to judge.",
    Reason.NOTHING_SCORED: "No row of this window was scored, so there is nothing to judge.",
    Reason.PERFORMANCE_HOLDS: "Adjusted R2 is at or above its threshold and no feature has drifted.",
    Reason.HARMLESS_DRIFT: "Features have drifted, but adjusted R2 is at or above its threshold.",
    Reason.HARMFUL_DRIFT: "Adjusted R2 is below its threshold in enough windows, and features have drifted.",
    Reason.DEGRADED_WITHOUT_DRIFT: "Adjusted R2 is below its threshold, but no feature has drifted.",
    Reason.NO_LABELS_NO_DRIFT: "Too few labels have arrived, and no feature has drifted.",
    Reason.UNLABELLED_DRIFT_RECORDED: "Features have drifted; the policy waits for labels before it acts.",
    Reason.UNLABELLED_DRIFT_REQUESTED: "Features have drifted; the policy acts without waiting for labels.",
    Reason.WAITING_FOR_N_OF_M: "Drift, with adjusted R2 below its threshold in too few windows yet.",
    Reason.COOLING_DOWN: "Drift that asks for retraining, but the last request is too recent.",
    Reason.BUDGET_SPENT: "Drift that asks for retraining, but the budget of requests is spent.",
    Reason.VERSION_REPLACED: "Drift that asks for retraining, but the version that scored the window is replaced.",
}


@dataclass(frozen=True)
class Request:
    """A retraining that the policy asked for in the past."""

    window: date
    """The window whose decision it was."""
    day: date
    """The day of the run that decided."""


@dataclass(frozen=True)
class Decision:
    """A branch, its reasons, and the counts that the rules about the past saw."""

    branch: Branch
    reasons: tuple[Reason, ...]
    """At least one; several where several rules hold a request back."""
    windows_below: int = 0
    """Labelled windows below the threshold, among the last m, this one included."""
    requests_in_budget: int = 0
    """Earlier requests within the days of the budget."""

    def explain(self) -> str:
        """The reasons in words, one sentence each."""
        return " ".join(EXPLANATIONS[reason] for reason in self.reasons)


def decide(
    policy: Retraining,
    threshold: float,
    window: WindowMetrics | None,
    *,
    production: str | None,
    history: Iterable[WindowMetrics],
    requests: Iterable[Request],
    today: date,
) -> Decision:
    """Decide what to do about a window.

    Args:
        threshold: adjusted R2 at or above which the model is good enough.
        window: the window to decide on.
        production: the version in production now; None while there is none.
        history: measured windows of the model in any order. Those from this window on are ignored; which
            version scored the others is not asked: n of m is about the model.
        requests: retraining requests. Later ones than ``today`` do not count, nor does the one that this
            decision itself made (same window and day): a re-run or a backfill decides the same again.
        today: day of the run, from its partition.
    """
    if production is None:
        return Decision(Branch.NO_ACTION, (Reason.NO_PRODUCTION_VERSION,))
    if window is None or not window.rows:
        return Decision(Branch.NO_ACTION, (Reason.NOTHING_SCORED,))
    below = _windows_below(policy, threshold, window, history)
    days = [item.day for item in requests if _counts(item, window, today)]
    spent = sum(today - day < timedelta(days=policy.budget_days) for day in days)

    branch, reason = _row(policy, threshold, window)
    if branch is not Branch.REQUEST_RETRAINING:
        return Decision(branch, (reason,), below, spent)
    held_back = []
    if window.version != production:
        held_back.append(Reason.VERSION_REPLACED)
    if window.labelled and below < policy.below_windows:
        held_back.append(Reason.WAITING_FOR_N_OF_M)
    if days and today - max(days) < timedelta(days=policy.cooldown_days):
        held_back.append(Reason.COOLING_DOWN)
    if spent >= policy.budget_requests:
        held_back.append(Reason.BUDGET_SPENT)
    if held_back:
        return Decision(Branch.RECORD_DRIFT, tuple(held_back), below, spent)
    return Decision(branch, (reason,), below, spent)


def _row(policy: Retraining, threshold: float, window: WindowMetrics) -> tuple[Branch, Reason]:
    """The row of the table that the window alone selects."""
    drifted = bool(window.drifted_features)
    if window.adjusted_r2 is None:
        if not drifted:
            return Branch.NO_ACTION, Reason.NO_LABELS_NO_DRIFT
        if policy.drift_without_labels == "request_retraining":
            return Branch.REQUEST_RETRAINING, Reason.UNLABELLED_DRIFT_REQUESTED
        return Branch.RECORD_DRIFT, Reason.UNLABELLED_DRIFT_RECORDED
    if window.adjusted_r2 >= threshold:
        if drifted:
            return Branch.RECORD_DRIFT, Reason.HARMLESS_DRIFT
        return Branch.NO_ACTION, Reason.PERFORMANCE_HOLDS
    if drifted:
        return Branch.REQUEST_RETRAINING, Reason.HARMFUL_DRIFT
    return Branch.ALERT_ROOT_CAUSE, Reason.DEGRADED_WITHOUT_DRIFT


def _windows_below(
    policy: Retraining, threshold: float, window: WindowMetrics, history: Iterable[WindowMetrics]
) -> int:
    past = sorted((item for item in history if item.window < window.window), key=lambda item: item.window)
    labelled: Sequence[float] = [item.adjusted_r2 for item in [*past, window] if item.adjusted_r2 is not None]
    return sum(value < threshold for value in labelled[-policy.of_windows :])


def _counts(request: Request, window: WindowMetrics, today: date) -> bool:
    own = request.window == window.window and request.day == today
    return request.day <= today and not own
