"""What the tests of the registry share: a scene's versions, a run about them, gates with other parameters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from include.core.sections import Gate, GateCheck
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.registry import check_answers, evidence
from include.registry.approval import Answer
from include.registry.gates import Verdict
from tests.unit.training.stage import Scene, register

THRESHOLD = 0.6
"""Both versions of the scene are above it on their test rows."""


def with_gate(spec: ModelSpec, gate: str, *items: Any) -> ModelSpec:
    """The specification with other checks in a gate."""
    checks = tuple(GateCheck.model_validate(item) for item in items)
    changed = spec.model_copy(update={"gates": spec.gates.model_copy(update={gate: checks})})
    changed._folder = spec.folder
    return changed


def with_params(spec: ModelSpec, **params: dict[str, Any]) -> ModelSpec:
    """The specification with other parameters of checks in its production gate."""
    return with_gate(
        spec,
        "production",
        *({"check": item.check, "params": item.params | params.get(item.check, {})} for item in spec.gates.production),
    )


def ask(spec: ModelSpec, lake: Lakehouse, gate: Gate, version: str) -> Verdict:
    """The verdict of a gate, all of whose checks are asked here; nothing but comparisons is recorded."""
    run = Run(spec, Settings(), lake, "asked")
    found = check_answers.find_all(run, gate, evidence.of(spec, lake, version))
    return check_answers.conclude(spec, gate, str(version), found)


def lenient(spec: ModelSpec) -> ModelSpec:
    both = {"threshold": THRESHOLD}
    return with_params(spec, above_threshold=both, drifted_above_threshold=both)


def registered(scene: Scene, name: str, environment: str = "dev") -> Run:
    """A run of a model of its own with two versions: 1 of the history, 2 of the drifted days, too."""
    own = scene.own(name)
    for run, ref in ((scene.old, scene.old_ref), (scene.new, scene.new_ref)):
        register(own.world.spec, own.world.lake, run, ref)
    settings = Settings(environment=environment, lakehouse_uri=str(scene.world.folder))
    return Run(lenient(own.world.spec), settings, own.world.lake, "first")


def answered(person: str, approves: bool = True, comment: str = "") -> Answer:
    """What a person answers now."""
    return Answer(person, approves, comment, datetime.now(UTC))


def with_approval(run: Run, **rules: Any) -> Run:
    """The run by another approval policy."""
    spec = run.spec.model_copy(update={"approval": run.spec.approval.model_copy(update=rules)})
    spec._folder = run.spec.folder
    return replace(run, spec=spec)


def another(run: Run, run_id: str) -> Run:
    return replace(run, run_id=run_id)


def decided(run: Run, kind: Kind | None = None) -> list[Decision]:
    """In the order of the clock; how the versions came in is left out."""
    found = decisions.history(run.lake, run.spec.name, kind)
    return sorted(
        (item for item in found if item.kind not in (Kind.TRAINING, Kind.REGISTRATION)),
        key=lambda item: item.recorded_at,
    )


def outcomes(run: Run, kind: Kind) -> list[tuple[str, str, list[str]]]:
    return [(item.subject, item.outcome, list(item.reasons)) for item in decided(run, kind)]
