"""Versions in MLflow that somebody asks a transition of: the tag ``transition.request`` is set.

Looked at by a trigger every so often (`include.orchestration.triggers`), so this imports little.
"""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from include.training import own_listener  # noqa: F401  (MLflow finds it then)

REQUEST = "transition.request"
"""The tag that asks: the stage that is wanted. It is removed with the answer, so that it may be set again."""


def versions(model: str) -> list[ModelVersion]:
    """Those of a registered model with the tag, oldest first; none where there is no such model yet."""
    found = MlflowClient().search_model_versions(f"name = '{model}' and tag.`{REQUEST}` LIKE '%'")
    return sorted(found, key=lambda version: int(version.version))


def look(model: str) -> dict[str, str]:
    """What is asked of which version, as it is written."""
    return {str(version.version): version.tags[REQUEST] for version in versions(model)}
