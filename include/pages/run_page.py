"""The page of one run: what it decided, newest first, in words and with the numbers that it was decided by."""

from __future__ import annotations

from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.run import Run
from include.pages import render, sections

TOLD_ELSEWHERE = (Kind.GATE_CHECK, Kind.QUESTION)
"""What the section of a gate, or of an answer, tells too."""


def of_run(run: Run, dag: str, key: str | None) -> str:
    """The page of a run of a DAG; it shows that run, also where a later one decided again on the same.

    Args:
        key: the run's partition key; of a run that decided, its decisions say what it was about.
    """
    found = decisions.history(run.lake, run.spec.name, run_id=run.run_id)
    made = [decision for decision in found if decision.kind not in TOLD_ELSEWHERE]
    newest_first = sorted(made, key=lambda decision: decision.recorded_at, reverse=True)
    subject = newest_first[0].subject if made else key
    heading = f"{run.spec.name}.{dag}" + (f", {subject}" if subject else "")
    return render(
        "run.html",
        title=heading,
        heading=heading,
        run_id=run.run_id,
        sections=[
            *(sections.of(run, decision, _again(run, decision)) for decision in newest_first),
            *([sections.quarantine(run)] if dag == "reprocess_quarantine" else []),
        ],
        nothing="This run has decided nothing about data or a version: its note, and its tasks' logs, say what it did.",
    )


def _again(run: Run, decision: Decision) -> Decision | None:
    """The last of the later decisions of other runs on the same subject."""
    since = decisions.history(run.lake, run.spec.name, Kind(decision.kind), since=decision.decided_at)
    later = [item for item in since if item.subject == decision.subject and item.recorded_at > decision.recorded_at]
    return max(later, key=lambda item: item.recorded_at, default=None)
