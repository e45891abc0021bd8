"""The answers to a gate's checks, each found by a task of its own, and what follows from all of them.

A gate concludes only from one answer to each check that model.yaml lists, of the same version, by the same model.yaml,
beside the same version in production. Anything else is nobody's verdict: it fails the task, for a person to clear.

Each answer is a row of `decisions`, where the gate reads it: what a task leaves for the next one proves nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from include.core.errors import UsageError
from include.core.sections import Gate
from include.core.spec import ModelSpec
from include.lakehouse import comparisons, decisions
from include.lakehouse.comparisons import Comparison, NumberTaken
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import checks, registration, release
from include.registry.checks import CheckResult
from include.registry.evidence import Evidence
from include.registry.gates import Verdict
from include.registry.release import Release
from include.registry.versions import Version

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckAnswer:
    """What one check of a gate said of a version; small enough to be handed from task to task."""

    gate: Gate
    version: str
    asked: str
    """Which check: one of `Gates.asked`."""
    policy: str
    """Hash of the gates of model.yaml then."""
    compared_with: str | None
    """The version in production then."""
    release: str | None
    """Digest of the candidate's release, taken before it was asked; None in the staging gate."""
    result: CheckResult

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """From what `told` made of it."""
        result = told["result"]
        overall, slices = result["comparison"], result["slices"]
        found = replace(
            CheckResult(**result),
            comparison=Comparison.read(overall) if overall else None,
            slices=tuple(map(Comparison.read, slices)),
        )
        return cls(**{**told, "result": found})

    @property
    def told(self) -> dict[str, Any]:
        """Plain JSON: what is no finite number is null."""
        plain: dict[str, Any] = json.loads(decisions.canonical_json(self))
        return plain


def find(run: Run, gate: Gate, asked: str, evidence: Evidence) -> CheckAnswer:
    """Ask one check; what it compared is recorded, once the number that it follows is the candidate's for good.

    Asked again by the same run it replaces what it has recorded, and the candidate keeps its number.
    """
    before = _release(run, gate, evidence)
    while True:
        result = checks.ask(run.spec, gate, asked, evidence)
        compared = [*([result.comparison] if result.comparison else []), *result.slices]
        try:
            if compared:
                comparisons.record(run.spec, run.lake, compared, run.run_id)
        except NumberTaken:
            log.info(
                "Another candidate was compared meanwhile: version %s is compared again, by its alpha",
                evidence.candidate.version,
            )
            evidence = replace(evidence)  # which knows nothing yet
            continue
        log.info("%s", result)
        compared_with = evidence.serving.version if evidence.serving else None
        return CheckAnswer(gate, evidence.candidate.version, asked, _policy(run.spec), compared_with, before, result)


def record(run: Run, version: Version, answer: CheckAnswer) -> None:
    """Keep an answer; asked again by the same run, the newer one."""
    outcome = Outcome.PASSED if answer.result.passed else Outcome.FAILED
    run.decide(
        Kind.GATE_CHECK,
        outcome,
        [Reason.CHECK.about(answer.result.name)],
        subject=f"{_subject(version, answer.gate)}{answer.asked}",
        at=version.known_at,
        about=version.known_at,
        actor=Actor.GATE,
        inputs={"answer": answer.told},
        follows=[run.spec.gates],
    )


def recorded(run: Run, version: Version, gate: Gate) -> list[CheckAnswer]:
    """What this run's checks of a gate have answered of a version."""
    about = _subject(version, gate)
    made = decisions.history(run.lake, run.spec.name, Kind.GATE_CHECK, since=version.known_at, run_id=run.run_id)
    return [CheckAnswer.read(item.inputs["answer"]) for item in made if item.subject.startswith(about)]


def find_all(run: Run, gate: Gate, evidence: Evidence) -> list[CheckAnswer]:
    """Ask all checks of a gate, one after the other."""
    return [find(run, gate, asked, evidence) for asked in run.spec.gates.asked(gate)]


def conclude(spec: ModelSpec, gate: Gate, version: str, answers: Iterable[CheckAnswer]) -> Verdict:
    """The gate's verdict: it is passed if every check is.

    Raises:
        UsageError: a check has no answer, or its answer is of another version, of another model.yaml, or beside another
            version in production than the others. Nothing is decided then.
    """
    mine = [item for item in answers if (item.gate, item.version) == (gate, version)]
    by_check = {item.asked: item for item in mine}
    listed, policy = spec.gates.asked(gate), _policy(spec)
    if twice := sorted({item.asked for item in mine if item != by_check[item.asked]}):
        raise _unanswered(spec, gate, f"{', '.join(twice)} has two answers that differ")
    if missing := [asked for asked in listed if asked not in by_check]:
        raise _unanswered(spec, gate, f"{', '.join(missing)} has no answer: the task ended without one")
    found = [by_check[asked] for asked in listed]
    if old := [item.asked for item in found if item.policy != policy]:
        raise _unanswered(spec, gate, f"{', '.join(old)} was asked by a model.yaml whose gates were others")
    # Once it is in production itself, a check that is asked again finds it there.
    beside = sorted({item.compared_with or "none" for item in found} - {version})
    if len(beside) > 1:
        raise _unanswered(spec, gate, f"production changed while its checks were asked: {' and '.join(beside)}")
    compared_with = next((item.compared_with for item in found if item.compared_with != version), version)
    results = [item.result for item in found]
    if not results[0].passed:  # of what is not the version nothing else was asked
        results = results[:1]
    return Verdict(all(result.passed for result in results), gate, version, compared_with, tuple(results))


def require_release(spec: ModelSpec, gate: Gate, answers: Iterable[CheckAnswer], judged: Release | None) -> None:
    """Refuse answers about what is not judged: of the candidate, or what it works with, a part has changed since.

    Raises:
        UsageError: it has.
    """
    now = judged.digest if judged else None
    if changed := [item.asked for item in answers if item.release != now]:
        raise _unanswered(spec, gate, f"since {', '.join(changed)} was asked, a part of the release has changed")


def _unanswered(spec: ModelSpec, gate: Gate, what: str) -> UsageError:
    task = f"{spec.name}.promote_model, run_{gate}_checks"
    return UsageError(f"the {gate} gate cannot conclude: {what}", where=task, fix="Clear that task, all its instances")


def _subject(version: Version, gate: Gate) -> str:
    return f"{registration.subject(version)}, {gate} check "


def _policy(spec: ModelSpec) -> str:
    return decisions.policy_hash(spec.gates)


def _release(run: Run, gate: Gate, evidence: Evidence) -> str | None:
    found = release.if_registered(run.spec, run.lake, evidence.candidate) if gate == "production" else None
    return found.digest if found else None
