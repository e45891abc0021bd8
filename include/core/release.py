"""The section ``approval.release`` of ``model.yaml``: which parts of a release have to be those that were approved."""

from __future__ import annotations

from enum import StrEnum

from include.core.sections import Section


class ReleasePart(StrEnum):
    """What a version works with (`registry.release`)."""

    MODEL_FILES = "model_files"
    FEATURE_SERVICE = "feature_service"
    DATA_VERSIONS = "data_versions"
    REFERENCE_PROFILE = "reference_profile"
    EXPECTATION_SUITE = "expectation_suite"
    ENVIRONMENT_LOCK = "environment_lock"
    DAG_BUNDLE = "dag_bundle"


class ReleaseRule(Section):
    """The parts of a release that have to be those that were approved. Another one that differs is recorded and said.
    Files of the model that are not those that were registered are loaded by no rule."""

    at_promotion: tuple[ReleasePart, ...] = tuple(ReleasePart)
    """Else the promotion is refused: the version is judged and approved anew."""
    at_scoring: tuple[ReleasePart, ...] = (
        ReleasePart.MODEL_FILES,
        ReleasePart.FEATURE_SERVICE,
        ReleasePart.DATA_VERSIONS,
        ReleasePart.REFERENCE_PROFILE,
    )
    """Else it does not score, and nobody rolls back to it. The others change with every deployment."""
