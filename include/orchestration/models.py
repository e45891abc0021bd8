"""Which models are in order: those that get DAGs."""

from __future__ import annotations

from pathlib import Path

from include.core.catalogue import MODELS, load, registered
from include.core.errors import ConfigError


def problem(name: str, root: Path = MODELS) -> ConfigError | None:
    """What is wrong with a model's folder, or None: all three files, and that they fit together."""
    # Imported here: who only reads model.yaml needs neither DuckDB nor Arrow.
    from include.evaluation import drift
    from include.features import query
    from include.ingestion import expectations

    try:
        spec = load(name, root)
        drift.check(spec)
        query.feature_schema(spec)
        expectations.load(spec)
    except ConfigError as error:
        return error
    return None


def valid(root: Path = MODELS) -> tuple[str, ...]:
    """The models whose folders are in order: those that get DAGs. dags/check_models.py shows the others."""
    return tuple(name for name in registered(root) if problem(name, root) is None)
