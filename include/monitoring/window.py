"""One monitored window: how well the predictions of a partition fit the labels, and which columns have drifted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import drift, metrics, relearn
from include.evaluation.drift import ColumnDrift, ColumnKind, Samples
from include.lakehouse.schemas import (
    FEATURES,
    FEATURES_VERSION,
    METRICS,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
    RESIDUAL,
)
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import ALL, BEST, CONCEPT_DRIFTED, SOURCE, WindowMetrics, from_rows
from include.monitoring import input_drift, performance
from include.monitoring.performance import Performance
from include.monitoring.reference import Reference


@dataclass(frozen=True)
class Measured:
    """All that was found of a window."""

    version: str | None
    values: Mapping[str, float]
    """Counts and metrics of the whole window."""
    features: Sequence[ColumnDrift]
    """The version's features, and predictions and residuals as columns of these names."""
    inputs: Sequence[ColumnDrift]
    """Nulls and categories of delivered columns."""


def measure(
    spec: ModelSpec,
    lake: Lakehouse,
    partition: Partition,
    served: pa.Table | None,
    reference: Reference | None,
    as_of: datetime,
) -> Measured:
    """Measure what was served of a partition.

    A function of the tables and the arguments alone. A partition of which nothing was served (no version in
    production, batch rejected) is a window of 0 rows. Features, predictions and residuals are compared with what the
    version that was served was trained on and made of its test rows: it does not matter which partitions were measured
    before.

    Args:
        served: `lakehouse.predictions.served_rows` of the partition.
        reference: what the version that was served was trained on; None where nothing was.
        as_of: labels that arrive later are not seen.

    Raises:
        DataError: rows were scored whose features are missing, or a key is repeated.
    """
    if served is None or reference is None:
        nothing = performance.measure(spec, lake, partition, pd.DataFrame(), None, as_of)
        return Measured(None, nothing.values, (), ())
    rows = served.to_pandas()
    scored = _features(spec, lake, partition, rows, reference)
    features = drift.detect(reference.features, scored, spec.monitoring.drift)
    found = performance.measure(spec, lake, partition, rows, reference, as_of)
    residuals = _residual_drift(spec, reference, found.judged)
    explained = any(item.drifted for item in features) or not any(item.drifted for item in residuals)
    changed = not explained and _concept_drifted(spec, reference, found, scored)
    return Measured(
        version=reference.version,
        values={**found.values, **({CONCEPT_DRIFTED: float(changed)} if residuals else {})},
        features=(*features, *_prediction_drift(spec, reference, rows), *residuals),
        inputs=input_drift.detect(spec, lake, partition, reference.partitions),
    )


def write(
    spec: ModelSpec, lake: Lakehouse, partition: Partition, measured: Callable[[], Measured]
) -> tuple[WindowMetrics, Measured]:
    """Replace the partition's rows of ``metrics_<model>``; measured again, they are the same.

    Args:
        measured: measures the window. Asked again where another run wrote the window meanwhile, which may have seen
            labels that came in between.
    """
    found: list[Measured] = []

    def rows(_: pa.Table) -> pa.Table:
        found.append(measured())
        return _rows(spec, partition, found[-1])

    lake.update(METRICS.of(spec), {PARTITION: partition.key, "source": SOURCE}, rows)
    return from_rows(spec, partition, _rows(spec, partition, found[-1]).to_pandas()), found[-1]


def _rows(spec: ModelSpec, partition: Partition, measured: Measured) -> pa.Table:
    rule = spec.monitoring.drift
    thresholds = {spec.metric: spec.monitoring.performance.threshold}
    lines: list[tuple[str, str, float, float | None]] = [
        (metric, ALL, value, thresholds.get(metric)) for metric, value in measured.values.items()
    ]
    for prefix, item in [("", item) for item in measured.features] + [(f"{i.kind}_", i) for i in measured.inputs]:
        lines += [
            (f"{prefix}distance", item.column, item.distance, rule.tests[item.kind.value].min_effect),
            (f"{prefix}adjusted_p", item.column, item.adjusted_p, rule.alpha),
            (f"{prefix}drifted", item.column, float(item.drifted), None),
        ]
    named = {PARTITION: partition.key, MODEL_VERSION: measured.version, "source": SOURCE}
    content = [
        {"metric": metric, "slice": slice_, "value": value, "threshold": threshold, **named}
        for metric, slice_, value, threshold in lines
    ]
    return pa.Table.from_pylist(content, schema=METRICS.of(spec).schema)


def _features(
    spec: ModelSpec, lake: Lakehouse, partition: Partition, predicted: pd.DataFrame, reference: Reference
) -> pd.DataFrame:
    """The version's features of the rows that were served, as they were then: a batch may be corrected since."""
    table, keys = FEATURES.of(spec), list(spec.entity.keys)
    found = []
    for _, served in predicted.groupby(FEATURES_VERSION, dropna=False):
        version = served[FEATURES_VERSION].iloc[0]
        rows = lake.read_as_it_was(table, None if pd.isna(version) else int(version), where=within(partition))
        there = [name for name in reference.features.columns if name in rows.column_names]
        features = rows.select([*keys, *there]).to_pandas()
        performance.refuse_repeated(spec, features, table.name, partition)
        found.append(served[keys].merge(features, on=keys))
    scored = pd.concat(found, ignore_index=True)
    if absent := len(predicted) - len(scored):
        raise DataError(
            f"{absent} of {len(predicted)} scored rows have no features",
            where=f"{table.name}, {partition}",
            fix=f"Run build_features for {partition}, then score_batch",
        )
    return scored


def _prediction_drift(spec: ModelSpec, reference: Reference, predicted: pd.DataFrame) -> list[ColumnDrift]:
    sides = [reference.predictions, predicted[PREDICTION].to_numpy(dtype=np.float64)]
    if spec.task is not Task.MULTICLASS:
        return drift.compare([Samples(PREDICTION, ColumnKind.NUMBER, *sides)], spec.monitoring.drift)
    classes = np.union1d(*sides)
    counts = [np.array([(side == each).sum() for each in classes], dtype=np.float64) for side in sides]
    return drift.compare([Samples(PREDICTION, ColumnKind.CATEGORY, *counts)], spec.monitoring.drift)


def _residual_drift(spec: ModelSpec, reference: Reference, judged: pd.DataFrame | None) -> list[ColumnDrift]:
    """Whether the version misses otherwise than it did; nothing where there are too few labels to say."""
    if judged is None or not len(reference.residuals):
        return []
    residuals = metrics.residuals(spec.task, *metrics.pair(judged[spec.target], judged[PREDICTION]))
    samples = Samples(RESIDUAL, ColumnKind.NUMBER, reference.residuals, residuals)
    return drift.compare([samples], spec.monitoring.drift)


def _concept_drifted(spec: ModelSpec, reference: Reference, found: Performance, scored: pd.DataFrame) -> bool:
    """Whether the same inputs have come to mean something else, where no feature explains what is missed.

    They have where the version is surely worse than its threshold, and a correction from these rows alone would be
    better than the best that chance leaves open for it. Else the labels have changed in a way that nothing can be
    learned from: they may belong to other rows, or be in another unit.
    """
    assert found.judged is not None
    own, threshold = metrics.of(spec), spec.monitoring.performance.threshold
    best = found.values.get(BEST, found.values[spec.metric])
    if not own.clears(threshold, best):
        return False
    keys, names = list(spec.entity.keys), list(reference.features.columns)
    features = found.judged[keys].merge(scored[[*keys, *names]], on=keys, how="left", validate="one_to_one")[names]
    y, p = metrics.pair(found.judged[spec.target], found.judged[PREDICTION])
    if spec.task is Task.REGRESSION and relearn.in_another_unit(y, p):
        return False
    return relearn.can_learn(own, y, p, features, reference.n_features, best=best, threshold=threshold)
