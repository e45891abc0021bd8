"""What score_batch does of a partition, a step at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import get_args

from include.core.errors import TamperedError, UsageError
from include.features import store
from include.lakehouse import predictions
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import alias
from include.scoring import batch, choice, release_check
from include.scoring.batch import Scored
from include.scoring.choice import AsOf, Choice

log = logging.getLogger(__name__)


def choose_version(run: Run, as_of: AsOf = "history") -> Choice | None:
    """The version that scores the partition, by `choice.choose`; None where none has been promoted yet.

    Raises:
        TamperedError: what is in production was touched by hand, as `alias.require` says.
        UsageError: the version is not as it was approved, as `release_check.require` says.
    """
    chosen = _choose(run, as_of)
    if chosen:
        release_check.require(run, chosen.version)
    return chosen


def _choose(run: Run, as_of: AsOf) -> Choice | None:
    if as_of not in get_args(AsOf):
        raise UsageError(f"as_of is {as_of!r}", where=run.spec.name, fix=f"Use one of {', '.join(get_args(AsOf))}")
    alias.require(run)
    served = predictions.served_version(run.spec, run.lake, run.partition)
    chosen = choice.choose(run.spec, run.lake, run.partition, served, as_of)
    if chosen:
        log.info(
            "Version %s scores %s (%s); in production now: %s",
            chosen.version,
            run.partition,
            chosen.why.replace("_", " "),
            chosen.in_production or "none",
        )
    return chosen


def score_rows(run: Run, as_of: AsOf = "history") -> Scored:
    """Predict every accepted row of the partition; what was served stays served.

    Raises:
        UsageError: no version is in production, or no row of its batch is accepted, or is any more.
        DataError: as `choose_version` and `batch.score`.
    """
    run.require_accepted()
    first = _choose(run, as_of)
    if first is None:
        raise UsageError("no version is in production", where=run.spec.name, fix="Train and promote one")

    changes: dict[str, Sequence[str]] = {}
    """By version, what is another one than at its approval, and may be."""

    def choose(served: str | None) -> Choice:
        chosen = choice.choose(run.spec, run.lake, run.partition, served, as_of)
        assert chosen is not None, "a version that is in production is replaced by another one, never by none"
        if chosen.version not in changes:
            changes[chosen.version] = release_check.require(run, chosen.version)
        return chosen

    try:
        chosen, scored = batch.score(run.spec, run.lake, store.open_store(), run.partition, choose, run_id=run.run_id)
    except TamperedError as error:
        release_check.refuse_files(run, [*changes, first.version][-1], error)
        raise
    scored.changed = changes[scored.version]
    if not run.is_accepted():  # it was withdrawn while they were predicted
        predictions.withdraw(run.spec, run.lake, run.partition)
        run.require_accepted()
    if scored.beside and scored.served:
        log.info("%s rows were served before, and are predicted otherwise now: that stands beside", scored.beside)
    inputs = {**asdict(scored), "in_production": chosen.in_production, "as_of": as_of}
    run.decide(Kind.SCORING, Outcome.SCORE_ROWS, [chosen.why], inputs=inputs)
    return scored


def withdraw_predictions(run: Run) -> int:
    """Mark what was predicted for the partition as withdrawn; what was served stays as a record. How many rows.

    Raises:
        UsageError: its batch is accepted.
    """
    run.require_withdrawn()
    count = predictions.withdraw(run.spec, run.lake, run.partition)
    version = predictions.served_version(run.spec, run.lake, run.partition)
    inputs = {"predictions": count, "served_by_version": version or "none"}
    run.decide(Kind.PREDICTION_WITHDRAWAL, Outcome.WITHDRAWN, [], inputs=inputs)
    return count


def skip_scoring(run: Run) -> None:
    """Record that nothing was scored, because no version is in production."""
    run.decide(Kind.SCORING, Outcome.SKIP_SCORING, [Reason.NO_PRODUCTION_VERSION])
