"""What a version was judged and approved with has to be what goes into production."""

from __future__ import annotations

import logging
from collections.abc import Collection

from include.core.errors import TamperedError, UsageError
from include.core.release import ReleasePart
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import registration, release
from include.registry.release import Release
from include.registry.steps import record
from include.registry.versions import Version

log = logging.getLogger(__name__)


def judged_release(run: Run, version: Version) -> Release | None:
    """The release that the production gate has judged: in this run, or at last."""
    decided = record.decided(run, version, Kind.PRODUCTION_GATE)
    own = [item for item in decided if item.run_id == run.run_id]
    return release.read(next(reversed(own or decided), None))


def require_release(
    run: Run, version: Version, kind: Kind, approved: Release | None, refusing: Collection[ReleasePart]
) -> tuple[str, ...]:
    """Hold a version, and all that it works with, against what was approved; the parts that differ and may.

    Args:
        refusing: the parts that have to be the same.
    """
    again = f"Run {run.spec.name}.promote_model with {version.version} as partition key: it is judged and approved anew"
    try:
        registration.require(run.spec, run.lake, version)
        now = release.of(run.spec, run.lake, version)
    except TamperedError as error:
        reason = Reason.RELEASE_CHANGED.about(ReleasePart.MODEL_FILES.value)
        record.decide(run, kind, version, Outcome.REFUSED, [reason], actor=Actor.POLICY, inputs={"refused": error.what})
        raise
    changes = approved.changes(now) if approved else []
    voiding, said = release.sorted_out(changes, refusing)
    if said:
        log.warning("Since version %s was approved these are others: %s", version.version, release.described(said))
    if voiding or approved is None:
        what = (
            f"version {version.version} is not as it was approved. Others are: {release.described(voiding)}"
            if approved
            else f"version {version.version} was judged before releases were recorded"
        )
        reasons = release.reasons(voiding) or [Reason.NOT_APPROVED]
        inputs = {"refused": what, "approved": approved and approved.digest, "now": now.digest}
        record.decide(run, kind, version, Outcome.REFUSED, reasons, actor=Actor.POLICY, inputs=inputs)
        raise UsageError(what, where=run.spec.name, fix=again)
    return tuple(map(str, said))
