"""What score_batch does of a partition, a step at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import get_args

from include.core.errors import DataError
from include.features import store
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.registry import alias
from include.scoring import batch, choice
from include.scoring.choice import AsOf, Choice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What was scored. Its version is none where none is in production."""

    rows: int
    version: str | None
    served: bool


def choose_version(run: Run, as_of: AsOf = "history") -> Choice | None:
    """The version that scores the partition, by `choice.choose`; None where none has been promoted yet.

    Raises:
        TamperedError: what is in production was touched by hand, as `alias.require` says.
    """
    if as_of not in get_args(AsOf):
        raise DataError(f"as_of is {as_of!r}", where=run.spec.name, fix=f"Use one of {', '.join(get_args(AsOf))}")
    alias.require(run)
    chosen = choice.choose(run.spec, run.lake, run.partition, as_of)
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
    """Predict every accepted row of the partition.

    Raises:
        DataError: no version is in production, or as `choose_version` and `batch.score`.
    """
    chosen = choose_version(run, as_of)
    if chosen is None:
        raise DataError("no version is in production", where=run.spec.name, fix="Train and promote one")
    rows = batch.score(
        run.spec,
        run.lake,
        store.open_store(),
        run.partition,
        chosen.version,
        served=chosen.served,
        run_id=run.run_id,
    )
    # Nobody was served by no rows; but what was served once stays so where its batch has been withdrawn.
    served = chosen.served and (rows > 0 or chosen.why is Reason.SERVED_BEFORE)
    inputs = {"version": chosen.version, "served": served, "rows": rows, "in_production": chosen.in_production}
    run.decide(Kind.SCORING, Outcome.SCORE_ROWS, [chosen.why], inputs={**inputs, "as_of": as_of})
    return Scored(rows, chosen.version, served)


def skip_scoring(run: Run) -> None:
    """Record that nothing was scored, because no version is in production."""
    run.decide(Kind.SCORING, Outcome.SKIP_SCORING, [Reason.NO_PRODUCTION_VERSION])
