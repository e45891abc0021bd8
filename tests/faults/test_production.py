"""What goes wrong with the version in production, in the stack in which the demo was played: said, and put right."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise

import pyarrow.compute as pc
import pytest
from mlflow import MlflowClient

from include.core.settings import PROJECT_ROOT
from include.lakehouse import alias_history
from include.lakehouse.schemas import CLEAN, FEATURES, PREDICTIONS
from include.runtime.airflow_api import Run
from tests.played import Played, wait_for

AT_ONCE = 8
OVERTAKEN_SECONDS = 8
"""An answer that overtakes the worker's report that the task waits makes Airflow ask again."""


@pytest.fixture(scope="module", autouse=True)
def settled(played: Played) -> None:
    """What other tests began has ended: nothing is trained, and nobody is asked."""

    def is_over() -> bool:
        runs = [
            run for dag in ("train_model", "promote_model") for run in played.airflow.runs(f"{played.spec.name}.{dag}")
        ]
        going_on = [run for run in runs if not run.finished]
        for run in going_on:
            for task in ("wait_for_approval", "wait_for_second_approval"):
                if is_asked(played, run, task):
                    time.sleep(OVERTAKEN_SECONDS)
                    played.airflow.answer(run, task, "Reject")
        return not going_on

    wait_for(is_over, "trainings and promotions to end", 900)


@pytest.fixture
def serving(played: Played) -> str:
    """The version in production."""
    return named(played)


def named(played: Played) -> str:
    """The version that the alias names."""
    return str(MlflowClient(played.stack.mlflow_url).get_registered_model(played.spec.name).aliases["production"])


def ended(played: Played, run: Run) -> Run:
    wait_for(lambda: played.airflow.run(run.dag_id, run.run_id).finished, f"{run.run_id} to end")
    return played.airflow.run(run.dag_id, run.run_id)


def is_asked(played: Played, run: Run, task: str = "wait_for_approval") -> bool:
    return played.airflow.task_states(run).get(task) in ("awaiting_input", "deferred")


def promote(played: Played, version: str) -> Run:
    """Through the gates, and with two persons' yes where the tests before have left an environment that asks them."""
    run = played.trigger("promote_model", partition=version)
    for user, task in (("ada", "wait_for_approval"), ("grace", "wait_for_second_approval")):
        wait_for(
            lambda task=task: is_asked(played, run, task) or played.airflow.run(run.dag_id, run.run_id).finished, task
        )
        if is_asked(played, run, task):
            time.sleep(OVERTAKEN_SECONDS)
            played.as_user(user).answer(run, task, "Approve")
    return played.finish(run)


def test_after_a_roll_back_a_candidate_is_promoted_and_a_second_time_says_that_nothing_changed(
    played: Played, serving: str
) -> None:
    back = {"version": 1, "dry_run": False, "comment": "a test of the way back and on"}
    played.finish(played.trigger("roll_back_model", conf=back))
    assert named(played) == "1"
    run = promote(played, serving)
    assert played.airflow.task_states(run)["promote_version"] == "success"
    assert named(played) == serving
    tenures = alias_history.periods(played.lake, played.spec.name)
    assert [tenure.version for tenure in tenures][-2:] == ["1", serving]

    again = played.finish(played.trigger("roll_back_model", conf=back | {"version": int(serving)}))
    assert "nothing changed" in again.note
    assert played.airflow.task_states(again)["announce_production"] == "skipped"
    assert alias_history.periods(played.lake, played.spec.name) == tenures


def job(played: Played, step: str, *arguments: str, environment: str = "dev") -> subprocess.Popen[str]:
    """A step as a person runs it without the web UI."""
    return subprocess.Popen(
        [sys.executable, "-m", "include.jobs", step, "--model", played.spec.name, *arguments],
        env={**played.environment(), "FLIGHTLINE_ENV": environment},
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def roll_back_job(played: Played, version: str) -> subprocess.Popen[str]:
    return job(played, "registry.roll_back", "--version", version, "--comment", "a test of many at once")


def test_of_eight_roll_backs_at_once_no_tenure_is_lost_and_the_alias_names_the_last(
    played: Played, serving: str
) -> None:
    before = alias_history.periods(played.lake, played.spec.name)
    jobs = [roll_back_job(played, "1" if number % 2 else serving) for number in range(AT_ONCE)]
    said = [job.communicate(timeout=900) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * AT_ONCE, said
    moves = [json.loads(text.splitlines()[-1]) for text, _ in said]
    after = alias_history.periods(played.lake, played.spec.name)
    assert [period.decision_id for period in after[: len(before)]] == [period.decision_id for period in before]
    assert len(after) - len(before) == sum(move["changed"] for move in moves) >= 1
    assert [period.valid_to for period in after] == [*(period.valid_from for period in after[1:]), None]
    assert all(one.version != next_one.version for one, next_one in pairwise(after))
    assert named(played) == after[-1].version
    last = roll_back_job(played, serving)
    assert last.wait(900) == 0
    assert named(played) == serving


def test_an_alias_that_was_moved_by_hand_fails_a_run_in_red_and_is_put_back(played: Played, serving: str) -> None:
    MlflowClient(played.stack.mlflow_url).set_registered_model_alias(played.spec.name, "production", "1")
    day = played.day(2)
    failed = ended(played, played.trigger("score_batch", partition=day))
    assert failed.state == "failed"
    assert played.airflow.task_states(failed)["skip_scoring"] == "upstream_failed"
    assert f"moved by hand from version {serving} to 1" in failed.note
    assert named(played) == serving
    assert played.finish(played.trigger("score_batch", partition=day)).state == "success"


def test_what_was_served_of_a_batch_that_is_rejected_later_is_withdrawn_too(played: Played) -> None:
    day = played.day(3)
    before = played.rows(PREDICTIONS, day)
    assert before.num_rows
    assert not pc.any(before["withdrawn"]).as_py()
    good = played.delivery("batches", day)
    good.write("broken.csv", b"of,another\n1,2\n")
    rejected = ended(played, played.trigger("ingest_batch", partition=day))
    assert rejected.state == "failed"

    def withdrawn() -> list[Run]:
        runs = played.airflow.runs(f"{played.spec.name}.withdraw_batch")
        return [run for run in runs if run.partition == day and run.finished]

    (run,) = wait_for(withdrawn, "the withdrawal")
    assert run.state == "success", played.airflow.task_states(run)
    assert [played.rows(table, day).num_rows for table in (CLEAN, FEATURES)] == [0, 0]
    after = played.rows(PREDICTIONS, day)
    assert after.num_rows == before.num_rows, "what was served is kept"
    assert pc.all(after["withdrawn"]).as_py()


def test_a_job_does_not_promote_what_a_person_has_to_approve_and_says_so(played: Played, serving: str) -> None:
    for gate in ("registry.check_staging", "registry.check_production"):
        asked = job(played, gate, "--version", serving, environment="prod")
        assert json.loads(asked.communicate(timeout=900)[0].splitlines()[-1])["passed"]
    refused = job(played, "registry.promote", "--version", serving, environment="prod")
    _, said = refused.communicate(timeout=900)
    assert refused.returncode == 1
    assert "Traceback" not in said
    assert f"error: {played.spec.name}: 2 persons have to approve version {serving} in prod" in said.splitlines()[-1]
    assert named(played) == serving


def test_a_version_that_was_deleted_in_production_is_red_in_every_run_until_another_is_there(
    played: Played, serving: str
) -> None:
    """Last: the version is gone."""
    MlflowClient(played.stack.mlflow_url).delete_model_version(played.spec.name, serving)
    day = played.day(2)
    for _ in range(2):
        failed = ended(played, played.trigger("score_batch", partition=day))
        assert failed.state == "failed"
        assert f"version {serving}, which is in production, was deleted in MLflow" in failed.note
    played.finish(
        played.trigger("roll_back_model", conf={"version": 1, "dry_run": False, "comment": "a test of what is left"})
    )
    assert named(played) == "1"
    assert played.finish(played.trigger("score_batch", partition=day)).state == "success"
