"""What a task read and wrote, with schema and quality: taken from the tables, after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from include.core.partition import Partition
from include.features import lookback
from include.ingestion.batch import METRIC_SOURCE
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run, open_run
from include.lakehouse.schemas import LABELS, METRICS, PARTITION, PROFILES, RAW, TRAINING_SET, Table
from include.lakehouse.selection import Where, within
from include.orchestration.steps import step_of


@dataclass(frozen=True)
class Dataset:
    """One dataset, in OpenLineage's naming: namespace of the store, name within it."""

    namespace: str
    name: str
    schema: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    """Of the run's partition; of a table that it looks back on, all that it reads."""
    columns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By column, the numbers of its profile. Nothing but counts of a column with personal data."""
    assertions: tuple[tuple[str, str | None, bool], ...] = ()
    """Each expectation that rows or the batch keep or break: reason, column, whether it holds."""


def of_task(model: str, dag: str, task_id: str, partition: Partition) -> tuple[list[Dataset], list[Dataset]]:
    """Inputs and outputs of a task of the run of a partition; none of a task that runs no step."""
    step = step_of(dag, task_id)
    if step is None:
        return [], []
    run = open_run(model, partition=partition)
    read = [_table(run, table) for table in step.reads]
    read += [_table(run, table, where=lookback.where(run.spec, partition)) for table in step.looks_back]
    read += [_table(run, table, whole=True) for table in step.reads_all]
    if step.delivery:
        read.append(_delivery(run, step.delivery))
    written = [*step.writes, *(step.records_lookback if run.spec.features.lookback else ())]
    written += step.writes_if_numbered if run.spec.generated_key else ()
    return read, [_table(run, table) for table in written]


def _table(run: Run, declared: Table, *, whole: bool = False, where: Where | None = None) -> Dataset:
    """A table, with the rows that it has of the run's partition, or those that are meant."""
    table = run.table(declared)
    if not run.lake.exists(table):
        return _named(run.lake.uri(table), schema={})
    fields = run.lake.open(table).schema().fields
    schema = {item.name: str(getattr(item.type, "type", item.type)) for item in fields}
    rows = None
    if not whole and not declared.shared:
        own: Where = [(TRAINING_SET if TRAINING_SET in declared.partition else PARTITION, "=", run.partition.key)]
        rows = run.lake.count(table, where=where or own)
    return _named(run.lake.uri(table), schema=schema, rows=rows)


def _delivery(run: Run, kind: Literal["batches", "labels"]) -> Dataset:
    folder = Delivery.expected(run.settings, run.spec, kind, run.partition).folder
    if kind == "labels":
        types = {field.name: str(field.type) for field in run.table(LABELS).schema}
        named = (*run.spec.entity.keys, run.spec.target)
        return _named(folder, schema={name: types[name] for name in named})
    columns: dict[str, dict[str, float]] = {}
    profile = run.lake.read_if_exists(run.table(PROFILES), where=within(run.partition))
    for row in profile.to_pylist() if profile is not None else []:
        if row["category"] is None:
            columns.setdefault(row["column"], {})[row["statistic"]] = row["value"]
    measured = run.lake.read_if_exists(
        run.table(METRICS), where=[*within(run.partition), ("source", "=", METRIC_SOURCE)]
    )
    held = tuple(
        (row["metric"], None if row["slice"] == "all" else row["slice"], row["value"] == 0)
        for row in (measured.to_pylist() if measured is not None else [])
        if row["threshold"] is not None
    )
    return _named(
        folder,
        schema={name: column.type for name, column in run.spec.columns.items()},
        rows=run.lake.count(run.table(RAW), where=within(run.partition)),
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
