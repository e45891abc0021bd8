"""What the tuning task takes beside its trials in a bare script: `make bench BENCH=tuning` (ARGS="3" are the rounds).

The history of the replayed source is taken in on stores of its own: PostgreSQL, a real MLflow server, Delta tables. In
each round the task (`training.fit_tuned`: rows read, search with every trial kept in MLflow, fit, measures, card, model
logged) and the same trials as somebody would write them down, LightGBM and nothing else, run one after the other, in
turns. A median of the task beyond LIMIT times that of the script makes the run fail. Then one whole training, and
where its seconds go.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from include.core import catalogue
from include.core.spec import ModelSpec
from include.demo import replay
from include.lakehouse.run import Run, open_run
from include.lakehouse.schemas import SPLIT
from include.runtime.postgres import Postgres
from include.training.trial import Trial
from tests.mlflow_server import MlflowServer

MODEL, ROUNDS, LIMIT = "california_housing", 5, 1.15
MOST_TREES, PATIENCE = 1000, 30


def main(rounds: int) -> int:
    folder = Path(tempfile.mkdtemp(prefix="flightline-tuning-"))
    database, mlflow_home = Postgres(folder / "server"), folder / "mlflow"
    mlflow_home.mkdir()
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.callback(database.stop)
        database.start()
        server = MlflowServer(mlflow_home, database.url("mlflow"))
        ending.callback(server.kill)
        server.start()
        feast = database.url("feast")
        os.environ |= {
            "FLIGHTLINE_LANDING_URI": str(folder / "landing"),
            "FLIGHTLINE_LAKEHOUSE_URI": str(folder / "lakehouse"),
            "FLIGHTLINE_FEAST_REGISTRY": feast,
            "FLIGHTLINE_FEAST_ONLINE_STORE": feast,
            "MLFLOW_TRACKING_URI": server.url,
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }
        spec = catalogue.load(MODEL)
        origin = _take_in(spec, folder)
        return _compare(spec, origin, rounds)


def _take_in(spec: ModelSpec, folder: Path) -> str:
    from include.features import steps as features
    from include.ingestion import steps as ingestion

    source = replay.fetch(spec, folder / "cache")
    run = _run(spec, "taken in")
    played = replay.Replay(spec, source, replay.section(spec).partitions)
    played.deliver_batch(run.settings, 0)
    played.deliver_labels(run.settings, 0)
    for step in (ingestion.validate_batch, ingestion.load_batch, ingestion.load_labels, features.compute_features):
        step(run)
    features.materialize_features(run)
    return source.origin


def _compare(spec: ModelSpec, origin: str, rounds: int) -> int:
    from mlflow import MlflowClient

    from include.training import steps, training_set
    from include.training.trial_runs import TrialRuns

    run = _run(spec, "first")
    ref = steps.build_training_set(run)
    frame = training_set.read(spec, run.lake, ref)
    warm = steps.fit_tuned(run, ref)  # what is imported is: and the points of the search are known
    trials = [trial for _, trial in sorted(TrialRuns(MlflowClient().get_run(warm.mlflow_run_id)).known().items())]
    sides: dict[str, Callable[[int], object]] = {
        "the task": lambda number: steps.fit_tuned(_run(spec, f"round {number}"), ref),
        "a bare script": lambda number: bare(frame, list(ref.features), spec, trials),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            began = time.perf_counter()
            sides[name](number)
            taken[name].append(time.perf_counter() - began)
    print(f"{len(trials)} trials on {len(frame):,} rows of {origin}, {rounds} rounds in turns")
    for name, seconds in taken.items():
        print(f"  {name:<16}{statistics.median(seconds):7.2f} s   ({', '.join(f'{value:.1f}' for value in seconds)})")
    task, script = (statistics.median(taken[name]) for name in sides)
    print(f"  the task takes {task / script:.3f} times as long (limit {LIMIT})\n")
    _show_training(spec)
    return int(task > LIMIT * script)


def bare(frame: pd.DataFrame, names: list[str], spec: ModelSpec, trials: Sequence[Trial]) -> float:
    """The same points on the same rows, two at once, then the best one on all of them; its error on the test rows."""
    import lightgbm as lgb

    parts = {name: frame[frame[SPLIT] == name] for name in ("train", "validation", "test")}
    cores = len(os.sched_getaffinity(0))
    fixed = {"seed": spec.training.seed, "deterministic": True, "force_col_wise": True, "verbosity": -1}

    def data(*chosen: str) -> lgb.Dataset:
        rows = pd.concat([parts[name] for name in chosen])
        return lgb.Dataset(rows[names], rows[spec.target], weight=rows["weight"])

    def rmse(model: lgb.Booster, rows: pd.DataFrame) -> float:
        return float(np.sqrt(np.mean((rows[spec.target] - np.asarray(model.predict(rows[names]))) ** 2)))

    def fit(trial: Trial) -> tuple[float, int]:
        train = data("train")
        if trial.number == 0:
            threads = max(1, min(cores - 1, 4))
            model = lgb.train({**fixed, **trial.asked, "num_threads": threads}, train, 100)
            return rmse(model, parts["validation"]), 100
        rows = parts["validation"]
        held_out = train.create_valid(rows[names], rows[spec.target], weight=rows["weight"])
        params = {**fixed, **trial.asked, "num_threads": max(1, cores // 2), "metric": "rmse"}
        params["feature_pre_filter"] = False
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        model = lgb.train(params, train, MOST_TREES, valid_sets=[held_out], callbacks=[stop])
        return rmse(model, rows), model.best_iteration

    found = [fit(trials[0])]
    with ThreadPoolExecutor(min(spec.training.search.parallel, cores)) as pool:
        found += pool.map(fit, trials[1:])
    best = int(np.argmin([error for error, _ in found]))
    if abs(found[best][0] / min(trial.validation for trial in trials) - 1) > 1e-6:
        raise SystemExit(f"these are other trials: {found[best][0]} is the best, and not that of the task")
    params = {**fixed, **trials[best].asked, "num_threads": max(1, min(cores - 1, 4))}
    return rmse(lgb.train(params, data("train", "validation"), found[best][1]), parts["test"])


def _show_training(spec: ModelSpec) -> None:
    """The steps of train_model, one after the other, and the parts of each that take long."""
    from include.registry import steps as registry
    from include.training import candidate, card, evidence, learning_curve, plots, search, steps, tracking
    from include.training.trial_runs import TrialRuns

    run, whole = _run(spec, "one training"), time.perf_counter()
    inner: list[tuple[Any, str, str]] = [
        *((search, "tune", "the search"), (TrialRuns, "record", "of it trials kept, both threads")),
        *((candidate.algorithms, "fit", "fits, of all threads"), (tracking, "log_model", "model logged")),
        *((tracking, "log_dataset", "dataset logged"), (card, "render", "card"), (candidate.floors, "of", "floors")),
        *((plots, "all_of", "plots made (not saved)"), (learning_curve, "of", "learning curve")),
    ]

    def step(name: str, do: Callable[[], Any]) -> Any:
        with _timed(inner) as seconds:
            began = time.perf_counter()
            made = do()
            print(f"  {name:<44}{time.perf_counter() - began:7.2f} s")
        for told, spent in seconds.items():
            if spent >= 0.05:
                print(f"    {told:<42}{spent:7.2f} s")
        return made

    print("One training, in this process (each task of Airflow takes some seconds more to start)")
    ref = step("build_training_set", lambda: steps.build_training_set(run))
    baseline = step("train_baseline", lambda: steps.fit_baseline(run, ref))
    tuned = step("tune", lambda: steps.fit_tuned(run, ref))
    chosen = step("choose_candidate", lambda: steps.choose_candidate(run, baseline, tuned))
    kept = tuned if chosen == "tuned" else baseline
    step("explain_candidate", lambda: evidence.publish(spec, run.lake, ref, kept))
    step("register_candidate", lambda: registry.register_candidate(run, kept, ref))
    print(f"  {'all':<44}{time.perf_counter() - whole:7.2f} s")


@contextmanager
def _timed(functions: Sequence[tuple[Any, str, str]]) -> Iterator[dict[str, float]]:
    """What is spent in some functions, by what they are called."""
    seconds = dict.fromkeys((told for _, _, told in functions), 0.0)

    def measured(call: Callable[..., Any], told: str) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                made = call(*args, **named)
                return list(made) if isinstance(made, Iterator) else made
            finally:
                seconds[told] += time.perf_counter() - began

        return timed

    with ExitStack() as patches:
        for holder, name, told in functions:
            patches.enter_context(patch.object(holder, name, measured(getattr(holder, name), told)))
        yield seconds


def _run(spec: ModelSpec, run_id: str) -> Run:
    return open_run(spec.name, run_id=f"bench {run_id}", partition=spec.first_partition)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
