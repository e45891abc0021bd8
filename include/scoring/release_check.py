"""What scores is what was approved: the version, and what must not change under it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from include.core.errors import TamperedError, UsageError
from include.core.release import ReleasePart
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import registration, release, versions

log = logging.getLogger(__name__)


def require(run: Run, number: str) -> Sequence[str]:
    """Hold the release of a version against the one that was approved last; the parts that differ and may.

    Its files are held against the record once they are loaded. A version that came into production before releases were
    recorded is held against nothing.

    Raises:
        UsageError: a part differs that has to stay, by `approval.release.at_scoring` of model.yaml; it is recorded.
        TamperedError: a tag of the version is not what was registered.
    """
    version = versions.get(run.spec, number)
    approved = release.approved(run.spec, run.lake, version)
    if approved is None:
        log.info("Version %s was approved before releases were recorded", number)
        return ()
    changes = approved.changes(release.of(run.spec, run.lake, version))
    stopping, said = release.sorted_out(changes, run.spec.approval.release.at_scoring)
    if stopping:
        what = f"version {number} is not as it was approved. Others are: {release.described(stopping)}"
        refuse(run, number, release.reasons(stopping), what)
        raise UsageError(
            what,
            where=run.spec.name,
            fix=f"Put back what has changed; or have it approved as it is now: run {run.spec.name}.promote_model with "
            f"{number} as partition key; or train and promote another one",
        )
    if said:
        log.warning("Since version %s was approved these are others: %s", number, release.described(said))
    return tuple(map(str, said))


def refuse(run: Run, number: str, reasons: Sequence[str], what: str) -> None:
    """Record that a version does not score."""
    run.decide(
        Kind.RELEASE_CHECK,
        Outcome.REFUSED,
        reasons,
        subject=registration.subject(versions.get(run.spec, number)),
        inputs={"refused": what, "partition": run.partition.key},
    )


def refuse_files(run: Run, number: str, error: TamperedError) -> None:
    """Record that a version's files are not those that were registered."""
    refuse(run, number, [Reason.RELEASE_CHANGED.about(ReleasePart.MODEL_FILES.value)], error.what)
