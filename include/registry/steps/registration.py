"""A candidate becomes a version, and versions are named whose training data was withdrawn."""

from __future__ import annotations

from include.features import store
from include.lakehouse import alias_history
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.registry import reference_profile, registration, saved_dataset, versions, withdrawal
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef


def register_candidate(run: Run, candidate: RunRef, training_set: TrainingSetRef) -> str:
    """Make the model of a training run a version; its number.

    Its training set is in Feast's registry then, and what its windows are compared with in the lakehouse.
    """
    version = registration.register(run, candidate, training_set)
    reference_profile.record(run.spec, run.lake, version)
    saved_dataset.record(store.open_store(), run.spec, version, training_set)
    withdrawal.name_one(run.spec, run.lake, version, training_set)
    return version.version


def record_profile(run: Run, version: str) -> None:
    """Write what a version's windows are compared with, where its registration did not come so far."""
    reference_profile.record(run.spec, run.lake, versions.get(run.spec, version))


def name_versions(run: Run) -> list[str]:
    """Name the versions that learned from the partition, which is withdrawn: in the decisions, then in MLflow.

    In this order, so that nobody who can write to MLflow keeps it out of the decisions.

    Raises:
        UsageError: its batch is accepted.
        DataError: MLflow did not take it of some version.
    """
    run.require_withdrawn()
    found = withdrawal.learned_from(run.spec, run.lake, run.partition.key)
    serving = alias_history.current(run.lake, run.spec.name)
    inputs = {
        "versions_that_learned_from_it": ", ".join(found) or "none",
        "in_production": serving.version if serving else "none",
    }
    run.decide(Kind.TRAINING_WITHDRAWAL, Outcome.WITHDRAWN, [], inputs=inputs)
    withdrawal.name_all(run.spec, run.partition.key, found)
    return list(found)
