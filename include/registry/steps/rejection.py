"""A version is rejected, and what a rejection asks for: did the world change, or is the version bad?"""

from __future__ import annotations

import logging

from include.evaluation import drift
from include.lakehouse import windows
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import PARTITION
from include.lakehouse.windows import WindowMetrics
from include.registry import approval, drift_note, promotion, registration, versions
from include.registry.evidence import stored_rows
from include.registry.steps import record
from include.registry.steps.gate import GATE_KINDS

log = logging.getLogger(__name__)


def reject(run: Run, version: str) -> list[str]:
    """Leave production as it is; the reasons: the checks that failed in this run, or that a person said no, or nobody
    answered.

    The version in production stays there, and what failed is recorded: only a roll-back takes it out.
    """
    found = versions.get(run.spec, version)
    failed = [
        reason
        for kind in GATE_KINDS.values()
        for decided in record.decided(run, found, kind)
        if decided.run_id == run.run_id and decided.outcome == Outcome.FAILED
        for reason in decided.reasons
    ]
    no = approval.rejection(run, found)
    reasons = failed or [(Reason.NOT_APPROVED if no else Reason.NO_ANSWER).value]
    actor = Actor.GATE if failed else no.person if no else Actor.POLICY
    comment = no.comment if no and not failed else ""
    serving = promotion.in_production(run.spec, run.lake)
    if serving is not None and serving.version == found.version:
        reasons = [Reason.ALREADY_IN_PRODUCTION.value, *reasons]
        record.decide(run, Kind.REJECTION, found, Outcome.NO_ACTION, reasons, actor=actor, inputs=record.said(comment))
        log.warning("Version %s stays in production in spite of: %s", found.version, ", ".join(reasons[1:]))
        return reasons
    once_served = found.version in promotion.served(run.spec, run.lake)
    versions.set_stage(run.spec, found.version, "Archived" if once_served else "Rejected")
    decision_id = record.decide(
        run, Kind.REJECTION, found, Outcome.REJECTED, reasons, actor=actor, inputs=record.said(comment)
    )
    said = f"by {actor}: {', '.join(reasons)}" + (f" ({comment})" if comment else "")
    record.note(run, found, "Rejected", said, "rejection", "rejected", reasons, decision_id)
    log.info("Version %s is rejected %s", found.version, said)
    return reasons


def check_drift(run: Run, version: str) -> list[str] | None:
    """Do the partitions after the first of a rejected version's training set differ from that, the history?

    Returns:
        The features that drifted, sorted; None where there is history only, and so nothing to compare.

    Raises:
        TamperedError: it was rejected because it is not what was registered: no end in green.
    """
    found, config = versions.get(run.spec, version), run.spec.monitoring.drift
    registration.require(run.spec, run.lake, found)
    frame, names = stored_rows(run.spec, run.lake, found), list(found.features)
    later = frame[PARTITION] > frame[PARTITION].min()
    sides = frame.loc[~later, names], frame.loc[later, names]
    tested = drift.detect(*sides, config, found.categories) if later.any() else []
    drifted = sorted(item.column for item in tested if item.drifted)
    head = f"{later.sum()} rows after the history of version {version}, beside the {(~later).sum()} of it"
    log.info("%s: %s", head, drift.described([(item.column, item) for item in tested], config))
    outcome = Outcome.DRIFTED if drifted else Outcome.NO_DRIFT if tested else Outcome.NOTHING_TO_COMPARE
    reasons = [Reason.DRIFTED.about(name) for name in drifted]
    decision_id = record.decide(
        run, Kind.DRIFT_CHECK, found, outcome, reasons, actor=Actor.GATE, inputs={"features": tested}
    )
    drift_note.write(run.spec, found, outcome, drifted, _newest_labelled(run), decision_id)
    return drifted if tested else None


def find_window_to_check(run: Run, version: str) -> list[str]:
    """The newest labelled window, if this run has rejected a version on its way to production; else none.

    `monitor_model` measures it again then. The trainings that it asks for after one window are one, so the next
    candidate, if it is rejected, asks for none.
    """
    judged = record.decided(run, versions.get(run.spec, version), Kind.PRODUCTION_GATE)
    found = _newest_labelled(run)
    return [found.partition.key] if found and any(item.run_id == run.run_id for item in judged) else []


def _newest_labelled(run: Run) -> WindowMetrics | None:
    return windows.newest(run.spec, run.lake, lambda window: window.labelled)
