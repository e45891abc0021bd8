"""What build_features does of a partition, a step at a time."""

from __future__ import annotations

from dataclasses import asdict

from include.features import lookback, query, skew, store
from include.features.query import FeatureCounts
from include.features.skew import Skew
from include.features.store import Withdrawn
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run


def compute_features(run: Run, *, if_stale: bool = False) -> FeatureCounts | None:
    """Make the partition of ``features_<model>`` from its accepted rows, and those that they look back on.

    Args:
        if_stale: only where they looked back on other rows than there are now, and rows of its own are accepted.

    Returns:
        None where nothing was to be done.

    Raises:
        UsageError: no row of its batch is accepted, or is any more.
    """
    if if_stale and not (run.is_accepted() and lookback.is_stale(run.spec, run.lake, run.partition)):
        return None
    run.require_accepted()
    made = query.write(run.spec, run.lake, run.partition)
    if not run.is_accepted():  # it was withdrawn while they were computed
        store.withdraw(store.open_store(), run.spec, run.lake, run.partition)
        run.require_accepted()
    return made


def materialize_features(run: Run) -> None:
    """Register the model's definitions with Feast, and copy the partition's features into the online store."""
    feast = store.open_store()
    store.apply(feast, run.spec)
    store.materialize(feast, run.spec, run.partition)


def withdraw_features(run: Run) -> Withdrawn:
    """Empty the partition of ``features_<model>``; online, its keys get back what they had before. It is recorded.

    Raises:
        UsageError: its batch is accepted.
    """
    run.require_withdrawn()
    found = store.withdraw(store.open_store(), run.spec, run.lake, run.partition)
    run.decide(Kind.FEATURE_WITHDRAWAL, Outcome.WITHDRAWN, [], inputs=asdict(found))
    return found


def find_stale(run: Run) -> list[str]:
    """Keys of the later partitions whose features looked back on other rows of this one than there are now: it came
    late, again, or is withdrawn."""
    return [item.key for item in lookback.stale(run.spec, run.lake, run.partition)]


def check_skew(run: Run) -> Skew:
    """Compare what is served with the table, and record the verdict.

    Raises:
        DataError: they differ by more than model.yaml allows.
    """
    return skew.gate(run, store.open_store())
