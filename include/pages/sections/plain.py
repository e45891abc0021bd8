"""What the section of every decision has, and that of a decision that has none of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.lakehouse.decisions import Decision, Outcome
from include.lakehouse.run import Run
from include.pages.section import Section, Tone

EARLIER = 14
"""So many earlier partitions are listed beside one at most."""


TONES: Mapping[Outcome, Tone] = {
    **dict.fromkeys((Outcome.ACCEPT_BATCH, Outcome.ACCEPT_LABELS), "good"),
    **dict.fromkeys((Outcome.PASSED, Outcome.APPROVED, Outcome.PROMOTED), "good"),
    **dict.fromkeys((Outcome.ACCEPT_AND_QUARANTINE, Outcome.RECORD_DRIFT, Outcome.REQUEST_RETRAINING), "mixed"),
    **dict.fromkeys((Outcome.REJECT_BATCH, Outcome.REJECT_LABELS), "bad"),
    **dict.fromkeys((Outcome.FAILED, Outcome.REJECTED, Outcome.REFUSED), "bad"),
    Outcome.DRIFTED: "mixed",
    Outcome.WITHDRAWN: "mixed",
    Outcome.ALERT_ROOT_CAUSE: "bad",
}
"""How good news an outcome is; none where it is neither."""


def general(run: Run, decision: Decision) -> Section:
    plain = {name: value for name, value in decision.inputs.items() if isinstance(value, (str, int, float))}
    return section(
        decision,
        headline(decision),
        sentences=[", ".join(map(words, decision.reasons)).capitalize() + "."] if decision.reasons else [],
        facts=[(words(name).capitalize(), value) for name, value in {**plain, "by": decision.actor}.items()],
    )


def section(decision: Decision, headline: str, **parts: Any) -> Section:
    """A section with the title and the tone of its decision."""
    tone = TONES.get(Outcome(decision.outcome), "")
    return Section(words(decision.kind).capitalize(), headline, tone, **parts)


def headline(decision: Decision) -> str:
    return f"{decision.subject.capitalize()}: {words(decision.outcome)}"


def reason(code: str) -> tuple[str, str]:
    """A reason in words, and the column that it is about."""
    what, _, column = code.partition(":")
    return words(what), column


def words(code: str) -> str:
    return code.replace("_", " ")
