"""MLflow's server is killed in the middle of a search, and comes back: every trial is there once, and none is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from include.training import candidate, training_set, trial_runs
from tests.mlflow_server import MlflowServer
from tests.unit.training import world
from tests.unit.training.world import HISTORY, World

TRIALS = 5
KILLED_AT = 3
"""Calls of `MlflowClient.log_batch` for a trial's run, which has been made then."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    found = MlflowServer(tmp_path)
    found.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.url)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    yield found
    found.kill()
    while mlflow.active_run():
        with suppress(MlflowException):
            mlflow.end_run("KILLED")


@pytest.fixture
def made(tmp_path: Path) -> World:
    found = world.make(tmp_path / "world", trials=TRIALS)
    found.deliver(HISTORY, 1500)
    return found


def trials_of(run_id: str) -> Counter[str]:
    client = MlflowClient()
    runs = trial_runs.of(client, client.get_run(run_id))
    assert {run.info.status for run in runs} == {"FINISHED"}
    return Counter((run.info.run_name or "").removesuffix(" (given up)") for run in runs)


def kill_once(server: MlflowServer, monkeypatch: pytest.MonkeyPatch, back: bool) -> list[threading.Thread]:
    """Kill it at a trial, when it has made the trial's run and has not been told what is in it."""
    log_batch, calls, lock, starting = MlflowClient.log_batch, [0], threading.Lock(), []

    def killed(client: MlflowClient, run_id: str, *args: object, **named: object) -> object:
        with lock:
            calls[0] += 1
            if calls[0] == KILLED_AT:
                server.kill()
                if back:
                    starting.append(threading.Thread(target=server.start))
                    starting[0].start()
        return log_batch(client, run_id, *args, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", killed)
    return starting


def test_a_search_waits_for_a_server_that_comes_back_and_finds_the_same(
    server: MlflowServer, made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = training_set.build(made.spec, made.lake, made.store(), HISTORY)
    undisturbed = candidate.fit_tuned(made.spec, made.lake, ref, "run-undisturbed")
    starting = kill_once(server, monkeypatch, back=True)
    tuned = candidate.fit_tuned(made.spec, made.lake, ref, "run-disturbed")
    assert len(starting) == 1, "it was killed"
    starting[0].join()
    assert trials_of(tuned.mlflow_run_id) == Counter({f"trial {number}": 1 for number in range(TRIALS + 1)})
    same = {name: value for name, value in undisturbed.metrics.items() if not name.endswith("seconds")}
    assert {name: tuned.metrics[name] for name in same} == same


def test_where_it_stays_away_the_task_fails_and_its_retry_fits_no_trial_again(
    server: MlflowServer, made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = training_set.build(made.spec, made.lake, made.store(), HISTORY)
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        away.setattr(trial_runs, "WAITS", (0.1,))
        kill_once(server, away, back=False)
        with pytest.raises(MlflowException, match=rf"127\.0\.0\.1.*{server.port}.*(refused|Max retries|aborted)"):
            candidate.fit_tuned(made.spec, made.lake, ref, "run-away")
    while mlflow.active_run():
        with suppress(MlflowException):
            mlflow.end_run("KILLED")
    server.start()
    record, recorded = trial_runs.TrialRuns.record, []
    monkeypatch.setattr(
        trial_runs.TrialRuns, "record", lambda journal, trial: (recorded.append(trial.number), record(journal, trial))
    )
    tuned = candidate.fit_tuned(made.spec, made.lake, ref, "run-away")
    assert trials_of(tuned.mlflow_run_id) == Counter({f"trial {number}": 1 for number in range(TRIALS + 1)})
    assert 0 not in recorded, "the trials that were there are not fitted again"
    assert len(recorded) <= TRIALS + 1 - (KILLED_AT - 2)
