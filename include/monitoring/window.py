"""One monitored window: how well the predictions of a partition fit the labels, and which columns have drifted.

Where model.yaml says so (``monitoring.window``) a window is its partition and those before it, as far as the same
version served them: several small ones are measured as if they were one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.partition import Partition
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import drift, metrics, relearn
from include.evaluation.drift import ColumnDrift, ColumnKind, Samples
from include.evaluation.faults import Fault
from include.lakehouse import checksum, predictions, served_features
from include.lakehouse.schemas import (
    FEATURES_VERSION,
    METRICS,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
    RESIDUAL,
)
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import (
    ALL,
    BEST,
    CONCEPT_DRIFTED,
    LABELS_CONTENT,
    ROWS,
    SERVED_CONTENT,
    SOURCE,
    WindowMetrics,
    first_partition,
    from_rows,
)
from include.monitoring import faults, input_drift, performance
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
    faults: Sequence[Fault] = ()
    """What upstream mistakes explain."""
    content: Sequence[tuple[str, str, float]] = ()
    """Of a window of several partitions what it is made of: name, partition's key, value."""


def measure(
    spec: ModelSpec,
    lake: Lakehouse,
    partition: Partition,
    served: pa.Table | None,
    reference: Reference | None,
    as_of: datetime,
) -> Measured:
    """Measure what was served of a partition's window.

    A function of the tables and the arguments alone. A partition of which nothing was served (no version in
    production, batch rejected) is a window of 0 rows. Features, predictions and residuals are compared with what the
    version that was served was trained on and made of its test rows: it does not matter which partitions were measured
    before. Rows of the partitions before are in the window where that version served them.

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
    rows = _rows_of(spec, lake, partition, served, reference.version)
    scored = served_features.read(spec, lake, rows, list(reference.features.columns))
    features = drift.detect(reference.features, scored, spec.monitoring.drift, reference.categories)
    found = performance.measure(spec, lake, partition, rows, reference, as_of)
    residuals = _residual_drift(spec, reference, found.judged)
    mistakes = faults.detect(spec, reference, scored)
    drifted = bool(mistakes) or any(item.drifted for item in features)
    explained = drifted or not any(item.drifted for item in residuals)
    changed = not explained and _concept_drifted(spec, reference, found, scored)
    return Measured(
        version=reference.version,
        values={**found.values, **({CONCEPT_DRIFTED: float(changed)} if residuals else {})},
        features=(*features, *_prediction_drift(spec, reference, rows), *residuals),
        inputs=input_drift.detect(spec, lake, sorted(rows[PARTITION].unique()), reference.partitions),
        faults=mistakes,
        content=_content(spec, rows, found.labelled) if spec.monitoring.window.partitions > 1 else (),
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


def _rows_of(spec: ModelSpec, lake: Lakehouse, partition: Partition, served: pa.Table, version: str) -> pd.DataFrame:
    """The rows of a window with their partitions; of a window of several in an order of its own."""
    own, first = served.to_pandas().assign(**{PARTITION: partition.key}), first_partition(spec, partition)
    if first == partition:
        return own
    before = predictions.served_by(spec, lake, first, partition.shift(-1), version)
    together = own if before is None else pd.concat([before.to_pandas(), own])
    return together.sort_values([PARTITION, *spec.entity.keys], ignore_index=True)


def _content(spec: ModelSpec, rows: pd.DataFrame, labelled: pd.DataFrame | None) -> list[tuple[str, str, float]]:
    """How many rows of each partition are in the window, and checksums of what of it was seen."""
    keys = list(spec.entity.keys)
    lines: list[tuple[str, str, float]] = []
    # A version of features is null in old rows: then it is a float64 in windows that have such rows, else an integer.
    served = rows[[PARTITION, *keys, PREDICTION, FEATURES_VERSION]].astype({FEATURES_VERSION: np.float64})
    lines += [(ROWS, str(key), float(count)) for key, count in served.groupby(PARTITION).size().items()]
    lines += [(SERVED_CONTENT, key, content) for key, content in _checksums(served).items()]
    if labelled is not None:
        found = _checksums(labelled[[PARTITION, *keys, spec.target]])
        lines += [(LABELS_CONTENT, key, content) for key, content in found.items()]
    return lines


def _checksums(rows: pd.DataFrame) -> dict[str, float]:
    return checksum.by_partition(pa.Table.from_pandas(rows, preserve_index=False))


def _rows(spec: ModelSpec, partition: Partition, measured: Measured) -> pa.Table:
    rule = spec.monitoring.drift
    thresholds = {spec.metric: spec.monitoring.performance.threshold}
    lines: list[tuple[str, str, float, float | None]] = [
        (metric, ALL, value, thresholds.get(metric)) for metric, value in measured.values.items()
    ]
    lines += [(metric, name, value, None) for metric, name, value in [*measured.content, *faults.rows(measured.faults)]]
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
    keys, names = [PARTITION, *spec.entity.keys], list(reference.features.columns)
    features = found.judged[keys].merge(scored[[*keys, *names]], on=keys, how="left", validate="one_to_one")[names]
    y, p = metrics.pair(found.judged[spec.target], found.judged[PREDICTION])
    if spec.task is Task.REGRESSION and relearn.in_another_unit(y, p):
        return False
    features = pd.get_dummies(features, columns=list(reference.categories), dtype=np.float64)
    return relearn.can_learn(own, y, p, features, reference.n_features, best=best, threshold=threshold)
