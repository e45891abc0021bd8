from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
from deltalake import write_deltalake

from include.core import catalogue
from include.core.settings import Settings
from include.lakehouse import decisions, schemas
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import METRICS
from include.lakehouse.tables import Lakehouse
from include.orchestration import maintenance
from tests.tables import put

PROCESSES, DECISIONS = 4, 5


def test_small_files_become_one_and_no_row_is_lost(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    run = Run(spec, Settings(), lake, "run")
    for source in "abcd":
        rows = pd.DataFrame({"metric": ["rows"], "slice": ["all"], "value": [1.0]})
        put(lake, METRICS.of(spec), rows, {"partition_key": "2025-01-01", "source": source})
    name = METRICS.of(spec).name
    assert maintenance.maintain_tables(run) == {name: {"files_replaced": 4, "files_written": 1, "files_removed": 0}}
    assert sorted(lake.read(name)["source"].to_pylist()) == list("abcd")


def _maintain(folder: str, gate) -> None:
    gate.wait()
    maintenance.maintain_tables(Run(catalogue.load("california_housing"), Settings(), Lakehouse(folder), "run"))


def _decide(folder: str, gate) -> None:
    gate.wait()
    run = Run(catalogue.load("california_housing"), Settings(), Lakehouse(folder), "run")
    for number in range(DECISIONS):
        decide(run, f"beside {number}")


def decide(run: Run, subject: str) -> None:
    at = datetime(2025, 1, 2, tzinfo=UTC)
    run.decide(Kind.SCORING, Outcome.SCORE_ROWS, [], subject=subject, at=at, about=at)


def test_models_that_maintain_the_tables_they_share_at_the_same_minute_do_not_stop_each_other(tmp_path: Path) -> None:
    """Files that are to be compacted are in the months of decisions; one more model decides meanwhile."""
    run = Run(catalogue.load("california_housing"), Settings(), Lakehouse(str(tmp_path)), "run")
    decide(run, "before")
    table = schemas.DECISIONS.of(run.spec)
    for number in range(PROCESSES):  # a write of ours leaves one file a month
        rows = run.lake.read(table).slice(0, 1).to_pylist()[0] | {"decision_id": f"{number}", "subject": f"{number}"}
        write_deltalake(run.lake.uri(table), pa.Table.from_pylist([rows], schema=table.schema), mode="append")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    gate = context.Barrier(PROCESSES)
    programs = [_decide, *[_maintain] * (PROCESSES - 1)]
    processes = [context.Process(target=program, args=(str(tmp_path), gate)) for program in programs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    subjects = {item.subject for item in decisions.history(run.lake, run.spec.name)}
    assert subjects == {"before", *map(str, range(PROCESSES)), *(f"beside {number}" for number in range(DECISIONS))}
