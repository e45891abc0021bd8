"""Fitting a version again from what is recorded of it: the rows, the parameters and the seed, none of today's.

What is fitted is held against what was registered, prediction by prediction on the test rows. The same rows on the same
packages give the same model; where other packages are installed, or a row of the table was lost, it shows here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.lakehouse.schemas import SPLIT
from include.lakehouse.tables import Lakehouse
from include.registry.evidence import Evidence, stored_rows, test_rows
from include.registry.versions import Version
from include.training import algorithms, training_set
from include.training.algorithms import Conditions, Fitted
from include.training.splits import TRAIN, VALIDATION

log = logging.getLogger(__name__)
LOCK = "requirements.txt"
"""The file in which MLflow keeps the packages that a model was fitted with."""


@dataclass(frozen=True)
class Rebuilt:
    """A version beside what its record gives today. Metrics are of the test rows, in the metric's unit."""

    version: str
    rows: int
    metric: str
    registered: float
    rebuilt: float
    distance: float
    """The largest difference between two predictions of the same row, in standard deviations of the label."""
    tolerance: float
    """The largest that counts as none; in the same unit."""
    packages: Mapping[str, tuple[str, str]]
    """Those that are other ones than when it was fitted: the version then, and now."""

    @property
    def alike(self) -> bool:
        return self.distance <= self.tolerance


def rebuild(spec: ModelSpec, lake: Lakehouse, version: Version) -> Rebuilt:
    """Fit a version again, and compare; errors as `of`."""
    return of(Evidence(spec, lake, version, serving=None))


def of(registered: Evidence) -> Rebuilt:
    """Fit the candidate of some evidence again, and compare.

    Raises:
        DataError: its record does not say by which parameters it was fitted; its rows are gone; or the metric is
            undefined on its test rows.
        TamperedError: it is not what was registered.
    """
    spec, version = registered.spec, registered.candidate
    packages = _other_packages(registered.folder)  # first of all: whether it is what was registered
    rows = stored_rows(spec, registered.lake, version)
    fitted = _fit(spec, version, registered, rows)
    test = test_rows(spec, version, rows)
    features = test[list(version.features)]
    y, p = metrics.pair(test[spec.target], registered.predict(features))
    again = algorithms.predict(spec, version.tag("algorithm"), fitted.model, features)
    metric, count = metrics.of(spec), len(version.features)
    spread = float(y.std()) or 1.0
    return Rebuilt(
        version=version.version,
        rows=len(test),
        metric=spec.metric,
        registered=metric.measure(y, p, count),
        rebuilt=metric.measure(*metrics.pair(y, again), count),
        distance=float(np.abs(p - again).max()) / spread,
        tolerance=spec.training.rebuild_tolerance,
        packages=packages,
    )


def described(spec: ModelSpec, built: Rebuilt) -> str:
    """``version 2 comes out alike: adjusted R2 0.8512 as registered, 0.8512 rebuilt, on 4,120 test rows; …``"""
    metric = metrics.of(spec)
    said = (
        f"version {built.version} comes out {'alike' if built.alike else 'different'}: {metric.title} "
        f"{metric.shown(built.registered)} as registered, {metric.shown(built.rebuilt)} rebuilt, on {built.rows:,} "
        f"test rows; two predictions differ by {built.distance:.2g} deviations of the "
        f"label at most, {built.tolerance:g} are allowed"
    )
    others = ", ".join(f"{name} {now} and not {then}" for name, (then, now) in built.packages.items())
    return f"{said}; here is {others}" if others else said


def _fit(spec: ModelSpec, version: Version, registered: Evidence, rows: pd.DataFrame) -> Fitted:
    recorded = registered.logged.metadata or {}
    if missing := [name for name in ("params", "seed") if name not in recorded]:
        raise DataError(
            f"the files of version {version.version} do not say its {' and '.join(missing)}",
            where=spec.name,
            fix="Only versions that train_model has registered since can be rebuilt: run request_training",
        )
    sample = training_set.sample(
        spec, rows, rows[SPLIT].isin([TRAIN, VALIDATION]), version.features, version.categories
    )
    algorithm = algorithms.get(spec, version.tag("algorithm"))
    log.info("Fitting version %s again to %s rows by %s", version.version, len(sample.target), recorded["params"])
    how = Conditions(spec.task, int(recorded["seed"]), algorithms.most_threads())
    return algorithm.fit(sample, dict(recorded["params"]), how)


def _other_packages(folder: Path) -> dict[str, tuple[str, str]]:
    lines = (folder / LOCK).read_text(encoding="utf-8").splitlines() if (folder / LOCK).is_file() else []
    then = dict(line.strip().split("==", 1) for line in lines if "==" in line)
    now = {name: _installed(name) for name in then}
    return {name: (then[name], now[name]) for name in sorted(then) if then[name] != now[name]}


def _installed(package: str) -> str:
    try:
        return installed(package)
    except PackageNotFoundError:
        return "not installed"
