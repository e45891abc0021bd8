"""The assets: the only contract between DAGs. Each is declared here, once.

An event means that the data is audited or the version promoted, never that it was attempted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from include.orchestration.triggers import OpenRequests


@dataclass(frozen=True)
class ModelAssets:
    """The assets of one model. Partition keys are days (``2025-01-31``) but for ``candidate``; ``transition_requested``
    has none."""

    clean: Asset
    """Rows that passed the expectations. From ingest_batch and reprocess_quarantine, to build_features."""
    withdrawn: Asset
    """A day of which something was accepted is out again. From ingest_batch, to withdraw_batch."""
    labels: Asset
    """Labels of a day's rows. From ingest_labels, to monitor_model."""
    features: Asset
    """Features offline and online. From build_features, to score_batch."""
    stale_features: Asset
    """A day's features are to be computed again: they looked back on rows that have changed. From build_features and
    withdraw_batch, to build_features."""
    predictions: Asset
    """Predictions of a day's rows. From score_batch, to monitor_model."""
    reopened: Asset
    """A day is to be decided on again: one that its decision looked back on has changed. From monitor_model and
    withdraw_batch, to monitor_model."""
    drift_check_requested: Asset
    """A day is to be measured again: a version was rejected on its way to production. From promote_model,
    to monitor_model."""
    retraining_requested: Asset
    """A training is wanted on the data known after a day. From monitor_model and request_training, to train_model."""
    candidate: Asset
    """A registered version, its number being the partition key. From train_model, to promote_model."""
    transition_requested: Asset
    """Somebody asks for a version in a stage, in MLflow. From MLflow's webhook, and a trigger that looks there every so
    often, to collect_requests."""
    production: Asset
    """A version went into production. From promote_model, roll_back_model and monitor_model, to whoever serves it."""


def assets_of(model: str) -> ModelAssets:
    def asset(name: str, group: str, **more: Any) -> Asset:
        return Asset(name=f"{model}.{name}", uri=f"flightline://{model}/{name}", group=group, **more)

    return ModelAssets(
        clean=asset("clean", "data"),
        withdrawn=asset("withdrawn", "data"),
        labels=asset("labels", "data"),
        features=asset("features", "features"),
        stale_features=asset("stale_features", "features"),
        predictions=asset("predictions", "predictions"),
        reopened=asset("reopened", "decisions"),
        drift_check_requested=asset("drift_check_requested", "decisions"),
        retraining_requested=asset("retraining_requested", "decisions"),
        candidate=asset("candidate", "models"),
        transition_requested=asset(
            "transition_requested", "models", watchers=[AssetWatcher(f"{model}.requests", OpenRequests(model))]
        ),
        production=asset("production", "models"),
    )
