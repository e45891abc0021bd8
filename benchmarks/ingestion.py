"""Seconds and peak memory of validating and loading rows of housing shape, beside plain DuckDB on the same file.

Each side runs in a process of its own, several times in turn: ``python -m benchmarks.ingestion [rows] [runs]``. What
is printed is the run with the median seconds, and the greatest peak.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import PROJECT_ROOT, Settings
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.models.california_housing import sample

MODEL = "california_housing"
ROWS, RUNS = 10_000_000, 3
SIDES = ("duckdb", "flightline")
LIMIT = 2.0
"""Times the seconds of plain DuckDB that it may take."""

_WRITE = """
    COPY (
        SELECT row_number() OVER () AS listing_id, rows.* EXCLUDE (median_house_value)
        FROM read_csv('{housing}') rows, range({copies}) LIMIT {rows}
    ) TO '{file}' (HEADER)
"""
_CHECK = """
    CREATE TEMP TABLE delivered AS SELECT * FROM read_csv('{file}');
    CREATE TEMP TABLE repeated AS SELECT listing_id FROM delivered GROUP BY listing_id HAVING count(*) > 1;
    CREATE TEMP VIEW validated AS
        SELECT *, coalesce(
            longitude BETWEEN -124.5 AND -114 AND latitude BETWEEN 32.5 AND 42.1
            AND housing_median_age BETWEEN 0 AND 100 AND total_rooms BETWEEN 1 AND 1e6
            AND total_bedrooms BETWEEN 1 AND 1e6 AND population BETWEEN 1 AND 1e6 AND households BETWEEN 1 AND 1e6
            AND median_income BETWEEN 0 AND 100
            AND ocean_proximity IN ('<1H OCEAN', 'INLAND', 'ISLAND', 'NEAR BAY', 'NEAR OCEAN')
            AND listing_id NOT IN (FROM repeated), false) AS good
        FROM delivered;
    COPY (FROM validated WHERE good) TO '{folder}/clean.parquet';
    COPY (FROM validated WHERE NOT good) TO '{folder}/quarantine.parquet';
"""


def main() -> None:
    if len(sys.argv) == 4:
        _part(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
        return
    given = [int(text) for text in sys.argv[1:]]
    rows, runs = given + [ROWS, RUNS][len(given) :]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        # The data, too, is made elsewhere: a process starts with the peak of the one that started it.
        made = _run("data", name, rows)
        print(f"{rows:,} rows, {made['megabytes']:,} MB CSV, {os.cpu_count()} cores")
        measured = [{side: _run(side, name, rows) for side in SIDES} for _ in range(runs)]
        figures = {side: _median([of[side] for of in measured]) for side in SIDES}
        for side in SIDES:
            print(f"{side:<12}" + "  ".join(f"{key} {value}" for key, value in figures[side].items()))
        ratio = figures["flightline"]["seconds"] / figures["duckdb"]["seconds"]
        print(f"ratio       {ratio:.2f} of at most {LIMIT:g}")
        assert figures["flightline"]["accepted"] == figures["duckdb"]["accepted"]


def _run(part: str, folder: str, rows: int) -> dict[str, float]:
    """Run one part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ingestion", part, folder, str(rows)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _median(measured: list[dict[str, float]]) -> dict[str, float]:
    """The run with the median seconds, and the greatest peak of all."""
    in_order = sorted(measured, key=lambda figures: figures["seconds"])
    return in_order[len(in_order) // 2] | {"peak_gb": max(figures["peak_gb"] for figures in measured)}


def _part(part: str, folder: Path, rows: int) -> None:
    """Do one part and print its figures."""
    if part == "data":
        file = _deliver(folder, rows)
        print(json.dumps({"megabytes": round(file.stat().st_size / 1e6)}))
    else:
        _side(part, next(folder.rglob("batches/*/*.csv")), folder)


def _deliver(folder: Path, rows: int) -> Path:
    """One delivery of so many rows: the housing file over and over, each row with a key of its own."""
    named = os.environ.get("HOUSING_CSV")
    housing = Path(named) if named else folder / "housing.csv"
    if not named:
        sample.generate().to_csv(housing, index=False)
    run = _open(folder)
    delivery = Delivery.expected(run.settings, run.spec, "batches", run.partition)
    delivery.write("california_housing.csv", b"")
    file = Path(delivery.folder) / "california_housing.csv"
    with duckdb.connect() as connection:
        connection.execute(_WRITE.format(housing=housing, copies=rows // 20_000 + 1, rows=rows, file=file))
    return file


def _open(folder: Path) -> Run:
    spec, settings = catalogue.load(MODEL), Settings(landing_uri=str(folder / "landing"))
    return Run(spec, settings, Lakehouse(str(folder / "lakehouse")), "bench", Partition.parse("2025-01-01", spec.grain))


def _side(side: str, file: Path, folder: Path) -> None:
    """Run one side and print its figures; the imports, which Airflow's tasks find done, do not count."""
    from include.ingestion import raw_loader, steps

    del raw_loader  # imported for its libraries: Great Expectations takes seconds
    began = time.perf_counter()
    if side == "duckdb":
        with duckdb.connect() as connection:
            connection.execute(_CHECK.format(file=file, folder=folder))
            ((accepted,),) = connection.sql(f"SELECT count(*) FROM '{folder}/clean.parquet'").fetchall()
        parts = {}
    else:
        run = _open(folder)
        shutil.rmtree(folder / "lakehouse", ignore_errors=True)
        steps.validate_batch(run)
        parts = {"validate": round(time.perf_counter() - began, 1)}
        accepted = steps.load_batch(run).accepted
    figures = {
        "seconds": round(time.perf_counter() - began, 1),
        **parts,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "accepted": accepted,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
