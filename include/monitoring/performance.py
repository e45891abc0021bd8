"""How well the predictions of a window fit the labels that have arrived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import interval, metrics
from include.evaluation.metrics import Floats
from include.lakehouse import served_features
from include.lakehouse.schemas import ARRIVED_AT, LABELS, PARTITION, PREDICTION
from include.lakehouse.selection import between
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import BEST, COUNTS, first_partition
from include.monitoring.reference import Reference

BIAS = "bias"
"""Mean of prediction less actual value, in the target's unit."""


@dataclass(frozen=True)
class Performance:
    """How well a window was predicted."""

    values: dict[str, float]
    """Counts of rows, all metrics of the model's task that are defined on them, and the best value of the model's own
    that chance leaves open."""
    judged: pd.DataFrame | None
    """The rows that the model's own metric is measured on, with key, label and prediction; None where they are too
    few, or it is undefined on them."""
    labelled: pd.DataFrame | None = None
    """All rows whose label was seen, with key, label and prediction; None where none was."""


def measure(
    spec: ModelSpec,
    lake: Lakehouse,
    partition: Partition,
    predictions: pd.DataFrame,
    reference: Reference | None,
    as_of: datetime,
) -> Performance:
    """Measure the predictions by the labels that have arrived; a metric that is undefined on these rows is left out.

    Rows that the version was trained on are counted and left out. The model's own metric is left out, too, while there
    are fewer rows than it needs to say something about the model. No label of a window is seen before one of its own
    partition is there: by those of before alone the windows of before are judged.

    Args:
        partition: the window's own, its last one.
        predictions: the entity's key, the partition and the prediction of each row that was served.
        reference: what the version that predicted was trained on; None where there are no predictions.
        as_of: labels that arrive later are not seen.

    Raises:
        DataError: two labels are for one row.
    """
    counts = dict.fromkeys(COUNTS, 0.0) | {"rows": float(len(predictions))}
    labels = lake.read_if_exists(
        LABELS.of(spec),
        where=[*between(first_partition(spec, partition), partition), (ARRIVED_AT, "<=", as_of)],
        columns=[*spec.entity.keys, PARTITION, spec.target],
    )
    if labels is None or reference is None:
        return Performance(counts, None)
    known = labels.to_pandas()
    served_features.refuse_repeated(spec, known, LABELS.of(spec).name)
    joined = predictions.merge(known.dropna(subset=spec.target), on=[PARTITION, *spec.entity.keys])
    if not joined[PARTITION].eq(partition.key).any():
        return Performance(counts, None)
    seen = reference.was_fitted_to(joined)
    judged = joined[~seen]
    counts |= {"labelled_rows": float(len(judged)), "in_training": float(seen.sum())}
    if judged.empty:
        return Performance(counts, None, joined)
    metric, n_features = metrics.of(spec), reference.n_features
    y, p = metrics.pair(judged[spec.target].to_numpy(), judged[PREDICTION].to_numpy())
    values = _values(spec, y, p, n_features)
    if len(judged) < metric.least_rows(n_features):
        return Performance(counts | values, None, joined)
    if spec.metric not in values:
        return Performance(counts | values | {"metric_undefined": float(len(judged))}, None, joined)
    best = interval.best_bound(metric, y, p, n_features, spec.monitoring.performance.confidence)
    return Performance(counts | values | ({} if best is None else {BEST: best}), judged, joined)


def _values(spec: ModelSpec, y: Floats, p: Floats, n_features: int) -> dict[str, float]:
    own = metrics.of(spec)
    of_task = {name: metric for name, metric in metrics.METRICS.items() if metric.task is spec.task}
    values = {BIAS: float((p - y).mean())} if spec.task is Task.REGRESSION else {}
    for name, metric in {**of_task, spec.metric: own}.items():
        if metric is own and len(y) < own.least_rows(n_features):
            continue
        try:
            value = metric.measure(y, p, n_features)
        except DataError:  # it is undefined on these rows
            continue
        if np.isfinite(value):
            values[name] = float(value)
    return values
