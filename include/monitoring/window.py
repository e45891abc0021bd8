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
from include.core.spec import ModelSpec, Task
from include.evaluation import drift
from include.evaluation.drift import ColumnDrift, ColumnKind, Samples
from include.lakehouse.schemas import (
    FEATURES,
    FEATURES_VERSION,
    METRICS,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
)
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import ALL, SOURCE, WindowMetrics, from_rows
from include.monitoring import input_drift, performance
from include.monitoring.reference import Reference


@dataclass(frozen=True)
class Measured:
    """All that was found of a window."""

    version: str | None
    values: Mapping[str, float]
    """Counts and metrics of the whole window."""
    features: Sequence[ColumnDrift]
    """The version's features, and the predictions as a column of that name."""
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
    production, batch rejected) is a window of 0 rows. Features and predictions are compared with what the version that
    was served was trained on and made of its test rows: it does not matter which partitions were measured before.

    Args:
        served: `lakehouse.predictions.served_rows` of the partition.
        reference: what the version that was served was trained on; None where nothing was.
        as_of: labels that arrive later are not seen.

    Raises:
        DataError: rows were scored whose features are missing, or a key is repeated.
    """
    if served is None or reference is None:
        values = performance.measure(spec, lake, partition, pd.DataFrame(), None, as_of)
        return Measured(None, values, (), ())
    rows = served.to_pandas()
    features = drift.detect(
        reference.features, _features(spec, lake, partition, rows, reference), spec.monitoring.drift
    )
    return Measured(
        version=reference.version,
        values=performance.measure(spec, lake, partition, rows, reference, as_of),
        features=(*features, *_prediction_drift(spec, reference, rows)),
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
