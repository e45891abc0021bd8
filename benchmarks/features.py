"""The feature store against its peers, in one run: `make bench BENCH=features`.

Every measurement runs in a process of its own, so that its peak memory is its own. The peers are plain DuckDB (one
ASOF join on the same Parquet files), and Feast's own stores on the same rows: its DuckDB store, and its default
materialisation (dask to SQLite), which takes minutes. SCALE=0.1 makes all sizes a tenth; the limits are meant for 1,
where what Feast does once in each call no longer counts.

A figure that misses its limit makes the run fail.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_source import DataSource
from feast.types import Float64, Int64

from feast_delta.source import DeltaSource
from include.runtime.postgres import Postgres
from tests import redis_server

START = datetime(2025, 1, 1, tzinfo=UTC)
TTL = timedelta(days=30)
KEYS, HOURS = 2_100, 500
"""1.05M rows: one an hour for each key, all within the time to live, as a feature that is often measured has them."""
WIDE = [f"feature_{number}" for number in range(12)]
NARROW = WIDE[:4]
HISTORY, LATEST = "history", "latest"
Case = Callable[[Path, float], dict[str, float]]


def entity_rows(scale: float) -> pd.DataFrame:
    """100,000 rows of random keys and times."""
    random = np.random.default_rng(1)
    rows = int(100_000 * scale)
    minutes = random.integers(0, HOURS * 60, rows)
    return pd.DataFrame(
        {
            "key": random.integers(0, int(KEYS * scale), rows),
            "event_timestamp": pd.Timestamp(START).as_unit("us") + pd.to_timedelta(minutes, unit="min").as_unit("us"),
        }
    )


def feature_rows(keys: int, versions: int, features: list[str]) -> pa.Table:
    """One row for each key and hour."""
    random = np.random.default_rng(2)
    hours = np.repeat(np.arange(versions), keys)
    start = np.datetime64(START.replace(tzinfo=None), "us")
    return pa.table(
        {
            "key": pa.array(np.tile(np.arange(keys), versions)),
            "event_timestamp": pa.array(start + hours * np.timedelta64(3_600_000_000, "us")).cast(
                pa.timestamp("us", tz="UTC")
            ),
            **{name: random.random(keys * versions) for name in features},
        }
    )


def make_data(folder: Path, scale: float) -> dict[str, float]:
    """Write the same rows as a Delta table and as the Parquet file that Feast's file source reads."""
    start = time.perf_counter()
    for name, table in (
        (HISTORY, feature_rows(int(KEYS * scale), HOURS, NARROW)),
        (LATEST, feature_rows(int(1_000_000 * scale), 1, WIDE)),
    ):
        write_deltalake(str(folder / name), table)
        pq.write_table(table, folder / f"{name}.parquet")
    return {"seconds": time.perf_counter() - start}


# -- stores -------------------------------------------------------------------------------------


def our_store(folder: Path, online: str = "postgres") -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / f"ours_{online}.db"),
            offline_store={
                "type": "feast_delta.offline_store.DeltaOfflineStore",
                "lakehouse_uri": str(folder),
                "threads": 2,
                "memory_limit": "1GB",
            },
            batch_engine={"type": "feast_delta.engine.ArrowComputeEngine"},
            online_store={
                "type": "feast_delta.online.address.OnlineStore",
                "url": os.environ[f"BENCH_{online.upper()}"],
            },
            entity_key_serialization_version=3,
        )
    )


def feast_store(folder: Path, offline: str) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / f"feast_{offline}.db"),
            offline_store={"type": offline},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )


def define(store: FeatureStore, source: DataSource, features: list[str]) -> FeatureView:
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.INT64)
    view = FeatureView(
        name="view",
        entities=[key],
        schema=[Field(name="key", dtype=Int64), *(Field(name=name, dtype=Float64) for name in features)],
        source=source,
        ttl=TTL,
    )
    store.apply([key, view])
    return view


def _delta(folder: Path, name: str) -> DeltaSource:
    return DeltaSource(path=str(folder / name), name=name, timestamp_field="event_timestamp")


def _file(folder: Path, name: str) -> FileSource:
    return FileSource(path=str(folder / f"{name}.parquet"), name=name, timestamp_field="event_timestamp")


# -- cases --------------------------------------------------------------------------------------


def join_plain(folder: Path, scale: float) -> dict[str, float]:
    import duckdb

    entities = entity_rows(scale)

    def run() -> pd.DataFrame:
        files = DeltaTable(str(folder / HISTORY)).file_uris()
        with duckdb.connect(config={"threads": 2, "memory_limit": "1GB"}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("entities", entities)
            columns = ", ".join(f"f.{name}" for name in NARROW)
            return connection.execute(
                f"SELECT e.*, {columns} FROM entities e ASOF LEFT JOIN read_parquet(?) f "
                "ON e.key = f.key AND e.event_timestamp >= f.event_timestamp",
                [files],
            ).df()

    return _joined(run, 5)


def join_ours(folder: Path, scale: float) -> dict[str, float]:
    store, entities = our_store(folder), entity_rows(scale)
    define(store, _delta(folder, HISTORY), NARROW)
    return _joined(lambda: _historical(store, entities), 5)


def join_feast(folder: Path, scale: float) -> dict[str, float]:
    store, entities = feast_store(folder, "duckdb"), entity_rows(scale)
    define(store, _file(folder, HISTORY), NARROW)
    return _joined(lambda: _historical(store, entities), 1)


def materialize_postgres(folder: Path, scale: float) -> dict[str, float]:
    return _materialized(our_store(folder, "postgres"), folder, scale)


def materialize_redis(folder: Path, scale: float) -> dict[str, float]:
    return _materialized(our_store(folder, "redis"), folder, scale)


def _materialized(store: FeatureStore, folder: Path, scale: float) -> dict[str, float]:
    define(store, _delta(folder, LATEST), WIDE)
    seconds = _timed(lambda: store.materialize(START, START + timedelta(days=1)))
    return {"seconds": seconds, **_read(store, scale)}


def materialize_feast(folder: Path, scale: float) -> dict[str, float]:
    store = feast_store(folder, "dask")
    define(store, _file(folder, LATEST), WIDE)
    # Feast's file source leaves the first moment of the interval out.
    seconds = _timed(lambda: store.materialize(START - timedelta(days=1), START + timedelta(days=1)))
    return {"seconds": seconds, **_read(store, scale)}


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        make_data,
        join_plain,
        join_ours,
        join_feast,
        materialize_postgres,
        materialize_redis,
        materialize_feast,
    )
}


def _historical(store: FeatureStore, entities: pd.DataFrame) -> pd.DataFrame:
    return store.get_historical_features(entity_df=entities, features=[f"view:{name}" for name in NARROW]).to_df()


def _joined(run: Callable[[], pd.DataFrame], times: int) -> dict[str, float]:
    found: list[pd.DataFrame] = []
    seconds = min(_timed(lambda: found.append(run())) for _ in range(times))
    result = found[-1]
    return {"seconds": seconds, "rows": len(result), "sum": float(np.round(result[NARROW].to_numpy().sum(), 3))}


def _read(store: FeatureStore, scale: float) -> dict[str, float]:
    """Latency of online reads in milliseconds."""
    random = np.random.default_rng(3)
    measured: dict[str, float] = {}
    for keys, repetitions in ((1, 300), (100, 150)):
        taken = []
        for _ in range(repetitions):
            asked = [{"key": int(key)} for key in random.integers(0, int(1_000_000 * scale), keys)]
            taken.append(_timed(lambda asked=asked: _online(store, asked)) * 1000)
        cuts = statistics.quantiles(taken[10:], n=100)
        measured |= {f"p50_{keys}": cuts[49], f"p99_{keys}": cuts[98]}
    return measured


def _online(store: FeatureStore, asked: list[dict[str, Any]]) -> None:
    found = store.get_online_features(features=[f"view:{name}" for name in WIDE], entity_rows=asked).to_dict()
    if None in found[WIDE[0]]:
        raise SystemExit("a key that was materialised is not online")


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


# -- the run ------------------------------------------------------------------------------------


ONLINE = {"materialize_postgres": "ours, PostgreSQL", "materialize_redis": "ours, Redis"}
NEEDED_GB = {"join_feast": 8, "materialize_feast": 13}
"""What Feast's own stores take at scale 1: they are not started where that would push others out of memory."""


def measure(name: str, folder: Path, scale: float, environment: dict[str, str]) -> dict[str, float]:
    """Run one case in a process of its own."""
    free = psutil.virtual_memory().available / 1e9
    if NEEDED_GB.get(name, 0) * scale > free:
        raise SystemExit(f"{name} needs about {NEEDED_GB[name] * scale:.0f} GB, {free:.0f} GB are free: SCALE=0.2 ...")
    command = [sys.executable, "-m", "benchmarks.features", "--case", name, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--scale", str(scale)], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} failed")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    speed = f"{result['seconds']:9.2f} s {result['gigabytes']:7.2f} GB"
    print(f"{name:20} {speed}   load {os.getloadavg()[0]:.1f}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=float(os.environ.get("SCALE", "1")))
    parser.add_argument("--only", nargs="*", choices=CASES, help="cases to run; all by default")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        result = CASES[arguments.case](arguments.folder, arguments.scale)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(result | {"gigabytes": peak}))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        server = Postgres(folder / "server")
        stack.callback(server.stop)
        server.start()
        postgres = server.url("feast", driver="postgresql")
        environment = os.environ | {"BENCH_POSTGRES": postgres, "FEAST_USAGE": "False"}
        # The data, too, is made elsewhere: a process starts with the peak of the one that started it.
        names = dict.fromkeys(["make_data", *(arguments.only or CASES)])
        if binary := redis_server.binary():
            port = stack.enter_context(redis_server.running(binary))
            environment["BENCH_REDIS"] = f"redis://127.0.0.1:{port}/0"
        elif names.pop("materialize_redis", "no") != "no":
            print("materialize_redis    left out: no redis-server on this machine")
        found = {name: measure(name, folder, arguments.scale, environment) for name in names}
    missed = report(found)
    if missed:
        raise SystemExit(f"Missed: {'; '.join(missed)}")


def report(found: dict[str, dict[str, float]]) -> list[str]:
    """Print ratios and latencies; return the limits that were missed."""
    missed = []

    def line(text: str, value: float, limit: str, met: bool) -> None:
        print(f"{text:58} {value:8.2f}   {limit}{'' if met else '  MISSED'}")
        if not met:
            missed.append(text)

    def ratio(text: str, over: str, under: str) -> float | None:
        if over not in found or under not in found:
            return None
        return found[over]["seconds"] / found[under]["seconds"]

    print()
    if (value := ratio("", "join_ours", "join_plain")) is not None:
        line("point-in-time join: ours / plain DuckDB, time", value, "at most 1.3", value <= 1.3)
    if (value := ratio("", "join_feast", "join_ours")) is not None:
        line("point-in-time join: Feast's DuckDB store / ours, time", value, "at least 20", value >= 20)
    for peer in ("join_plain", "join_feast"):
        if peer in found and "join_ours" in found:
            apart = abs(found[peer]["sum"] - found["join_ours"]["sum"])
            line(f"point-in-time join: sum of values, {peer} - ours", apart, "0", apart == 0)
    for name, store in ONLINE.items():
        if name not in found:
            continue
        if (value := ratio("", "materialize_feast", name)) is not None:
            line(f"materialisation: Feast's default / {store}, time", value, "at least 10", value >= 10)
        peak = found[name]["gigabytes"]
        line(f"materialisation: {store}, peak memory in GB", peak, "below 2", peak < 2)
    for name, store in {**ONLINE, "materialize_feast": "Feast's, SQLite"}.items():
        for keys in (1, 100):
            if name in found:
                p50, p99 = found[name][f"p50_{keys}"], found[name][f"p99_{keys}"]
                print(f"online read of {keys:3} keys, {store:16}: p50 {p50:6.2f} ms, p99 {p99:6.2f} ms")
    return missed


if __name__ == "__main__":
    main()
