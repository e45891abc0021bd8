"""What the note of a run says of each outcome: a sentence with values and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.features.skew import Skew
from include.ingestion.labels import LabelCounts
from include.ingestion.steps import Traces
from include.ingestion.verdict import BatchVerdict, Reprocessing
from include.lakehouse import alias_history, windows
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from include.lakehouse.windows import WindowMetrics
from include.monitoring import faults, policy
from include.monitoring.policy import Verdict
from include.registry import gates
from include.registry.promotion import Transition
from include.registry.smoke import SmokeScore
from include.registry.transition_request import TransitionAnswer, TransitionRequest
from include.scoring.batch import Scored
from include.training.tracking import RunRef

MOST = 3
"""Of columns and reasons so many are named, the rest is counted: Airflow keeps 1,000 characters of a note."""
_OUTCOMES: Mapping[Outcome, str] = {
    Outcome.NO_ACTION: "no action",
    Outcome.RECORD_DRIFT: "drift recorded",
    Outcome.REQUEST_RETRAINING: "retraining",
    Outcome.ALERT_ROOT_CAUSE: "a person has to look",
}


def of_batch(verdict: BatchVerdict) -> str:
    """``413 rows: 410 accepted, 3 quarantined (null:total_bedrooms 3)``, or why the batch is rejected."""
    if verdict.outcome is Outcome.REJECT_BATCH:
        return f"batch rejected ({_some(verdict.batch_reasons)}), {verdict.rows} rows in quarantine"
    if verdict.outcome is Outcome.NO_NEW_ROWS:
        return "the delivery has no rows: nothing follows from it"
    return _rows(verdict.rows, verdict.quarantined, verdict.reasons)


def of_labels(counts: LabelCounts) -> str:
    if not counts.rows:
        return "the delivery has no labels: nothing follows from it"
    return "labels of " + _rows(counts.rows, counts.quarantined, counts.reasons, counts.unlabelled)


def of_quarantine(found: Reprocessing) -> str:
    why = [*found.batch_reasons, *_counted(found.still_waiting)]
    waiting = f"; the others: {_some(why)}" if why else ""
    return f"{found.taken_back} of {found.waiting} rows in quarantine pass now{waiting}"


def of_traces(found: Traces) -> str:
    """``413 accepted rows, 413 of features, 410 predictions``."""
    return f"{found.accepted} accepted rows, {found.features} of features, {found.predictions} predictions"


def of_withdrawal(run: Run, versions: Sequence[str]) -> str:
    """Which versions learned from it, and what to do if one of them is in production."""
    serving = alias_history.current(run.lake, run.spec.name)
    if not versions:
        return "no version learned from it"
    said = f"versions that learned from it: {', '.join(versions)}"
    if serving and serving.version in versions:
        said += f"; {serving.version} is in production: request_training makes one without it"
    return said


def of_skew(found: Skew) -> str:
    return f"{found.mismatches} of {found.compared} values differ online, {found.expired} of {found.keys} keys expired"


def of_scoring(scored: Scored) -> str:
    beside = f", {scored.beside} of them beside what was served" if scored.beside else ""
    return f"{scored.rows} rows scored by version {scored.version}{beside}{_since_approval(scored.changed)}"


def of_window(run: Run, verdict: Verdict) -> str:
    """``adjusted R2 0.6730 < 0.8000, median_income drifted (0.38 ≥ 0.1), 2 of 3 windows below → retraining``."""
    spec = run.spec
    metric, rules, threshold = metrics.of(spec), spec.monitoring.retraining, spec.monitoring.performance.threshold
    measured = next(iter(windows.read(spec, run.lake, run.partition, run.partition)), None)
    said = []
    if measured is not None and measured.rows:
        worse = measured.metric is not None and policy.degraded(metric, measured.metric, threshold)
        surely = measured.judged_by is not None and policy.degraded(metric, measured.judged_by, threshold)
        if measured.metric is None:
            unknown = "undefined" if measured.metric_undefined else "unknown"
            said.append(f"{metric.title} {unknown} ({measured.labelled_rows} of {measured.rows} rows labelled)")
        else:
            sides = ("<", "≥") if metric.higher_is_better else (">", "≤")
            chance = " by chance" if worse and not surely else ""
            value = f"{metric.title} {metric.shown(measured.metric)} {sides[not worse]} {metric.shown(threshold)}"
            said.append(value + chance)
        if measured.span:
            said.append(f"on {measured.span}")
        if measured.in_training:
            said.append(f"{measured.in_training} rows left out that the version was trained on")
        said.append(f"{_some(_drifted(measured))} drifted" if measured.drifted_features else "no drift")
        said += faults.told(measured)[:MOST]
        if measured.concept_drifted:
            said.append("what is predicted has changed")
        if surely:
            seen = f"{verdict.windows_below} of {verdict.windows_labelled} windows degraded"
            said.append(f"{seen} ({rules.below_windows} of {rules.of_windows} ask for retraining)")
    why = _some([reason.replace("_", " ") for reason in verdict.reasons])
    return " → ".join([*([", ".join(said)] if said else []), f"{_OUTCOMES[verdict.outcome]} ({why})"])


def of_candidate(run: Run, version: str, candidate: RunRef, suspected: str = "") -> str:
    """``version 2 is tuned, adjusted R2 0.8512 on its test rows``.

    Args:
        suspected: features that nearly determine the label together.
    """
    metric, value = metrics.of(run.spec), candidate.metrics[run.spec.metric]
    said = f"version {version} is {candidate.run_name}, {metric.title} {metric.shown(value)} on its test rows"
    return f"{said}; {suspected} nearly determine {run.spec.target} together" if suspected else said


def of_requests(found: Sequence[TransitionRequest]) -> str:
    """``version 3: Production, by Ada``, of each that waits in MLflow."""
    if not found:
        return "no request waits"
    return _some([f"version {item.version}: {item.target}" + _by(item.requested_by) for item in found])


def of_request(target: str, requested_by: str) -> str:
    return f"wanted in {target}{_by(requested_by)}"


def of_answer(answer: TransitionAnswer | None) -> str:
    """``Production: rejected (threshold)``, or that there was no request."""
    if answer is None:
        return "no request was recorded"
    why = _some([reason.removeprefix("check:").replace("_", " ") for reason in answer.reasons])
    return f"{answer.target}: {answer.outcome.value} ({why})"


def of_gate(verdict: gates.Verdict) -> str:
    """The gate's answer, with what its failed checks have found, and by which alpha the version was compared."""
    failed = "".join(f"; {check.name}: {check.detail.rstrip('.')}" for check in verdict.failed)
    found = verdict.comparison
    luck = (
        f"; candidate {found.number} beside version {found.production_version}, alpha {found.alpha:.2g}"
        if found
        else ""
    )
    return f"{verdict.gate} gate {'passed' if verdict.passed else 'failed'}{luck}{failed}"


def of_rejection(reasons: Sequence[str]) -> str:
    return f"rejected ({_some([reason.removeprefix('check:') for reason in reasons])})"


def of_drift_check(drifted: Sequence[str] | None) -> str:
    if drifted is None:
        return "nothing came after the history that it was trained on: no drift can be seen"
    return f"{_some(drifted)} drifted since the history" if drifted else "no drift since the history"


def of_waiting(rows: Mapping[str, int]) -> str:
    """``5 rows of 2 partitions are in quarantine (2025-01-02 3, 2025-01-04 2)``."""
    if not rows:
        return "no row is in quarantine"
    some = _some([f"{key} {count}" for key, count in rows.items()])
    return f"{sum(rows.values())} rows of {len(rows)} partitions are in quarantine ({some})"


def of_dry_run(spec: ModelSpec, found: SmokeScore) -> str:
    """``dry run: version 2 (adjusted R2 0.8123 on 2,000 test rows) would replace version 3; on the same …``."""
    metric = metrics.of(spec)
    said = f"dry run: version {found.version} ({metric.title} {metric.shown(found.value)} on {found.rows:,} test rows)"
    if not found.has_served:
        said = f"{said} has never been in production: it would be refused"
    elif found.in_production == found.version:
        said = f"{said} is in production: nothing would change"
    else:
        said = f"{said} would replace version {found.in_production or 'none'}"
    return f"{said}{of_smoke(spec, found)}"


def of_smoke(spec: ModelSpec, found: SmokeScore) -> str:
    """What a version makes of recent rows, beside the one in production."""
    shown, said = metrics.of(spec).shown, ""
    if found.recent:
        said = f"; it predicts {found.recent.rows:,} rows of {found.recent.partition} in {found.recent.seconds:.1f} s"
    if beside := found.beside:
        said += (
            f"; {metrics.of(spec).title} {shown(beside.value)} against {shown(beside.production_value)} of version "
            f"{beside.production_version} on the same {beside.rows:,} served rows of {_span(beside.partitions)}, gain "
            f"{shown(beside.gain)} (between {shown(beside.lower_bound)} and {shown(beside.upper_bound)})"
        )
    return said + "".join(f"; {sentence}" for sentence in found.missing)


def _span(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"


def of_move(moved: Transition) -> str:
    if not moved.changed:
        return f"nothing changed: version {moved.version} is in production"
    former = f"version {moved.version} is in production, before it: {moved.former or 'none'}"
    return former + _since_approval(moved.release_changes)


def _since_approval(changes: Sequence[str]) -> str:
    return f"; other than at its approval: {', '.join(changes)}" if changes else ""


def _by(who: str) -> str:
    return f", by {who}" if who else ""


def _rows(rows: int, quarantined: int, reasons: Mapping[str, int], unlabelled: int = 0) -> str:
    why = f" ({_some(_counted(reasons))})" if reasons else ""
    without = f", {unlabelled} without a label" if unlabelled else ""
    return f"{rows} rows: {rows - quarantined - unlabelled} accepted, {quarantined} quarantined{why}{without}"


def _drifted(window: WindowMetrics) -> list[str]:
    """The drifted features, the most distant first, with their distance and the least that counts."""
    found = sorted(window.distances.items(), key=lambda item: -item[1][0])
    return [f"{name} ({distance:.2f} ≥ {least:g})" for name, (distance, least) in found]


def _counted(reasons: Mapping[str, int]) -> list[str]:
    return [f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
