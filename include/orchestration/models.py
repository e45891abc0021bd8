"""Which models are in order: those that get DAGs. Every DAG file asks whenever it is parsed, so it has to be cheap."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from include.core import catalogue
from include.core.catalogue import FILES, MODELS
from include.core.errors import ConfigError
from include.core.files import short_path
from include.core.settings import PROJECT_ROOT


def valid(root: Path = MODELS) -> tuple[str, ...]:
    """The models whose folders are in order: those that get DAGs. dags/check_models.py shows the others."""
    return tuple(name for name in catalogue.registered(root) if problem(name, root) is None)


def problem(name: str, root: Path = MODELS) -> ConfigError | None:
    """What is wrong with a model's folder, or None: its files, the names that they choose, and that they fit together.

    Running features.sql takes DuckDB, so a folder that was found in order is remembered by its content.
    """
    try:
        spec = catalogue.load(name, root)
        known = _remembered(root / name)
        if known is None or not known.exists():
            check(spec)
            if known is not None:
                _remember(known)
    except ConfigError as error:
        return error
    except Exception as error:  # noqa: BLE001  (whatever it is, it is this model's alone)
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return ConfigError(f"cannot be checked: {said}", where=short_path(root / name))
    return None


def check(spec: catalogue.ModelSpec) -> None:
    """Raise what is wrong with a model that its model.yaml alone does not show."""
    # Imported here: who parses a DAG file of a model that is known to be in order needs none of it.
    from include.evaluation import drift, metrics
    from include.features import functions, query, window_frames
    from include.ingestion import expectations
    from include.lakehouse import schemas
    from include.registry import checks
    from include.training import algorithms, leakage, splits

    features = query.feature_schema(spec)
    functions.check(spec)
    window_frames.check(spec)
    schemas.check(spec, features)
    most_rows = expectations.most_rows(expectations.load(spec))
    expectations.load_for_labels(spec)
    metrics.require_judged(spec, len(features), most_rows)
    drift.check(spec)
    algorithms.of(spec, features)
    splits.of(spec, features)
    leakage.known(spec, features)
    checks.problems(spec, features)


def _remembered(folder: Path) -> Path | None:
    """The file that is there where this content, checked by this code, was found in order; None where none is kept."""
    home = os.environ.get("AIRFLOW_HOME")
    if not home:
        return None
    digest = hashlib.sha256(str(folder).encode())
    for name in FILES:
        digest.update((folder / name).read_bytes())
    code = max(file.stat().st_mtime_ns for file in (PROJECT_ROOT / "include").rglob("*.py"))
    return Path(home) / "models_in_order" / f"{folder.name}-{digest.hexdigest()[:32]}-{code}"


def _remember(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for older in file.parent.glob(f"{file.name.split('-')[0]}-*"):
            older.unlink(missing_ok=True)
        file.touch()
    except OSError:
        return  # a folder that nothing can be written to: it is checked each time
