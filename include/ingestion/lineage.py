"""What the ingestion tasks read and write, with schema and quality: taken from the tables, after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from include.ingestion.delivery import Delivery
from include.ingestion.scores import SOURCE
from include.workspace import Workspace, open_workspace

_TABLES = {
    "validate_batch": ((), ("raw", "quarantine", "profiles")),
    "accept_batch": (("raw", "quarantine"), ("clean",)),
    "accept_and_quarantine": (("raw", "quarantine"), ("clean",)),
    "reject_batch": (("raw",), ("quarantine", "clean")),
    "take_rows_back": (("raw", "quarantine"), ("quarantine", "clean")),
    "load_labels": ((), ("labels", "quarantine_labels")),
}
_DAGS = ("ingest_batch", "ingest_labels", "reprocess_quarantine")
_DELIVERIES = {"validate_batch": "batches", "load_labels": "labels"}


@dataclass(frozen=True)
class Dataset:
    """One dataset, in OpenLineage's naming: namespace of the store, name within it."""

    namespace: str
    name: str
    schema: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    columns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By column, the numbers of its profile. Nothing but counts of a column with personal data."""
    assertions: tuple[tuple[str, str | None, bool], ...] = ()
    """Each expectation that rows or the batch keep or break: reason, column, whether it holds."""


def knows(dag: str, task_id: str) -> bool:
    return dag in _DAGS and task_id in _TABLES


def of_task(model: str, task_id: str, day: date) -> tuple[list[Dataset], list[Dataset]]:
    """Inputs and outputs of a task of the run of a day."""
    workspace = open_workspace(model)
    inputs, outputs = _TABLES[task_id]
    read = [_table(workspace, layer) for layer in inputs]
    if task_id in _DELIVERIES:
        read.append(_delivery(workspace, task_id, day))
    return read, [_table(workspace, layer) for layer in outputs]


def _table(workspace: Workspace, layer: str) -> Dataset:
    name = workspace.spec.table(layer)
    fields = workspace.lake.open(name).schema().fields if workspace.lake.exists(name) else []
    schema = {item.name: str(getattr(item.type, "type", item.type)) for item in fields}
    return _named(workspace.lake.uri(name), schema=schema)


def _delivery(workspace: Workspace, task_id: str, day: date) -> Dataset:
    spec, lake = workspace.spec, workspace.lake
    kind = "labels" if _DELIVERIES[task_id] == "labels" else "batches"
    folder = Delivery.expected(workspace.places, spec, "labels" if kind == "labels" else "batches", day).folder
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
