"""A version is tried before it goes back into production: it loads, and predicts what it would be asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from include.core.errors import DataError, TamperedError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.lakehouse import alias_history
from include.lakehouse.schemas import FEATURES
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.registry import promotion, registration, side_by_side, versions
from include.registry.evidence import stored_rows, test_rows
from include.registry.versions import Version

log = logging.getLogger(__name__)

ALPHA = 0.025
"""Of each bound of a gain: between both it is in 95 %."""


@dataclass(frozen=True)
class Recent:
    """What it predicts for the newest partition that has features."""

    partition: str
    rows: int
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class Beside:
    """The version and the one in production, on the newest rows that were served and have labels."""

    production_version: str
    partitions: tuple[str, ...]
    rows: int
    value: float
    production_value: float
    gain: float
    """Positive where the version is better than the one in production."""
    lower_bound: float
    upper_bound: float


@dataclass(frozen=True)
class SmokeScore:
    """A version's predictions for the test rows that it was measured on, and for recent ones."""

    version: str
    rows: int
    metric: str
    value: float
    in_production: str | None
    """The version that it would replace."""
    has_served: bool
    """Whether it was in production before: to another one nobody can go back."""
    recent: Recent | None = None
    """None where no features are there."""
    beside: Beside | None = None
    """None where it is in production, or they cannot be compared."""
    missing: tuple[str, ...] = ()
    """Why something of it is not known, a sentence each."""


def restored(told: Mapping[str, Any]) -> SmokeScore:
    """One that a task has handed on."""
    return TypeAdapter(SmokeScore).validate_python(told)


def score(spec: ModelSpec, lake: Lakehouse, version: str) -> SmokeScore:
    """Let a version predict the test rows that it was measured on, and the rows of the newest partition with features.

    Beside the version in production it stands on the newest rows that were served and have labels. Where these, or
    features, are not there, that is said, and no failure.

    Raises:
        DataError: it does not exist, lacks a feature of today, or predicts something that is no finite number.
        TamperedError: it is not what was registered.
    """
    found, metric = versions.get(spec, version), metrics.of(spec)
    predict = registration.predictor(spec, lake, found)
    rows = test_rows(spec, found, stored_rows(spec, lake, found))
    y, p = metrics.pair(rows[spec.target], predict(rows[list(found.features)]))
    value = metric.measure(y, p, len(found.features))
    log.info("Version %s predicts %s test rows, %s %s", version, len(rows), metric.title, metric.shown(value))
    served, now = promotion.served(spec, lake), alias_history.current(lake, spec.name)
    scored = SmokeScore(
        found.version,
        len(rows),
        spec.metric,
        value,
        in_production=now.version if now else None,
        has_served=found.version in served,
        recent=(recent := _recent(spec, lake, found)),
        missing=() if recent else ("No partition has features, so no recent row was scored.",),
    )
    if now is None or now.version == found.version:
        return scored
    try:
        return replace(scored, beside=_beside(spec, lake, found, now.version))
    except TamperedError as error:  # what is in production may be why somebody goes back
        missing = f"Version {now.version} cannot be loaded: {error}."
    except DataError as error:
        missing = f"It is not compared with version {now.version}: {error}."
    log.warning(missing)
    return replace(scored, missing=(*scored.missing, missing))


def _recent(spec: ModelSpec, lake: Lakehouse, version: Version) -> Recent | None:
    there = [key for key, rows in lake.rows_by_partition(FEATURES.of(spec)).items() if rows]
    if not there:
        return None
    partition = Partition.parse(max(there), spec.grain)
    rows = lake.read(FEATURES.of(spec), where=within(partition)).to_pandas()
    began = time.monotonic()
    predicted = side_by_side.predict(spec, lake, version, rows)
    seconds = time.monotonic() - began
    if len(predicted) != len(rows) or not np.isfinite(predicted).all():
        raise DataError(
            f"version {version.version} predicts {len(predicted)} values for {len(rows)} rows of {partition}, "
            f"{int((~np.isfinite(predicted)).sum())} of them not finite",
            where=spec.name,
            fix="Take another version",
        )
    log.info("Version %s predicts %s rows of %s in %.2f s", version.version, len(rows), partition, seconds)
    return Recent(partition.key, len(rows), round(seconds, 3))


def _beside(spec: ModelSpec, lake: Lakehouse, version: Version, production: str) -> Beside:
    serving = versions.get(spec, production)
    registration.of(spec, lake, serving)
    sides = side_by_side.newest(spec, lake, version, serving)
    (value, production_value), gain = sides.values, sides.gain
    found = Beside(
        production,
        sides.partitions,
        sides.rows,
        value,
        production_value,
        gain.value,
        lower_bound=gain.at_least(ALPHA),
        upper_bound=gain.at_most(ALPHA),
    )
    log.info("%s", found)
    return found
