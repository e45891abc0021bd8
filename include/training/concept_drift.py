"""Concept drift in a training set: rows of before it say what is true no longer.

Where monitoring found in enough windows of a version that what it predicts has changed, the labels of before the first
of them are restated as they would be since, as far as a line through predictions and labels of those windows explains
the change: a location-scale transform of the labels (K. Zhang et al., Domain Adaptation under Target and Conditional
Shift, ICML 2013, section 4; X. Wang, J. Schneider, Flexible Transfer Learning under Support and Model Shift, NIPS
2014). So a version learns the new world from all rows, not from the few of some days. Restated or not, no version is
judged by rows of before: they are `superseded`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.core.partition import Partition
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.lakehouse import predictions, windows
from include.lakehouse.schemas import PARTITION, PREDICTION, SPLIT
from include.lakehouse.tables import Lakehouse
from include.training.splits import TEST


@dataclass(frozen=True)
class ConceptDrift:
    """A change of what is predicted, as the version that was served saw it."""

    version: str
    windows: tuple[Partition, ...]
    """Those in which it showed, up to the next change, oldest first."""

    @property
    def since(self) -> Partition:
        return self.windows[0]


@dataclass(frozen=True)
class Superseded:
    """What concept drift makes of the rows of a training set."""

    labels: Floats
    """One a row: as it came, or restated."""
    rows: npt.NDArray[np.bool_]
    """Which rows are of before the last change."""
    described: tuple[str, ...]
    """A sentence for each change."""


def find(spec: ModelSpec, lake: Lakehouse, last: Partition) -> list[ConceptDrift]:
    """The changes up to and with a partition, oldest first, that stood when the version was served last.

    A change stands while n of m windows show it, as the policy counts them. One that has gone, while the version was
    still served, says nothing of the world since.
    """
    changes = []
    for version, seen in windows.concept_drifts(spec, lake, last).items():
        if shown := _standing(seen, spec.monitoring.retraining.below_windows, spec.monitoring.retraining.of_windows):
            changes.append((shown[0], version, shown))
    changes.sort()
    return [
        ConceptDrift(version, tuple(item for item in shown if following is None or item < following[0]))
        for (_, version, shown), following in zip_longest(changes, changes[1:])
    ]


def _standing(seen: Mapping[Partition, bool], least: int, of: int) -> list[Partition]:
    """The windows that show the change that stood last, oldest first: back to where it showed in too few of them."""
    shown: list[Partition] = []
    healthy = 0
    for partition, changed in reversed(list(seen.items())):
        healthy = 0 if changed else healthy + 1
        if healthy > of - least:
            break
        if changed:
            shown.append(partition)
    return shown[::-1] if len(shown) >= least else []


def supersede(
    spec: ModelSpec, lake: Lakehouse, frame: pd.DataFrame, changes: Sequence[ConceptDrift], n_features: int
) -> Superseded:
    """Restate the labels of before each change, and mark the rows of before the last one.

    A change counts once there are enough test rows since to judge a version by. It has come somewhere within the first
    window that shows it: where that is of several partitions, labels of those before its own stay as they came.

    Args:
        frame: rows of a training set with the entity's key, partition, part and label.
    """
    labels = frame[spec.target].to_numpy(dtype=np.float64).copy()
    keys, is_test = frame[PARTITION].to_numpy(), (frame[SPLIT] == TEST).to_numpy()
    superseded, described = np.zeros(len(frame), dtype=np.bool_), []
    for change in changes:
        before = keys < change.since.key
        if (is_test & ~before).sum() < metrics.of(spec).least_rows(n_features):
            continue
        superseded |= before
        said = f"What is predicted has changed since {change.since}, as {len(change.windows)} windows of version "
        said += f"{change.version} show; versions are judged by the rows since"
        surely_before = keys < windows.first_partition(spec, change.since).key
        if line := _line(spec, lake, frame[~is_test], change, n_features):
            slope, intercept = line
            labels[surely_before] = intercept + slope * labels[surely_before]
            said += f", labels of before are restated: {slope:.4g} times, and {intercept:+.4g}"
        described.append(said)
    return Superseded(labels, superseded, tuple(described))


def _line(
    spec: ModelSpec, lake: Lakehouse, fitted: pd.DataFrame, change: ConceptDrift, n_features: int
) -> tuple[float, float] | None:
    """Slope and intercept from the version's predictions to the labels; None where they do not explain the change."""
    from scipy import stats

    if spec.task is not Task.REGRESSION:
        return None
    pairs = []
    for window in change.windows:
        served = predictions.rows_of(spec, lake, window, change.version)
        rows = fitted[fitted[PARTITION] == window.key]
        if served is not None:
            named = list(spec.entity.keys)
            pairs.append(rows[[*named, spec.target]].merge(served.select([*named, PREDICTION]).to_pandas(), on=named))
    known = pd.concat(pairs) if pairs else pd.DataFrame()
    metric = metrics.of(spec)
    if len(known) < metric.least_rows(n_features) or np.ptp(known[PREDICTION]) == 0:
        return None
    y, p = metrics.pair(known[spec.target], known[PREDICTION])
    found = stats.linregress(p, y)
    explained = metric.measure(y, found.intercept + found.slope * p, n_features)
    if found.slope <= 0 or metric.clears(spec.monitoring.performance.threshold, explained):
        return None
    return float(found.slope), float(found.intercept)
