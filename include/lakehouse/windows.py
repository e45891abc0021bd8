"""What was measured of a model's windows: rows of ``metrics_<model>``, written by monitoring and read by others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import METRICS, MODEL_VERSION, PARTITION, PREDICTION, RESIDUAL
from include.lakehouse.selection import between
from include.lakehouse.tables import Lakehouse

ALL = "all"
"""Slice of a metric that is about the whole window; other slices are names of columns."""
SOURCE = "monitoring"
"""Of a metric; the rows of other sources, such as ``ingestion``, are not ours."""

COUNTS = ("rows", "labelled_rows", "in_training", "metric_undefined")
"""Metrics that count rows of the whole window; its other metrics are measured on them."""
BEST = "best"
"""The best value of the model's metric that chance leaves open."""
CONCEPT_DRIFTED = "concept_drifted"
"""1 where what is predicted has changed, 0 where it has not; absent where that cannot be said."""
LOOK_BACK = 32
"""Partitions among which the newest window is looked for."""
FAULT, FAULT_LEAST, FAULT_MOST = "fault", "fault_least", "fault_most"
"""Of a column, followed by the kind of the fault and what it is: ``fault:rows:times_10``. The value, and its bounds."""
ROWS, SERVED_CONTENT, LABELS_CONTENT = "rows", "served_content", "labels_content"
"""Of a window of several partitions, by partition: how many of its rows are in the window, and checksums of what was
served and of the labels, where the window has seen labels. They tell a window that has other rows than are there."""


@dataclass(frozen=True)
class WindowMetrics:
    """What was measured of one window. Errors are in the target's unit."""

    partition: Partition
    version: str | None
    """The model version that scored the window; None where nothing was scored."""
    rows: int
    """Rows scored."""
    labelled_rows: int
    """Rows scored whose label had arrived: those that the version was measured on."""
    metric: float | None
    """The model's metric; None while fewer labels are there than it needs, or it is undefined on them."""
    values: dict[str, float]
    """All metrics that could be measured, by name."""
    drifted_features: tuple[str, ...]
    """Sorted by name."""
    prediction_drifted: bool | None
    """None where nothing was scored."""
    drifted_columns: tuple[str, ...] = ()
    """Delivered columns whose nulls or categories are not what they were, sorted by name."""
    in_training: int = 0
    """Labelled rows that the version was trained on, so that it is not measured on them."""
    metric_undefined: int = 0
    """Labelled rows where there are enough of them, and the model's metric is undefined on them all the same."""
    best: float | None = None
    """The best value of the model's metric that chance leaves open; None where none is known."""
    residuals_drifted: bool | None = None
    """Whether predictions miss otherwise than they did when the version was trained; None while labels are few."""
    concept_drifted: bool = False
    """Whether the metric is surely worse than its threshold, residuals have drifted and no feature has, and these rows
    teach better."""
    distances: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By drifted feature its distance, and the least that counts as drift."""
    faults: dict[str, tuple[float, float | None, float | None]] = field(default_factory=dict)
    """What upstream mistakes explain, by kind, what and column (``rows:times_10:median_income``): the value, and its
    bounds where it has some (`evaluation.faults.Fault`)."""
    partitions: tuple[str, ...] = ()
    """Of a window of several partitions the keys of those whose rows are in it, oldest first."""

    @property
    def span(self) -> str:
        """``5 partitions from 2025-01-02 to 2025-01-07``; nothing where windows are of one partition."""
        if not self.partitions:
            return ""
        if len(self.partitions) == 1:
            return f"{self.partitions[0]} alone"
        return f"{len(self.partitions)} partitions from {self.partitions[0]} to {self.partitions[-1]}"

    @property
    def labelled(self) -> bool:
        """Whether enough labels have arrived to judge performance."""
        return self.metric is not None

    @property
    def judged_by(self) -> float | None:
        """The value that is held against the threshold: the best that chance leaves open; where that is not known the
        metric itself, so that a person hears of labels that say nothing."""
        return self.metric if self.best is None else self.best


@dataclass(frozen=True)
class Content:
    """Which rows a window of several partitions is made of: checksums by partition."""

    version: str | None
    served: dict[str, float]
    labels: dict[str, float]

    def of(self, key: str) -> tuple[float | None, float | None]:
        """What was served, and the labels, of a partition; None of what is not in the window."""
        return self.served.get(key), self.labels.get(key)


def first_partition(spec: ModelSpec, partition: Partition) -> Partition:
    """The first one of a partition's window: of the calendar, whatever was delivered."""
    return max(partition.shift(1 - spec.monitoring.window.partitions), min(spec.first_partition, partition))


def read(spec: ModelSpec, lake: Lakehouse, first: Partition, last: Partition) -> list[WindowMetrics]:
    """The windows measured of the partitions from ``first`` up to and with ``last``, oldest first."""
    table = lake.read_if_exists(METRICS.of(spec), where=[*between(first, last), ("source", "=", SOURCE)])
    if table is None:
        return []
    return [
        from_rows(spec, Partition.parse(str(key), spec.grain), rows)
        for key, rows in table.to_pandas().groupby(PARTITION, sort=True)
    ]


def newest(
    spec: ModelSpec, lake: Lakehouse, wanted: Callable[[WindowMetrics], bool] = lambda window: True
) -> WindowMetrics | None:
    """The newest window of which ``wanted`` holds, among the last `LOOK_BACK` partitions; None where there is none."""
    keys = sorted(lake.rows_by_partition(METRICS.of(spec)), reverse=True)[:LOOK_BACK]
    for key in keys:
        partition = Partition.parse(key, spec.grain)
        if (found := read(spec, lake, partition, partition)) and wanted(found[0]):
            return found[0]
    return None


def contents(spec: ModelSpec, lake: Lakehouse, first: Partition, last: Partition) -> dict[Partition, Content]:
    """Of the windows measured of these partitions, oldest first, which rows they are made of."""
    found = lake.read_if_exists(
        METRICS.of(spec),
        where=[*between(first, last), ("source", "=", SOURCE)],
        columns=[PARTITION, MODEL_VERSION, "metric", "slice", "value"],
    )
    by_key: dict[str, Content] = {}
    for row in found.sort_by(PARTITION).to_pylist() if found else []:
        content = by_key.setdefault(row[PARTITION], Content(row[MODEL_VERSION], {}, {}))
        told = {SERVED_CONTENT: content.served, LABELS_CONTENT: content.labels}.get(row["metric"])
        if told is not None:
            told[row["slice"]] = row["value"]
    return {Partition.parse(key, spec.grain): content for key, content in by_key.items()}


def drifted(spec: ModelSpec, lake: Lakehouse, first: Partition, last: Partition) -> list[Partition]:
    """The partitions of these in whose window a feature, or what is predicted, drifted, oldest first: no faults."""
    found = [item for item in read(spec, lake, first, last) if not item.faults]
    return [item.partition for item in found if item.drifted_features or item.concept_drifted]


def concept_drifts(spec: ModelSpec, lake: Lakehouse, last: Partition) -> dict[str, dict[Partition, bool]]:
    """By version, of its windows up to and with ``last`` that could be judged, whether what it predicts had changed,
    oldest first."""
    found = lake.read_if_exists(
        METRICS.of(spec),
        where=[(PARTITION, "<=", last.key), ("source", "=", SOURCE), ("metric", "=", CONCEPT_DRIFTED)],
        columns=[PARTITION, MODEL_VERSION, "value"],
    )
    by_version: dict[str, dict[Partition, bool]] = {}
    for row in found.sort_by(PARTITION).to_pylist() if found else []:
        partition = Partition.parse(row[PARTITION], spec.grain)
        by_version.setdefault(row[MODEL_VERSION], {})[partition] = row["value"] > 0
    return by_version


def _faults(rows: pd.DataFrame) -> dict[str, tuple[float, float | None, float | None]]:
    told = {(str(row["metric"]), str(row["slice"])): float(row["value"]) for row in rows.to_dict("records")}
    found = {}
    for (metric, column), value in told.items():
        name, _, what = metric.partition(":")
        if name == FAULT:
            least, most = (told.get((f"{bound}:{what}", column)) for bound in (FAULT_LEAST, FAULT_MOST))
            found[f"{what}:{column}"] = value, least, most
    return found


def from_rows(spec: ModelSpec, partition: Partition, rows: pd.DataFrame) -> WindowMetrics:
    """The window that the rows of a partition tell of."""
    whole = {str(name): float(value) for name, value in rows[rows["slice"] == ALL].set_index("metric")["value"].items()}
    drifted = rows[rows["metric"] == "drifted"].set_index("slice")["value"].gt(0).to_dict()
    prediction, residuals = drifted.pop(PREDICTION, None), drifted.pop(RESIDUAL, None)
    columns = rows[rows["metric"].str.endswith("_drifted") & rows["value"].gt(0)]["slice"]
    names = tuple(sorted(str(name) for name, found in drifted.items() if found))
    told = rows[(rows["metric"] == "distance") & rows["slice"].isin(names)]
    version = rows[MODEL_VERSION].iloc[0]
    counts = {name: int(whole.pop(name, 0)) for name in COUNTS}
    best, concept_drifted = whole.pop(BEST, None), bool(whole.pop(CONCEPT_DRIFTED, 0))
    values = {name: value for name, value in whole.items() if math.isfinite(value)}
    return WindowMetrics(
        partition=partition,
        version=None if pd.isna(version) else str(version),
        **counts,
        metric=values.get(spec.metric),
        values=values,
        drifted_features=names,
        prediction_drifted=None if prediction is None else bool(prediction),
        best=best,
        residuals_drifted=None if residuals is None else bool(residuals),
        concept_drifted=concept_drifted,
        drifted_columns=tuple(sorted(set(columns))),
        distances={row["slice"]: (row["value"], row["threshold"]) for row in told.to_dict("records")},
        faults=_faults(rows[rows["metric"].str.startswith(FAULT)]),
        partitions=tuple(sorted(rows[(rows["metric"] == ROWS) & (rows["slice"] != ALL)]["slice"])),
    )
