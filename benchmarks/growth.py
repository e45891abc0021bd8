"""What a day costs after many days: `make bench BENCH=growth` (ARGS="1 30 365" are the days of history).

The steps of one day (413 rows: ingest, labels, features, score, monitor, decide) run on real stores after so many days
of history, in a process of its own, several days in turn; the median day is shown, and beside it how many times the
shortest history's day that is. The history is fabricated: each day is one commit to each table, with the rows of one
real day under other keys, as the steps would have left them. The training set grows with its rows and is shown apart.

A day that costs more than LIMIT times that after the shortest history makes the run fail.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import PROJECT_ROOT
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run, open_run
from include.lakehouse.schemas import (
    CLEAN,
    EVENT_TIMESTAMP,
    FEATURES,
    LABELS,
    METRICS,
    PARTITION,
    PREDICTIONS,
    PROFILES,
    QUARANTINE,
    RAW,
    SKEW,
    Table,
)
from include.lakehouse.tables import within
from include.models.california_housing import sample
from include.runtime.postgres import Postgres

MODEL = "california_housing"
HISTORIES = (1, 30, 365)
HISTORY_ROWS, DAY_ROWS, DAYS = 12_000, 413, 3
"""Rows of the first partition, of each further one; days that are measured after one that warms up."""
LIMIT = 1.2
COPIED = (RAW, QUARANTINE, CLEAN, PROFILES, LABELS, FEATURES, SKEW, PREDICTIONS, METRICS)


def main(histories: list[int]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="flightline-growth-"))
    server = Postgres(folder / "server")
    try:
        server.start()
        environment = _environment(folder, server)
        _in_process("prepare", environment)
        found: dict[int, dict[str, Any]] = {}
        for days in histories:
            _in_process("fabricate", environment, days)
            found[days] = _in_process("measure", environment, days)
        return _show(found)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, server: Postgres) -> dict[str, str]:
    feast = server.url("feast")
    return {
        **os.environ,
        "PYTHONPATH": str(PROJECT_ROOT),
        "FLIGHTLINE_LANDING_URI": str(folder / "landing"),
        "FLIGHTLINE_LAKEHOUSE_URI": str(folder / "lakehouse"),
        "FLIGHTLINE_FEAST_REGISTRY": feast,
        "FLIGHTLINE_FEAST_ONLINE_STORE": feast,
        "MLFLOW_TRACKING_URI": server.url("mlflow"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "mlflow"),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _in_process(part: str, environment: dict[str, str], *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.growth", part, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{part} {arguments} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _show(found: dict[int, dict[str, Any]]) -> int:
    first = next(iter(found.values()))
    steps = [step for step in first["seconds"] if step != "training.build_training_set"]
    width = max(map(len, [*steps, "training.build_training_set"]))
    print(" " * width, *(f"{f'{days} days':>16}" for days in found))
    for step in [*steps, "training.build_training_set"]:
        cells = [
            (result["seconds"][step], result["seconds"][step] / first["seconds"][step]) for result in found.values()
        ]
        print(f"{step:<{width}}", *(f"{seconds:8.2f} s {ratio:4.1f}x" for seconds, ratio in cells))
    days = [sum(result["seconds"][step] for step in steps) for result in found.values()]
    print(f"{'a day without training':<{width}}", *(f"{day:8.2f} s {day / days[0]:4.2f}x" for day in days))
    print(f"{'peak memory':<{width}}", *(f"{result['peak_mb']:8.0f} MB     " for result in found.values()))
    return int(days[-1] > LIMIT * days[0])


# -- parts, each in a process of its own --------------------------------------------------------


def prepare() -> None:
    """The first partition through all steps, and a version in production."""
    from include.registry import steps as registry
    from include.training import steps as training

    first = catalogue.load(MODEL).first_partition
    _deliver(first, HISTORY_ROWS, 0)
    run = open_run(MODEL, run_id="prepare", partition=first)
    for name, step in _day_steps().items():
        if not name.startswith(("scoring.", "monitoring.")):
            step(run)
    ref = training.build_training_set(run)
    version = registry.register_candidate(run, training.fit_baseline(run, ref), ref)
    registry.check_staging(run, version)
    registry.check_production(run, version)
    registry.promote(run, version)
    # The template of each day: the first after the history.
    _play(first.shift(1), HISTORY_ROWS)


def fabricate(days: int) -> None:
    """Make so many days of history, each as the steps would have left it."""
    from include.features import store

    first = catalogue.load(MODEL).first_partition
    template = open_run(MODEL, run_id="fabricated", partition=first.shift(1))
    known = template.lake.rows_by_partition(CLEAN.of(template.spec))
    rows = {table: template.lake.read(template.table(table), where=within(template.partition)) for table in COPIED}
    for number in range(2, days + 1):
        partition = first.shift(number)
        if partition.key in known:
            continue
        for table in COPIED:
            _copy(template, table, rows[table], partition, number)
        for kind, outcome, reason in (
            (Kind.BATCH_VERDICT, Outcome.ACCEPT_BATCH, Reason.NULL),
            (Kind.RETRAINING_POLICY, Outcome.NO_ACTION, Reason.PERFORMANCE_HOLDS),
        ):
            decisions.record(
                template.lake,
                template.spec,
                kind=kind,
                subject=partition.key,
                outcome=outcome,
                reasons=[reason],
                inputs={"window": {"metric": 0.85}},
                decided_at=partition.end,
                actor="policy",
                policy_hash="",
                run_id=f"fabricated {partition}",
            )
    last = first.shift(days).last_moment
    store.open_store().materialize(first.start, last, feature_views=[template.spec.feature_view])


def measure(days: int) -> dict[str, Any]:
    """The median seconds of each step of a day after so many days."""
    first = catalogue.load(MODEL).first_partition
    taken: dict[str, list[float]] = {}
    for number in range(DAYS + 1):
        partition = first.shift(days + 1 + number)
        seconds = _play(partition, HISTORY_ROWS + (days + number) * DAY_ROWS)
        if number:
            for step, value in seconds.items():
                taken.setdefault(step, []).append(value)
    from include.training import steps as training

    run = open_run(MODEL, run_id="training", partition=first.shift(days + DAYS))
    started = time.perf_counter()
    training.build_training_set(run)
    taken["training.build_training_set"] = [time.perf_counter() - started]
    for number in range(DAYS + 1):  # measured days are no part of the next, longer history
        _forget(first.shift(days + 1 + number))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": {step: statistics.median(values) for step, values in taken.items()}, "peak_mb": peak}


def _play(partition: Partition, first_id: int) -> dict[str, float]:
    """One day through all its steps; the labels of the day are there at once."""
    _deliver(partition, DAY_ROWS, first_id)
    run, seconds = open_run(MODEL, run_id=f"bench {partition}", partition=partition), {}
    for name, step in _day_steps().items():
        started = time.perf_counter()
        step(run)
        seconds[name] = time.perf_counter() - started
    return seconds


def _day_steps() -> dict[str, Callable[[Run], object]]:
    from include.features import steps as features
    from include.ingestion import steps as ingestion
    from include.monitoring import steps as monitoring
    from include.scoring import steps as scoring

    return {
        "ingestion.validate_batch": ingestion.validate_batch,
        "ingestion.load_batch": ingestion.load_batch,
        "ingestion.load_labels": ingestion.load_labels,
        "features.compute_features": features.compute_features,
        "features.materialize_features": features.materialize_features,
        "features.check_skew": features.check_skew,
        "scoring.score_rows": scoring.score_rows,
        "monitoring.measure_window": monitoring.measure_window,
        "monitoring.decide": monitoring.decide,
    }


def _deliver(partition: Partition, rows: int, first_id: int) -> None:
    from include.ingestion.delivery import Delivery

    run = open_run(MODEL, partition=partition)
    frame = sample.generate().dropna().sample(rows, random_state=first_id)
    frame.insert(0, "listing_id", range(first_id + 1, first_id + rows + 1))
    for kind, columns in (("batches", list(run.spec.columns)), ("labels", ["listing_id", run.spec.target])):
        delivery = Delivery.expected(run.settings, run.spec, kind, partition)  # type: ignore[arg-type]
        delivery.write("housing.csv", frame[columns].to_csv(index=False).encode())


def _copy(template: Run, table: Table, rows: pa.Table, partition: Partition, number: int) -> None:
    """The template's rows as those of another day: other keys, other times, the same values.

    The labels are shuffled: of rows that came 300 times each feature would determine the label, which training refuses.
    """
    later = pd.Timedelta(partition.start - template.partition.start).to_pytimedelta()
    columns = {}
    for name in rows.column_names:
        column = rows[name]
        if name == PARTITION:
            column = pa.repeat(pa.scalar(partition.key), rows.num_rows)
        elif name in template.spec.entity.keys:
            as_text = pa.types.is_string(column.type)
            shifted = pc.add(column.cast(pa.int64()), (number - 1) * DAY_ROWS)
            column = shifted.cast(pa.string()) if as_text else shifted
        elif name == template.spec.target:
            column = column.take(np.random.default_rng(number).permutation(rows.num_rows))
        elif name in (EVENT_TIMESTAMP, "arrived_at"):
            column = pc.add(column, pa.scalar(later)).cast(column.type)
        columns[name] = column
    copied = pa.table(columns)
    features = {
        name: rows.schema.field(name).type
        for name in rows.column_names
        if name not in table.of(template.spec).schema.names
    }
    declared = table.of(template.spec, features)
    others = [name for name in table.partition if name != PARTITION]
    for values in copied.group_by(others).aggregate([]).to_pylist() if others else [{}]:
        part = copied
        for name, value in values.items():
            part = part.filter(pc.equal(part[name], value))
        template.lake.replace(declared, part.select(declared.schema.names), {PARTITION: partition.key, **values})


def _forget(partition: Partition) -> None:
    run = open_run(MODEL, partition=partition)
    for table in COPIED:
        if run.lake.exists(run.table(table)):
            run.lake.open(run.table(table)).delete(f"{PARTITION} = '{partition.key}'")


PARTS: dict[str, Callable[..., Any]] = {"prepare": prepare, "fabricate": fabricate, "measure": measure}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        print(json.dumps(PARTS[sys.argv[1]](*map(int, sys.argv[2:])) or {}))
    else:
        sys.exit(main([int(text) for text in sys.argv[1:]] or list(HISTORIES)))
