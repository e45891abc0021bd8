"""What a day costs after many days: `make bench BENCH=growth` (ARGS="1 30 365" are the days of history).

The steps of one day (413 rows: ingest, labels, features, score, monitor, decide) run on real stores after so many days
of history, each on a run opened anew, as a task does. Each history has a process of its own, and these play a day in
turn, so that whatever else the machine does meets all of them alike. Shown are the medians of seconds and of the
process's CPU seconds, and how many times those of the shortest history in the same round that is. The history is
fabricated: each day is one commit to each table, as old as the day, with the rows of one real day under other keys, as
the steps and then `maintain_tables` would have left them. The training set grows with its rows and is shown apart, with
the memory that it adds.

A day that costs more than LIMIT times that after the shortest history, in seconds or in CPU seconds, or takes more than
LIMIT times its memory, makes the run fail.
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import create_engine, text

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
from include.lakehouse.selection import within
from include.models.california_housing import sample
from include.runtime.postgres import Postgres

MODEL = "california_housing"
HISTORIES = (1, 30, 365)
HISTORY_ROWS, DAY_ROWS, ROUNDS = 12_000, 413, 10
"""Rows of the first partition, of each further one; days that are measured after one that warms up: as many as there
are commits between two checkpoints of a table, on which the cost of opening it depends."""
LIMIT = 1.2
TRAINING = "training.build_training_set"
COPIED = (RAW, QUARANTINE, CLEAN, PROFILES, LABELS, FEATURES, SKEW, PREDICTIONS, METRICS)

ANSWER = "answer: "

Cost = tuple[float, float]
"""Seconds, CPU seconds."""


def main(histories: list[int]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="flightline-growth-"))
    try:
        with ExitStack() as stack:
            players = [Player(days, folder / str(days)) for days in histories]
            for player in players:
                stack.callback(player.stop)
                player.start()
            rounds = [[player.ask("play") for player in players] for _ in range(1 + ROUNDS)][1:]
            memory = [player.ask("memory")["mb"] for player in players]
            training = [player.ask("train") for player in players]
            return _show(histories, rounds, memory, training, [player.ask("memory")["mb"] for player in players])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Player:
    """A history, and the process that plays days after it."""

    def __init__(self, days: int, folder: Path) -> None:
        folder.mkdir()
        self._days, self._folder, self._errors = days, folder, folder / "stderr"
        self._server = Postgres(folder / "server")
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._server.start()
        self._environment = _environment(self._folder, self._server)
        self._run("fabricate")
        self.ask("")
        self._run("serve")

    def _run(self, part: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.growth", part, str(self._days)],
            env=self._environment,
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors.open("w"),
            text=True,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._server.stop()

    def ask(self, part: str) -> dict[str, Any]:
        """Have the process do a part, and answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(part, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
                return answer
        raise SystemExit(f"{self._days} days, {part} failed:\n{self._errors.read_text()[-3000:]}")


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


def _show(
    histories: list[int],
    rounds: list[list[dict[str, Cost]]],
    memory: list[float],
    training: list[dict[str, Cost]],
    after: list[float],
) -> int:
    steps = list(rounds[0][0])
    width = max(map(len, [*steps, TRAINING]))
    print(" " * width, *(f"{f'{days} days':^31}" for days in histories))
    print(" " * width, *[f"{'seconds':>15}{'CPU seconds':>16}"] * len(histories))

    def line(name: str, costs: list[list[Cost]]) -> list[float]:
        """One line of medians; the greatest ratios of the last history."""
        cells, ratios = [], []
        for number in range(len(histories)):
            for kind in (0, 1):
                median = statistics.median(each[number][kind] for each in costs)
                ratio = statistics.median(each[number][kind] / each[0][kind] for each in costs)
                cells.append(f"{median:8.3f} {ratio:5.2f}x")
                ratios.append(ratio)
        print(f"{name:<{width}}", *(f"{cell:>15}" for cell in cells))
        return ratios[-2:]

    for step in steps:
        line(step, [[each[step] for each in round_] for round_ in rounds])
    day = line(
        "a day without training",
        [
            [(sum(c[0] for c in each.values()), sum(c[1] for c in each.values())) for each in round_]
            for round_ in rounds
        ],
    )
    line(TRAINING, [[each[TRAINING] for each in training]])
    for name, values in (("peak memory of the days", memory), ("and of the training set", after)):
        print(f"{name:<{width}}", *(f"{value:12.0f} MB {value / values[0]:11.2f}x    " for value in values))
    return int(max(*day, memory[-1] / memory[0]) > LIMIT)


# -- parts, in the process of a history ---------------------------------------------------------


def _prepare() -> None:
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

    _prepare()
    first = catalogue.load(MODEL).first_partition
    template = open_run(MODEL, run_id="fabricated", partition=first.shift(1))
    rows = {table: template.lake.read(template.table(table), where=within(template.partition)) for table in COPIED}
    for number in range(2, days + 1):
        partition = first.shift(number)
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
    _age(template, days)


def _age(template: Run, days: int) -> None:
    """Make the commits as old as their days, and do what `maintain_tables` does: it drops those that nobody keeps."""
    from include.orchestration import maintenance

    for log in Path(template.settings.lakehouse_uri).glob("*/_delta_log"):
        versions = {file: int(file.name[:20]) for file in log.iterdir() if file.name[:20].isdigit()}
        for file, version in versions.items():  # checkpoints, too: none is kept for what is older than the oldest
            at = time.time() - 86_400 * days * (1 - version / max(versions.values()))
            os.utime(file, (at, at))
    maintenance.maintain_tables(template)
    online = create_engine(os.environ["FLIGHTLINE_FEAST_ONLINE_STORE"], isolation_level="AUTOCOMMIT")
    with online.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))  # as PostgreSQL does it by itself, day by day


def serve(days: int) -> None:
    """Do what is asked for on the standard input, a line each, and answer with its costs."""
    first = catalogue.load(MODEL).first_partition
    played = 0
    for line in sys.stdin:
        part, answer = line.strip(), dict[str, Any]()
        if part == "play":
            played += 1
            answer = _play(first.shift(days + played), HISTORY_ROWS + (days + played - 1) * DAY_ROWS)
        elif part == "train":
            from include.training import steps as training

            answer = {TRAINING: _cost(training.build_training_set, first.shift(days + played))}
        elif part == "memory":
            answer = {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        print(ANSWER + json.dumps(answer), flush=True)


def _play(partition: Partition, first_id: int) -> dict[str, Cost]:
    """One day through all its steps; the labels of the day are there at once."""
    _deliver(partition, DAY_ROWS, first_id)
    return {name: _cost(step, partition) for name, step in _day_steps().items()}


def _cost(step: Callable[[Run], object], partition: Partition) -> Cost:
    started = time.perf_counter(), time.process_time()
    step(open_run(MODEL, run_id=f"bench {partition}", partition=partition))
    return time.perf_counter() - started[0], time.process_time() - started[1]


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


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fabricate", days]:
            fabricate(int(days))
            print(ANSWER + "{}")
        case ["serve", days]:
            serve(int(days))
        case histories:
            sys.exit(main([int(days) for days in histories] or list(HISTORIES)))
