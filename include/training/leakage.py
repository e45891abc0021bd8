"""Refuses a feature that is the label in another form: it equals it, or determines it.

The rows are ordered by the feature, and the rank of each label is compared with its neighbour's (von Neumann's ratio:
the mean square of successive differences over twice the variance). It is about 1 for a feature that says nothing,
1 - R2 for one that predicts well, and near 0 where the label is a function of the feature, rising, falling or
neither. Where a feature has few values (classes), the variance of the label within them says the same.

Source: J. von Neumann, Distribution of the ratio of the mean square successive difference to the variance (1941).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.evaluation.metrics import Floats

UNEXPLAINED = 0.01
"""Share of the label's variance below which a single feature is taken to determine it. In honest data the best
single feature leaves about half."""
LEAST_ROWS, MOST_ROWS = 30, 20_000
"""Of more rows so many are drawn: that a label follows from a feature shows in them as well."""
SEED = 20640


def unexplained(feature: Floats, label: Floats) -> float:
    """The share of the label's variance that the feature leaves open; 1 where there is too little to say.

    Args:
        feature, label: of one length; rows in which one is not finite are left out.
    """
    known = np.isfinite(feature) & np.isfinite(label)
    feature, label = feature[known], label[known]
    if len(label) < LEAST_ROWS or np.ptp(label) == 0 or np.ptp(feature) == 0:
        return 1.0
    ranks = np.asarray(pd.Series(label).rank(), dtype=np.float64)
    # Rows that share a value of the feature come in no order: in the order of their labels they would look alike.
    shuffled = np.random.default_rng(SEED).permutation(len(label))
    order = shuffled[np.argsort(feature[shuffled], kind="stable")]
    between_neighbours = float(np.mean(np.diff(ranks[order]) ** 2) / (2 * np.var(ranks)))
    return min(between_neighbours, _within_values(feature, ranks))


def _within_values(feature: Floats, ranks: Floats) -> float:
    """The label's variance among rows of one value of the feature, over all of it; 1 if few rows share a value."""
    values, group = np.unique(feature, return_inverse=True)
    free = len(ranks) - len(values)
    if free < len(ranks) / 2:
        return 1.0
    means = np.bincount(group, ranks) / np.bincount(group)
    return float(np.sum((ranks - means[group]) ** 2) / free / np.var(ranks, ddof=1))


def refuse(features: pd.DataFrame, label: pd.Series, names: Sequence[str], where: str) -> None:
    """Check every feature against the label of its row.

    Raises:
        DataError: naming the features that equal or determine the label.
    """
    target = label.to_numpy(dtype=np.float64)
    drawn = np.random.default_rng(SEED).permutation(len(target))[:MOST_ROWS]
    found = []
    for name in names:
        values = features[name].to_numpy(dtype=np.float64)
        left = unexplained(values[drawn], target[drawn])
        if left < UNEXPLAINED:
            equal = bool(np.array_equal(values, target, equal_nan=True))
            found.append(f"{name} {'equals' if equal else f'determines ({1 - left:.1%})'} {label.name}")
    if found:
        raise DataError(
            f"the label is among the features: {'; '.join(found)}",
            where=where,
            fix="Remove them from features.sql: they will not be known when a prediction is asked for",
        )
