"""What build_features does of a partition, a step at a time."""

from __future__ import annotations

from include.features import query, skew, store
from include.features.query import FeatureCounts
from include.features.skew import Skew
from include.lakehouse.run import Run


def compute_features(run: Run) -> FeatureCounts:
    """Make the partition of ``features_<model>`` from its accepted rows.

    Raises:
        UsageError: there is no batch of it.
    """
    run.require_batch()
    return query.write(run.spec, run.lake, run.partition)


def materialize_features(run: Run) -> None:
    """Register the model's definitions with Feast, and copy the partition's features into the online store."""
    feast = store.open_store()
    store.apply(feast, run.spec)
    store.materialize(feast, run.spec, run.partition)


def check_skew(run: Run) -> Skew:
    """Compare what is served with the table, and record the verdict.

    Raises:
        DataError: they differ by more than model.yaml allows.
    """
    return skew.gate(run, store.open_store())
