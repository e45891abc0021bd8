"""A version is fitted again, and is the same or not."""

from __future__ import annotations

from include.core.errors import TamperedError, UsageError
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import promotion, rebuild, versions
from include.registry.rebuild import Rebuilt
from include.registry.steps import record


def rebuild_version(run: Run, version: str | None = None) -> Rebuilt:
    """Fit a version again from what is recorded of it, and write on it whether it is the same.

    Args:
        version: the one in production by default.

    Raises:
        UsageError: none is in production.
        TamperedError: another model comes out, which is recorded; or as `rebuild.rebuild`.
    """
    found = versions.get(run.spec, version) if version else promotion.in_production(run.spec, run.lake)
    if found is None:
        raise UsageError("no version is in production", where=run.spec.name, fix="Name the version to rebuild")
    built = rebuild.rebuild(run.spec, run.lake, found)
    outcome = Outcome.ALIKE if built.alike else Outcome.DIFFERENT
    reasons = [] if built.alike else [Reason.PREDICTIONS_DIFFER.value]
    reasons += [Reason.OTHER_PACKAGE.about(name) for name in built.packages]
    decision_id = record.decide(run, Kind.REBUILD, found, outcome, reasons, actor=Actor.GATE, inputs=vars(built))
    said = rebuild.described(run.spec, built)
    record.note(run, found, "Rebuilt", said, "rebuild", outcome.value, reasons, decision_id)
    if not built.alike:
        raise TamperedError(said, where=run.spec.name, fix="What it was fitted to, or by, is not what it was")
    return built
