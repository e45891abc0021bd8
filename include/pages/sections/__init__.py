"""The section of a page for each kind of decision: `SECTIONS`; one that has none there is told in general."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.run import Run
from include.pages.section import Section
from include.pages.sections import delivery, gate, plain, skew, version, window
from include.pages.sections.delivery import quarantine

__all__ = ["SECTIONS", "of", "quarantine"]

SECTIONS: Mapping[str, Callable[[Run, Decision], Section]] = {
    Kind.BATCH_VERDICT: delivery.batch,
    Kind.LABELS_VERDICT: delivery.batch,
    Kind.QUARANTINE_REPROCESSING: delivery.reprocessing,
    Kind.SKEW_GATE: skew.skew,
    Kind.STAGING_GATE: gate.gate,
    Kind.PRODUCTION_GATE: gate.gate,
    Kind.DRIFT_CHECK: version.drift_check,
    Kind.TRAINING: version.training,
    Kind.REGISTRATION: version.registration,
    Kind.SCORING: version.scoring,
    Kind.PROBATION: version.probation_of,
    Kind.RETRAINING_POLICY: window.window,
}


def of(run: Run, decision: Decision, again: Decision | None) -> Section:
    """The section of a decision.

    Args:
        again: the last later one of another run on the same subject.
    """
    made = SECTIONS.get(decision.kind, plain.general)(run, decision)
    if again is None:
        return made
    word = "the same was decided" if again.outcome == decision.outcome else f"decided was {plain.words(again.outcome)}"
    return replace(made, sentences=[*made.sentences, f"Since then {word} by another run: {again.run_id}."])
