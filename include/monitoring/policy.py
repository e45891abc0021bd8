"""The retraining policy: from the measured windows to one of four outcomes, with the reasons. Pure.

| labels | model's metric | drift of | outcome |
|---|---|---|---|
| any | any | an upstream fault | ``alert_root_cause`` |
| yes | at its threshold or better, or worse by chance | nothing | ``no_action`` |
| yes | at its threshold or better, or worse by chance | features | ``record_drift`` |
| yes | surely worse | features | ``request_retraining`` |
| yes | surely worse | the concept alone | ``request_retraining`` |
| yes | surely worse | nothing | ``alert_root_cause`` |
| no | unknown | nothing | ``no_action`` |
| no | unknown | features | ``drift_without_labels`` of the policy: ``record_drift`` or ``request_retraining`` |

An upstream fault is a mistake of who delivers that explains what is seen (`monitoring.faults`): some rows or a whole
column in another unit, columns in each other's place, values of other rows. A person is asked, whatever the metric
says, and no training is. Surely worse is a window of whose metric chance does not leave the threshold open
(`evaluation.interval`). The concept has drifted where the predictions miss otherwise than before and these rows could
teach better (`monitoring.window`); where they could not, the labels may belong to other rows, and a person has to look.
Three things hold a request back, and then the outcome is ``record_drift``: fewer than n of the last m labelled windows
surely worse (asked only where labels are there; windows with a fault are none of them), the cool-down, and the budget.
Drift of the predictions is measured, but decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from include.core.partition import Partition
from include.evaluation.faults import FaultKind
from include.lakehouse.decisions import Outcome, Reason

if TYPE_CHECKING:
    from include.core.sections import Monitoring
    from include.evaluation.metrics import Metric
    from include.lakehouse.windows import WindowMetrics

UNIT = FaultKind.UNIT.value

EXPLANATIONS: Mapping[Reason, str] = {
    Reason.NO_PRODUCTION_VERSION: "No version of the model is in production, so there is nothing to judge.",
    Reason.NOTHING_SCORED: "No row of this window was scored, so there is nothing to judge.",
    Reason.PERFORMANCE_HOLDS: "No feature has drifted, and {metric} is {good} its threshold.",
    Reason.HARMLESS_DRIFT: "Features have drifted, but {metric} is {good} its threshold, or worse by chance alone.",
    Reason.HARMFUL_DRIFT: "Features have drifted, and {metric} is {bad} its threshold in enough windows.",
    Reason.WORSE_BY_CHANCE: "No feature has drifted; {metric} is {bad} its threshold, by no more than chance may be.",
    Reason.CONCEPT_DRIFT: "No feature has drifted, but what is predicted has: {metric} is {bad} its threshold in "
    "enough windows, and the predictions miss otherwise than they did.",
    Reason.DEGRADED_WITHOUT_DRIFT: "No feature has drifted and these rows teach nothing better, but {metric} is {bad} "
    "its threshold.",
    Reason.UPSTREAM_FAULT: "A mistake upstream explains these rows: a person is asked to have it mended, and no "
    "training is.",
    Reason.CHANGE_OF_UNIT: "A column is delivered in another unit: a person is asked to have it corrected, and no "
    "training is.",
    Reason.NO_LABELS_NO_DRIFT: "The labels that have arrived give no {metric}, and no feature has drifted.",
    Reason.METRIC_UNDEFINED: "Enough labels are there, but {metric} is undefined on them: the harm is unknown.",
    Reason.UNLABELLED_DRIFT_RECORDED: "Features have drifted; the policy waits for labels before it acts.",
    Reason.UNLABELLED_DRIFT_REQUESTED: "Features have drifted; the policy acts without waiting for labels.",
    Reason.WAITING_FOR_N_OF_M: "Drift, with {metric} {bad} its threshold in too few windows yet.",
    Reason.COOLING_DOWN: "Drift that asks for retraining, but the last request is too recent.",
    Reason.BUDGET_SPENT: "Drift that asks for retraining, but the budget of requests is spent.",
    Reason.VERSION_REPLACED: "Drift that asks for retraining, but the version that scored the window is replaced.",
}
"""A sentence for each reason that this policy gives; ``good`` and ``bad`` are sides of the threshold."""


@dataclass(frozen=True)
class Request:
    """A retraining that the policy asked for in the past."""

    partition: Partition
    """The window whose decision it was."""
    at: datetime
    """When the labels of that window had arrived, UTC: the moment that the decision stands for."""


@dataclass(frozen=True)
class Verdict:
    """An outcome, its reasons, and what the rules about the past saw."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    """At least one; several where several rules hold a request back."""
    windows_below: int = 0
    """Labelled windows surely worse than the threshold, among the last m, this one included."""
    windows_labelled: int = 0
    """How many of the last m labelled windows there are."""
    requests_in_budget: int = 0
    """Earlier requests within the days of the budget."""
    last_request: datetime | None = None

    def explain(self, metric: Metric) -> str:
        """The reasons in words, one sentence each."""
        good, bad = ("at or above", "below") if metric.higher_is_better else ("at or below", "above")
        return " ".join(EXPLANATIONS[code].format(metric=metric.title, good=good, bad=bad) for code in self.reasons)


def degraded(metric: Metric, value: float, threshold: float) -> bool:
    """Whether a value is worse than its threshold."""
    return metric.clears(threshold, value)


def decide(
    monitoring: Monitoring,
    metric: Metric,
    window: WindowMetrics | None,
    *,
    production: str | None,
    history: Iterable[WindowMetrics],
    requests: Iterable[Request],
    at: datetime,
) -> Verdict:
    """Decide what to do about a window.

    Args:
        metric: what the model is judged by.
        window: the window to decide on.
        production: the version in production now; None while there is none.
        history: measured windows of the model in any order, the last m labelled ones before this among them. Those from
            this one on are ignored; which version scored the others is not asked: n of m is about the model.
        requests: retraining requests. Later ones than ``at`` do not count, nor does the one that this
            decision itself made (same window and moment): a re-run or a backfill decides the same again.
        at: the moment that the decision stands for, UTC.
    """
    rules, threshold = monitoring.retraining, monitoring.performance.threshold
    if production is None:
        return Verdict(Outcome.NO_ACTION, (Reason.NO_PRODUCTION_VERSION,))
    if window is None or not window.rows:
        return Verdict(Outcome.NO_ACTION, (Reason.NOTHING_SCORED,))
    past = sorted((item for item in history if item.partition < window.partition), key=lambda item: item.partition)
    values = [item.judged_by for item in [*past, window] if item.judged_by is not None][-rules.of_windows :]
    below = sum(degraded(metric, value, threshold) for value in values)
    asked = [item.at for item in requests if item.at <= at and (item.partition, item.at) != (window.partition, at)]
    spent = sum(at - moment < timedelta(days=rules.budget_days) for moment in asked)
    last = max(asked, default=None)

    def verdict(outcome: Outcome, *reasons: Reason) -> Verdict:
        return Verdict(outcome, reasons, below, len(values), spent, last)

    if window.faults:
        kinds = {name.partition(":")[0] for name in window.faults}
        of_unit = [Reason.CHANGE_OF_UNIT] if UNIT in kinds else []
        of_others = [Reason.UPSTREAM_FAULT] if kinds - {UNIT} else []
        return verdict(Outcome.ALERT_ROOT_CAUSE, *of_unit, *of_others)
    outcome, reason = _row(monitoring, metric, window)
    if outcome is not Outcome.REQUEST_RETRAINING:
        return verdict(outcome, reason)
    holding_back = {
        Reason.VERSION_REPLACED: window.version != production,
        Reason.WAITING_FOR_N_OF_M: window.labelled and below < rules.below_windows,
        Reason.COOLING_DOWN: last is not None and at - last < timedelta(days=rules.cooldown_days),
        Reason.BUDGET_SPENT: spent >= rules.budget_requests,
    }
    if any(holding_back.values()):
        return verdict(Outcome.RECORD_DRIFT, *(code for code, holds in holding_back.items() if holds))
    return verdict(outcome, reason)


def _row(monitoring: Monitoring, metric: Metric, window: WindowMetrics) -> tuple[Outcome, Reason]:
    """The row of the table that the window alone selects."""
    drifted = bool(window.drifted_features)
    if window.judged_by is None:
        undefined = Reason.METRIC_UNDEFINED if window.metric_undefined else None
        if not drifted:
            return Outcome.NO_ACTION, undefined or Reason.NO_LABELS_NO_DRIFT
        if monitoring.retraining.drift_without_labels == "request_retraining":
            return Outcome.REQUEST_RETRAINING, Reason.UNLABELLED_DRIFT_REQUESTED
        return Outcome.RECORD_DRIFT, undefined or Reason.UNLABELLED_DRIFT_RECORDED
    threshold = monitoring.performance.threshold
    if not degraded(metric, window.judged_by, threshold):
        if drifted:
            return Outcome.RECORD_DRIFT, Reason.HARMLESS_DRIFT
        chance = window.metric is not None and degraded(metric, window.metric, threshold)
        return Outcome.NO_ACTION, Reason.WORSE_BY_CHANCE if chance else Reason.PERFORMANCE_HOLDS
    if drifted:
        return Outcome.REQUEST_RETRAINING, Reason.HARMFUL_DRIFT
    if window.concept_drifted:
        return Outcome.REQUEST_RETRAINING, Reason.CONCEPT_DRIFT
    return Outcome.ALERT_ROOT_CAUSE, Reason.DEGRADED_WITHOUT_DRIFT
