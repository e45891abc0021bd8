"""The demo: plays the outside system day by day, and lets Airflow run the loop by itself."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from include.core import catalogue
from include.core.errors import StackError
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.demo import replay, table
from include.runtime.airflow_api import AirflowApi, Run
from include.runtime.stack import Stack

MODEL = "california_housing"
DAGS = len([file for file in (PROJECT_ROOT / "dags").glob("*.py") if file.stem != "check_models"])
"""Of each model: a file is one."""
MOST_DAYS = 364
DRIFT_DAY = 4
"""Where a model's source can drift, and nobody says when."""
STEP_SECONDS = 900
POLL_SECONDS = 0.5

Say = Callable[[str], None]
Data = dict[str, str | bool]
"""Path, origin and checksum of the file that is played."""


@dataclass(frozen=True)
class Plan:
    """What is played: so many days (partitions of the model) after the history, drifting from one of them on."""

    days: int
    drift_day: int | None
    model: str = MODEL

    @classmethod
    def parse(cls, model: str, days: str, drift_day: str) -> Plan:
        """Check the words of the command line; one that is empty is as the model's ``replay`` says.

        Raises:
            StackError: naming the word that is off.
            ConfigError: there is no such model, or it has no ``replay``.
        """
        if model not in catalogue.registered():
            raise StackError(f"MODEL={model}", fix=f"MODEL is one of {', '.join(catalogue.registered())}")
        source = replay.section(catalogue.load(model))
        if days and not (days.isdecimal() and 1 <= int(days) <= MOST_DAYS):
            raise StackError(f"DAYS={days}", fix=f"DAYS is a number from 1 to {MOST_DAYS}")
        count = int(days) if days else source.partitions
        drift_day = drift_day or (str(min(DRIFT_DAY, count)) if source.drift else "none")
        if drift_day.lower() == "none":
            return cls(count, None, model)
        if not drift_day.isdecimal() or not 1 <= int(drift_day) <= count:
            raise StackError(f"DRIFT_DAY={drift_day}", fix=f"DRIFT_DAY is a number from 1 to {count}, or none")
        return cls(count, int(drift_day), model)


@dataclass
class Progress:
    """What has been played, kept in a file so that a second `make demo` goes on where the first one stopped."""

    file: Path
    plan: Plan
    data: Data
    done: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, plan: Plan, data: Data) -> Progress:
        """Read the progress of an earlier demo of the same plan, or begin.

        Raises:
            StackError: the folder holds the demo of another plan or another file.
        """
        if not file.exists():
            return cls(file, plan, data)
        content = json.loads(file.read_text())
        earlier = Plan(**content["plan"])
        if earlier != plan or content["data"]["sha256"] != data["sha256"]:
            raise StackError(
                f"it holds a demo of {earlier.model} with DAYS={earlier.days} DRIFT_DAY={earlier.drift_day or 'none'} "
                f"on {content['data']['origin']}",
                where=str(file.parent),
                fix="Repeat that one, or `make clean` first",
            )
        return cls(file, plan, content["data"], content["done"], content["seconds"])

    def finish(self, step: str, seconds: float) -> None:
        self.done.append(step)
        self.seconds[step] = round(seconds, 1)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        content = {"plan": asdict(self.plan), "data": self.data, "done": self.done, "seconds": self.seconds}
        partial.write_text(json.dumps(content, indent=2))
        partial.replace(self.file)


def run(stack: Stack, plan: Plan, say: Say = print) -> dict[str, object]:
    """Start the stack and play the plan in it.

    Returns:
        The report, as written to ``var/demo/<model>/report.json``.

    Raises:
        StackError: a run failed, or took far too long; the message names it and where to look.
    """
    began = time.monotonic()
    for name, value in stack.caller().items():  # what a second `make demo` does not say is as the first one said it
        os.environ.setdefault(name, value)
    spec = catalogue.load(plan.model)
    home = stack.home / "demo" / spec.name
    cache = stack.home / "landing" / replay.CACHE
    file = replay.keep(replay.fetch(spec, cache), cache)
    other = replay.section(spec).sha256 is not None and not file.verified
    say(f"Data: {file.path} ({file.origin}{', not the pinned file' if other else ''})")
    data: Data = {"path": str(file.path), "origin": file.origin, "sha256": file.sha256, "verified": file.verified}
    stack.up(say)
    os.environ.update(stack.tracking())
    say(f"The stack runs: {stack.airflow_url} and {stack.mlflow_url}")
    progress = Progress.load(home / "progress.json", plan, data)
    if progress.done:
        say(f"Found an earlier demo: {', '.join(progress.done)} are done, and are not played again.")
    if "start" not in progress.done:
        progress.finish("start", time.monotonic() - began)
    airflow = AirflowApi(stack.airflow_url, "admin", stack.password())
    _Loop(airflow, spec, progress, say, began).play()
    summary = table.collect(stack, spec, plan.days, progress.data, progress.seconds)
    path = home / "report.json"
    path.write_text(json.dumps(summary, indent=2))
    say(table.render(summary))
    say(f"\nThe same facts: {path}")
    return summary


class _Loop:
    """The steps of the demo. Each triggers what comes from outside, then waits for what Airflow makes of it."""

    def __init__(self, airflow: AirflowApi, spec: ModelSpec, progress: Progress, say: Say, began: float) -> None:
        self.airflow = airflow
        self.spec = spec
        self.progress = progress
        self.plan = progress.plan
        self._say = say
        self._began = began
        self._runs_before: set[tuple[str, str]] = set()
        self._said: set[tuple[str, str]] = set()
        self._triggered: set[str] = set()

    def play(self) -> None:
        self._wait_for_dags()
        self._step("history", self._history)
        self._step("first training", self._first_training)
        for number in range(1, self.plan.days + 1):
            self._step(f"{self.spec.grain} {number}", partial(self._day, number))
        self._step("last labels", self._last_labels)

    # -- steps --------------------------------------------------------------------------------

    def _history(self) -> None:
        """Its partitions, one after the other: at once they would take the machine from each other."""
        for number in range(1 - self._history_partitions, 1):
            key = self._key(number)
            self._deliver(batch=number, labels=number)
            self._trigger("ingest_batch", key)
            labels = self._trigger("ingest_labels", key)
            self._follow("score_batch", key)
            self._finish(labels)
            self._follow("monitor_model", key)

    def _first_training(self) -> None:
        newest = self._key(0)
        self._trigger("request_training", newest)
        self._train(newest)

    def _day(self, number: int) -> None:
        today, yesterday = self._key(number), self._key(number - 1)
        labels = number - 1 or None  # the labels of the history came with it
        self._deliver(batch=number, labels=labels)
        self._trigger("ingest_batch", today)
        if labels is not None:
            self._trigger("ingest_labels", yesterday)
        self._follow("score_batch", today)
        if labels is not None:
            self._review(yesterday)

    def _last_labels(self) -> None:
        last = self._key(self.plan.days)
        self._deliver(batch=None, labels=self.plan.days)
        self._trigger("ingest_labels", last)
        self._review(last)
        self._settle()

    def _review(self, partition: str) -> None:
        """Wait for the labels of a day, its monitoring, and the training that it may ask for."""
        self._follow("ingest_labels", partition)
        review = self._follow("monitor_model", partition, started_by="labels")
        if self.airflow.task_states(review).get("request_retraining") == "success":
            self._say(f"{self._clock()}  {'':<14} retraining is asked for")
            self._train(partition)

    def _train(self, partition: str) -> None:
        self._follow("train_model", partition)
        newest = self._follow("promote_model", None)
        states = self.airflow.task_states(newest)
        verdict = "in production" if states.get("promote_version") == "success" else "rejected"
        self._say(f"{self._clock()}  {'':<14} version {newest.partition}: {verdict}")

    # -- talking to Airflow -------------------------------------------------------------------

    def _step(self, name: str, action: Callable[[], None]) -> None:
        if name in self.progress.done:
            return
        self._say(f"{self._clock()}  {name}")
        self._runs_before = {(run.dag_id, run.run_id) for run in self.airflow.runs("~")}
        started = time.monotonic()
        action()
        self.progress.finish(name, time.monotonic() - started)

    def _wait_for_dags(self) -> None:
        """Wait until the DAGs are listed, then switch them on."""
        deadline = time.monotonic() + STEP_SECONDS
        while len(dags := self.airflow.dag_ids(self.spec.name)) < DAGS:
            if errors := self.airflow.import_errors():
                raise StackError(f"Airflow cannot import the DAGs: {errors[0].strip().splitlines()[-1]}")
            if time.monotonic() > deadline:
                raise StackError(f"only {dags} are listed by Airflow", where=self.airflow.url)
            time.sleep(POLL_SECONDS)
        for dag in dags:
            self.airflow.unpause(dag)

    def _deliver(self, *, batch: int | None, labels: int | None) -> None:
        """Args: numbers of days, 0 being the last of the history."""
        before = self._history_partitions - 1
        numbers = {"batch": batch, "labels": labels, "drift_day": self.plan.drift_day}
        conf = {
            "file": self.progress.data["path"],
            "days": self.plan.days,
            **{name: None if number is None else number + before for name, number in numbers.items()},
        }
        self._triggered.add(self.airflow.trigger(self._dag("replay_source"), conf=conf).run_id)

    def _trigger(self, verb_noun: str, partition: str) -> Run:
        run = self.airflow.trigger(self._dag(verb_noun), partition=partition)
        self._triggered.add(run.run_id)
        return run

    def _follow(self, verb_noun: str, partition: str | None, *, started_by: str | None = None) -> Run:
        """Wait for the run that an asset starts in this step, then for its end."""
        dag_id = self._dag(verb_noun)
        for runs in self._polls(f"no run of {dag_id} for {partition}"):
            for run in runs:
                if run.dag_id == dag_id and partition in (None, run.partition) and self._is_by(started_by, run):
                    return self._finish(run)
        raise AssertionError("polling ends by returning or raising")

    def _is_by(self, asset: str | None, run: Run) -> bool:
        return asset is None or f"{self.spec.name}.{asset}" in self.airflow.assets_that_started(run)

    def _finish(self, run: Run) -> Run:
        """Wait for the end of a run."""
        for runs in self._polls(f"{run.dag_id} {run.partition or ''} does not end"):
            run = next(found for found in runs if (found.dag_id, found.run_id) == (run.dag_id, run.run_id))
            if run.finished:
                break
        return run

    def _settle(self) -> None:
        """Wait until nothing that this step started runs any more."""
        for runs in self._polls("runs do not end"):
            if all(run.finished for run in runs):
                return

    def _polls(self, complaint: str) -> Iterator[list[Run]]:
        """The runs that this step has started so far, again and again.

        Raises:
            StackError: one of them failed, or they take far too long.
        """
        deadline = time.monotonic() + STEP_SECONDS
        while time.monotonic() < deadline:
            runs = self._new_runs()
            self._refuse_failures(runs)
            self._say_what_ended(runs)
            self._show_activity(runs)
            yield runs
            time.sleep(POLL_SECONDS)
        raise StackError(f"{complaint} after {STEP_SECONDS} s", where=self.airflow.url, fix="Look at it there")

    def _new_runs(self) -> list[Run]:
        new = [run for run in self.airflow.runs("~") if (run.dag_id, run.run_id) not in self._runs_before]
        return [run for run in new if self._is_ours(run)]

    def _is_ours(self, run: Run) -> bool:
        """Whether the demo triggered a run, or what it triggered did: the web UI is open to everybody meanwhile."""
        if not run.dag_id.startswith(f"{self.spec.name}."):
            return False
        if run.run_id.startswith(("manual__", "backfill__")):
            return run.run_id in self._triggered
        days = {self._key(number) for number in range(1 - self._history_partitions, self.plan.days + 1)}
        return run.partition in days or run.dag_id == self._dag("promote_model")

    def _refuse_failures(self, runs: list[Run]) -> None:
        for run in runs:
            if run.state == "failed":
                states = self.airflow.task_states(run)
                failed = [task for task, state in states.items() if state == "failed"]
                raise StackError(
                    f"{run.dag_id} {run.partition or ''} failed in {', '.join(failed)}",
                    where=f"{self.airflow.url}/dags/{run.dag_id}/runs/{run.run_id}",
                    fix="Its task log says why",
                )

    def _say_what_ended(self, runs: list[Run]) -> None:
        for run in sorted(runs, key=lambda run: run.ended_at):
            if run.finished and (run.dag_id, run.run_id) not in self._said:
                self._said.add((run.dag_id, run.run_id))
                name, took = run.dag_id.split(".")[1], f"{run.seconds or 0:6.1f} s"
                self._say(f"{self._clock()}    {name:<16} {run.partition or '':<12} {took}")

    def _show_activity(self, runs: list[Run]) -> None:
        if sys.stdout.isatty():
            active = ", ".join(run.dag_id.split(".")[1] for run in runs if not run.finished)
            sys.stdout.write(f"\r\033[K{self._clock()}    ... {active}\r")
            sys.stdout.flush()

    def _dag(self, verb_noun: str) -> str:
        return f"{self.spec.name}.{verb_noun}"

    def _key(self, number: int) -> str:
        """Of a day; 0 is the last of the history."""
        return self.spec.first_partition.shift(self._history_partitions - 1 + number).key

    @property
    def _history_partitions(self) -> int:
        return replay.section(self.spec).history_partitions

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes:02d}:{seconds:02d}"
