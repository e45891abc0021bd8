"""One DAG on sample data, in this process: ``make dag-test DAG=build_features PARTITION=2025-01-02``.

What the DAG needs first is run by the same means, once: the sample is delivered, and the DAGs before it are played.
All state is below ``var/dag-test``: a PostgreSQL for Airflow's metadata, Feast and MLflow, the landing folder and the
lakehouse. As in production the run has a partition key and no logical date. Nothing is retried.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from include.core import catalogue
from include.core.errors import ConfigError, DataError, FlightlineError, UsageError
from include.core.partition import Partition
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.demo import replay
from include.runtime.postgres import Postgres

SAMPLE_PARTITIONS = 30
"""A sample without times is delivered as a history and so many partitions: one later than that has no data."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """A DAG of the model and the partition key it runs with."""

    verb_noun: str
    partition: str | None

    def __str__(self) -> str:
        return f"{self.verb_noun} {self.partition or ''}".rstrip()


def needs(step: Step, history: Sequence[str]) -> list[Step]:
    """The steps that come directly before one, in order.

    Args:
        history: the first partitions, whose rows a model is trained on.
    """
    key = step.partition
    return {
        "build_features": [Step("ingest_batch", key)],
        "ingest_labels": [Step("ingest_batch", key)],
        "reprocess_quarantine": [Step("ingest_batch", key)],
        "withdraw_batch": [Step("build_features", key)],
        "train_model": [
            Step(verb_noun, on)
            for on in dict.fromkeys([*history, key])
            for verb_noun in ("ingest_labels", "build_features")
        ],
        "request_training": [Step("ingest_batch", key)],
        "promote_model": [Step("train_model", history[-1])],
        "roll_back_model": [Step("promote_model", "1")],
        "rebuild_version": [Step("promote_model", "1")],
        "score_batch": [Step("promote_model", "1"), Step("build_features", key)],
        "monitor_model": [Step("score_batch", key), Step("ingest_labels", key)],
    }.get(step.verb_noun, [])


DELIVERIES = {"ingest_batch": ("batches", "batch"), "ingest_labels": ("labels", "labels")}
"""By DAG the folder that it waits for, and the parameter of replay_source that has it delivered."""
VERSIONS = ("promote_model", "roll_back_model")
"""The DAGs whose partition key is a version."""


@dataclass
class DagTest:
    """The DAGs of one model, played on the `stores` below a folder."""

    model: str
    home: Path
    dags_folder: Path = PROJECT_ROOT / "dags"
    say: Say = print
    _failures: list[str] = field(default_factory=list)

    @cached_property
    def spec(self) -> ModelSpec:
        return catalogue.load(self.model)

    @cached_property
    def history(self) -> list[Partition]:
        """The partitions that a first training knows."""
        first, source = self.spec.first_partition, self.spec.replay
        return [first.shift(number) for number in range(source.history_partitions if source else 1)]

    def play(self, step: Step, conf: dict[str, Any] | None = None) -> dict[str, str]:
        """Run a DAG, and before it what it needs and has not run yet.

        Returns:
            Task id → state.

        Raises:
            DataError: a task failed; the message names it, and the file and line of ours where it happened.
            ConfigError: there is no such DAG, or its file cannot be imported.
        """
        self._prepare(step)
        return self._run(step, conf or {})

    def file_of(self, step: Step) -> Path:
        """The file of a step's DAG.

        Raises:
            ConfigError: there is none; the message says which there are.
        """
        file = self.dags_folder / f"{step.verb_noun}.py"
        if not file.is_file():
            raise ConfigError(
                f"there is no DAG {step.verb_noun!r}",
                where=str(self.dags_folder),
                fix=f"There are: {', '.join(sorted(found.stem for found in self.dags_folder.glob('*.py')))}",
            )
        return file

    # -- what comes before -------------------------------------------------------------------------

    def _prepare(self, step: Step) -> None:
        for earlier in needs(step, [partition.key for partition in self.history]):
            if not self._is_done(earlier):
                self._prepare(earlier)
                self._run(earlier, {})
        if step.verb_noun in DELIVERIES:
            self._deliver(step)

    def _is_done(self, step: Step) -> bool:
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        run = select(DagRun.id).where(
            DagRun.dag_id == self._dag_id(step), DagRun.partition_key == step.partition, DagRun.state == "success"
        )
        with create_session() as session:
            return session.scalars(run).first() is not None

    def _deliver(self, step: Step) -> None:
        kind, parameter = DELIVERIES[step.verb_noun]
        folder = self.home / "landing" / self.model / kind / f"batch_date={step.partition}"
        if (folder / "_SUCCESS").exists():
            return
        source, first = replay.section(self.spec), self.spec.first_partition
        days = source.partitions if source.time else SAMPLE_PARTITIONS
        last = self.history[-1].shift(days)
        partition = Partition.parse(str(step.partition), self.spec.grain)
        if not first <= partition <= last:
            raise DataError(
                f"the sample has no {kind} of {step.partition}",
                fix=f"Take a partition from {first} to {last}, or put files and _SUCCESS into {folder}",
            )
        number = list(first.to(last)).index(partition)
        conf = {
            "file": str(self._sample()),
            "batch": None,
            "labels": None,
            "days": days,
            "drift_day": None,
        }
        self._run(Step("replay_source", None), conf | {parameter: number})

    def _sample(self) -> Path:
        path = self.home / "landing" / replay.CACHE / f"{self.model}.csv"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            resolve_name(replay.section(self.spec).sample)().to_csv(path, index=False, lineterminator="\n")
        return path

    # -- one run -----------------------------------------------------------------------------------

    def _run(self, step: Step, conf: dict[str, Any]) -> dict[str, str]:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import event

        began = time.monotonic()
        dag = self._dag(step)
        self._failures.clear()
        dag.deadline = None  # `test` cannot store one, and nothing is late here
        for task in dag.tasks:
            task.retries = 0
            task.on_failure_callback = [self._note]

        def partitioned(_mapper: object, _connection: object, run: DagRun) -> None:
            run.partition_key = step.partition

        event.listen(DagRun, "before_insert", partitioned)  # `test` has no argument for it
        try:
            run = dag.test(logical_date=None, run_conf=conf)
        finally:
            event.remove(DagRun, "before_insert", partitioned)
        states = {task.task_id: str(task.state) for task in run.get_task_instances()}
        if run.state != "success":
            said = "; ".join(self._failures) or f"the run ended as {run.state}: {states}"
            raise DataError(said, where=str(step))
        self.say(f"{step}: {time.monotonic() - began:.1f} s  {'  '.join(f'{k}={v}' for k, v in states.items())}")
        self.say(f"  {self._note_of(run)}")
        return states

    def _note_of(self, run: Any) -> str:
        from airflow.models.dagrun import DagRunNote
        from airflow.utils.session import create_session

        with create_session() as session:
            found = session.get(DagRunNote, run.id)
            return str(found.content) if found else "no note"

    def _dag(self, step: Step) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        file = self.file_of(step)
        bag = DagBag(str(file), bundle_name=step.verb_noun)
        if bag.import_errors:
            raise ConfigError(f"cannot be imported\n{next(iter(bag.import_errors.values()))}", where=str(file))
        try:
            return bag.dags[self._dag_id(step)]
        except KeyError:
            raise ConfigError(f"has no DAG {self._dag_id(step)}", where=str(file)) from None

    def _dag_id(self, step: Step) -> str:
        return f"{self.model}.{step.verb_noun}"

    def _note(self, context: Any) -> None:
        error = context["exception"]
        place = where(error, PROJECT_ROOT, self.dags_folder)
        said = [place, f"task {context['ti'].task_id}", type(error).__name__, str(error)]
        self._failures.append(": ".join(part for part in said if part))


@contextmanager
def stores(home: Path, dags_folder: Path) -> Iterator[None]:
    """Start the stores below a folder, and have this process work on them. Before Airflow is imported, and once."""
    postgres = Postgres(home)
    postgres.start()
    os.environ.update(_variables(home, dags_folder, postgres))
    os.chdir(home)  # where MLflow, without a server, puts its artifacts
    from airflow import settings
    from airflow.utils.db import initdb

    try:
        initdb()
        yield
    finally:
        settings.dispose_orm()
        postgres.stop()


def _variables(home: Path, dags_folder: Path, postgres: Postgres) -> dict[str, str]:
    # A bundle for each file: Airflow reads all of the bundle in which the DAG is.
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    files = sorted(dags_folder.glob("*.py"))
    bundles = [{"name": file.stem, "classpath": local, "kwargs": {"path": str(file)}} for file in files]
    return {
        "FLIGHTLINE_ENV": "dev",
        "FLIGHTLINE_LANDING_URI": str(home / "landing"),
        "FLIGHTLINE_LAKEHOUSE_URI": str(home / "lakehouse"),
        "FLIGHTLINE_FEAST_REGISTRY": postgres.url("feast"),
        "FLIGHTLINE_FEAST_ONLINE_STORE": postgres.url("feast"),
        "FEAST_USAGE": "False",
        "MLFLOW_TRACKING_URI": postgres.url("mlflow"),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url("airflow"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.task=INFO flightline=INFO include=INFO",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def where(error: BaseException, *folders: Path) -> str:
    """File and line that an error comes from, the last of them that is in one of the folders; empty if none is."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and any(folder in Path(frame.filename).parents for folder in folders)
    ]
    if not frames:
        return ""
    path = Path(frames[-1].filename)
    return f"{path.relative_to(PROJECT_ROOT) if PROJECT_ROOT in path.parents else path}:{frames[-1].lineno}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dag-test", description=__doc__)
    parser.add_argument("dag", help="verb_noun, or <model>.<verb_noun>")
    parser.add_argument("--model", default="california_housing")
    parser.add_argument("--partition", default="", help="the one after the history (or version 1) by default")
    parser.add_argument("--conf", default="{}", help="parameters of the run, as JSON")
    parser.add_argument("--dags", type=Path, default=PROJECT_ROOT / "dags", help="the folder of the DAGs")
    parser.add_argument("--reset", action="store_true", help="delete what earlier runs left")
    options = parser.parse_args(arguments)
    model, _, verb_noun = options.dag.rpartition(".")
    home = Path(os.environ.get("FLIGHTLINE_VAR", PROJECT_ROOT / "var")).resolve() / "dag-test"
    if options.reset:
        shutil.rmtree(home, ignore_errors=True)
    test = DagTest(model or options.model, home, options.dags.resolve())
    try:
        default = "1" if verb_noun in VERSIONS else test.history[-1].shift(1).key
        step = Step(verb_noun, options.partition or default)
        test.file_of(step)
        conf = _conf(options.conf)
        if verb_noun == "roll_back_model" and step.partition and step.partition.isdigit():
            conf.setdefault("version", int(step.partition))  # its form asks for it: nothing starts it but a person
        with stores(home, test.dags_folder):
            test.play(step, conf)
    except FlightlineError as error:
        print(f"dag-test: {error}", file=sys.stderr)
        return 1
    return 0


def _conf(text: str) -> dict[str, Any]:
    try:
        conf = json.loads(text)
    except json.JSONDecodeError as error:
        conf = error
    if not isinstance(conf, dict):
        raise UsageError(f"{text!r} is no mapping in JSON", where="CONF", fix='Such as {"dry_run": false}, in quotes')
    return conf


if __name__ == "__main__":
    sys.exit(main())
