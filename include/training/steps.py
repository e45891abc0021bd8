"""What train_model and request_training do, a step at a time."""

from __future__ import annotations

from include.features import store
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.training import candidate, evidence
from include.training import training_set as sets
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef


def request_training(run: Run) -> None:
    """Record that a training with the data known after the partition is wanted: weekly, the first one, or by hand.

    Raises:
        UsageError: no row of the partition's batch is accepted, so the training would wait for features in vain.
    """
    run.require_accepted()
    run.decide(
        Kind.TRAINING_REQUEST,
        Outcome.REQUEST_RETRAINING,
        [Reason.ASKED_FOR],
        actor=Actor.SCHEDULE_OR_PERSON,
        follows=[run.spec.training],
    )


def build_training_set(run: Run) -> TrainingSetRef:
    """Write the training set of all labels that arrive with those of the partition."""
    return sets.build(run.spec, run.lake, store.open_store(), run.partition)


def fit_baseline(run: Run, training_set: TrainingSetRef) -> RunRef:
    """Fit the algorithm with the baseline's parameters."""
    return candidate.fit_baseline(run.spec, run.lake, training_set, run.run_id)


def fit_tuned(run: Run, training_set: TrainingSetRef) -> RunRef:
    """Search hyperparameters, and fit the algorithm with the best."""
    return candidate.fit_tuned(run.spec, run.lake, training_set, run.run_id)


def choose_candidate(run: Run, baseline: RunRef, tuned: RunRef) -> str:
    """Name of the better one: ``baseline`` or ``tuned``."""
    return candidate.better_of(run.spec, baseline, tuned).run_name


def explain_candidate(run: Run, kept: RunRef, training_set: TrainingSetRef) -> None:
    """Draw the candidate that is kept, and put the figures and its card on its run in MLflow."""
    evidence.publish(run.spec, run.lake, training_set, kept)
