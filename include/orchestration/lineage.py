"""What a task read and wrote, with schema and quality: taken from the tables, after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from include.core.partition import labels_known_after
from include.ingestion.delivery import Delivery, Kind
from include.ingestion.scores import SOURCE
from include.lakehouse.run import Workspace, open_workspace

_LOAD = (("raw", "quarantine"), ("clean",))
_TABLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ingest_batch.validate_batch": ((), ("raw", "quarantine", "profiles")),
    "ingest_batch.accept_batch": _LOAD,
    "ingest_batch.accept_and_quarantine": _LOAD,
    "ingest_batch.reject_batch": (("raw",), ("quarantine", "clean")),
    "reprocess_quarantine.take_rows_back": (("raw", "quarantine"), ("quarantine", "clean")),
    "ingest_labels.load_labels": ((), ("labels", "quarantine_labels")),
    "build_features.compute_features": (("clean",), ("features",)),
    "train_model.build_training_set": (("labels", "features"), ("training_sets",)),
    "train_model.train_baseline": (("training_sets",), ()),
    "train_model.tune": (("training_sets",), ()),
    "score_batch.score_rows": (("features",), ("predictions",)),
}
"""By DAG and task the layers that it reads and writes."""
_DELIVERIES: Mapping[str, Kind] = {"ingest_batch.validate_batch": "batches", "ingest_labels.load_labels": "labels"}
_WHOLE = {"build_training_set": ("labels", "features")}
"""Layers of which a task reads every day, not that of its run."""


@dataclass(frozen=True)
class Dataset:
    """One dataset, in OpenLineage's naming: namespace of the store, name within it."""

    namespace: str
    name: str
    schema: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    """Of the run's day."""
    columns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By column, the numbers of its profile. Nothing but counts of a column with personal data."""
    assertions: tuple[tuple[str, str | None, bool], ...] = ()
    """Each expectation that rows or the batch keep or break: reason, column, whether it holds."""


def knows(dag: str, task_id: str) -> bool:
    return f"{dag}.{task_id}" in _TABLES


def of_task(model: str, dag: str, task_id: str, day: date) -> tuple[list[Dataset], list[Dataset]]:
    """Inputs and outputs of a task of the run of a day."""
    workspace, task = open_workspace(model), f"{dag}.{task_id}"
    inputs, outputs = _TABLES[task]
    whole = _WHOLE.get(task_id, ())
    read = [_table(workspace, layer, None if layer in whole else day) for layer in inputs]
    if task in _DELIVERIES:
        read.append(_delivery(workspace, _DELIVERIES[task], day))
    return read, [_table(workspace, layer, day) for layer in outputs]


def _table(workspace: Workspace, layer: str, day: date | None) -> Dataset:
    """A table, with the rows that it has of a day, if one is given."""
    name, lake = workspace.spec.table(layer), workspace.lake
    if not lake.exists(name):
        return _named(lake.uri(name), schema={})
    schema = {item.name: str(getattr(item.type, "type", item.type)) for item in lake.open(name).schema().fields}
    rows = None
    if day is not None:
        set_of = labels_known_after(workspace.spec, day).date().isoformat()
        where: dict[str, Any] = {"training_set": set_of} if layer == "training_sets" else {"batch_date": day}
        rows = lake.count(name, where=where)
    return _named(lake.uri(name), schema=schema, rows=rows)


def _delivery(workspace: Workspace, kind: Kind, day: date) -> Dataset:
    spec, lake = workspace.spec, workspace.lake
    folder = Delivery.expected(workspace.places, spec, kind, day).folder
    if kind == "labels":
        return _named(folder, schema={spec.entity.key: spec.columns[spec.entity.key].type, spec.target: "number"})
    columns: dict[str, dict[str, float]] = {}
    profile = lake.read_if_exists(spec.table("profiles"), where=[("batch_date", "=", day)])
    for row in profile.to_pylist() if profile is not None else []:
        if row["category"] is None:
            columns.setdefault(row["column"], {})[row["statistic"]] = row["value"]
    scored = lake.read_if_exists(spec.table("metrics"), where=[("window", "=", day), ("source", "=", SOURCE)])
    held = tuple(
        (row["metric"], None if row["slice"] == "all" else row["slice"], row["value"] == 0)
        for row in (scored.to_pylist() if scored is not None else [])
        if row["threshold"] is not None
    )
    return _named(
        folder,
        schema={name: column.type for name, column in spec.columns.items()},
        rows=lake.count(spec.table("raw"), where={"batch_date": day}),
        columns=columns,
        assertions=held,
    )


def _named(
    uri: str,
    *,
    schema: Mapping[str, str],
    rows: int | None = None,
    columns: Mapping[str, Mapping[str, float]] | None = None,
    assertions: tuple[tuple[str, str | None, bool], ...] = (),
) -> Dataset:
    parts = urlsplit(uri)
    namespace = f"{parts.scheme}://{parts.netloc}" if parts.scheme else "file"
    name = parts.path.lstrip("/") if parts.scheme else parts.path
    return Dataset(namespace, name, schema, rows, columns or {}, assertions)
