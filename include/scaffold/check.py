"""The whole of a model's folder on a sample, in this process: ``make check-model NAME=sales DATA=sales.csv``.

The steps are those that the DAGs run, in their order, on stores of their own in a temporary folder. The first that
fails ends it.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.core import catalogue
from include.core.errors import DataError, FlightlineError
from include.core.partition import Partition
from include.core.settings import PROJECT_ROOT, Settings
from include.core.spec import ModelSpec
from include.demo.dag_test import where
from include.evaluation import metrics
from include.features import future, query
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.orchestration import models
from include.orchestration.steps import function_of
from include.scaffold import home, sample, windows
from include.scaffold.sample import Sample

TRIALS = 2
Say = Callable[[str], None]


class Problem(Exception):
    """A step did not come through; it has been said."""


@dataclass
class Check:
    """One check of a folder; each step is said as it ends."""

    say: Say
    _notes: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step came through, or what is wrong.

        Raises:
            Problem: it did not.
        """
        began = time.monotonic()
        self._notes = []
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # Feast and hyperopt print
                yield
        except FlightlineError as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001  (whatever stops a step is said as that step's problem)
            place = where(error, PROJECT_ROOT)
            what = f"{place}: {type(error).__name__}: {error}".removeprefix(": ")
            said = f"{what}. That is a mistake of the package, or of code that model.yaml names"
        else:
            self.say(f"ok       {name:<28} {time.monotonic() - began:5.1f} s  {'; '.join(self._notes)}".rstrip())
            return
        self.say(f"problem  {name:<28} {said}")
        raise Problem(name)

    def note(self, text: str) -> None:
        """What came of the step that runs."""
        self._notes.append(text)


def run(name: str, data: str = "", dates: Sequence[str] = (), root: Path = catalogue.MODELS, say: Say = print) -> bool:
    """Check a model's folder; whether every step came through.

    Args:
        data: a file with the columns and the target; what the section replay names by default.
        dates: columns that say when a row was so; as the folder says by default.
    """
    check = Check(say)
    logging.disable(logging.ERROR)  # what they log is said here, a line for each step
    try:
        with ExitStack() as opened:
            folder = opened.enter_context(TemporaryDirectory(prefix="flightline-", ignore_cleanup_errors=True))
            spec = _folder(check, name, root)
            with check.step("data"):
                rows = sample.of(spec, data, dates, Path(folder))
                shares = ", ".join(f"{part.num_rows:,} as {key}" for key, part in rows.parts.items())
                check.note(f"{rows.rows:,} rows of {rows.name}: {shares}")
            with check.step("stores"):
                settings = opened.enter_context(home.stores(Path(folder)))
            _Played(check, _quick(spec), settings, rows).play()
    except Problem:
        return False
    finally:
        logging.disable(logging.NOTSET)
    say(f"{name}: all steps came through. Everything was in a temporary folder, which is gone")
    return True


def _folder(check: Check, name: str, root: Path) -> ModelSpec:
    """What the files alone say."""
    with check.step("model.yaml"):
        spec = catalogue.load(name, root)
        check.note(f"{len(spec.columns)} columns, {spec.task} of {spec.target} by {', '.join(spec.entity.keys)}")
    with check.step("the three files together"):
        models.check(spec)
        check.note(f"{len(query.feature_schema(spec))} features on DuckDB")
    with check.step("features.sql on Spark"):
        query.spark_sql(spec)
        check.note("translated")
    return spec


def _quick(spec: ModelSpec) -> ModelSpec:
    """The same model, with few trials, and no person who is asked."""
    search = spec.training.search.model_copy(update={"trials": TRIALS})
    changed = {
        "training": spec.training.model_copy(update={"search": search}),
        "approval": spec.approval.model_copy(update={"dev": "automatic"}),
    }
    quick = spec.model_copy(update=changed)
    quick._folder = spec.folder
    return quick


@dataclass
class _Played:
    """The steps of the DAGs, on the stores that the environment names."""

    check: Check
    spec: ModelSpec
    settings: Settings
    sample: Sample

    def play(self) -> None:
        self._ingest()
        self._features()
        self._promote(self._train())
        self._score()

    def _ingest(self) -> None:
        with self.check.step("ingestion.validate_batch"):
            verdicts = {}
            for partition in self.sample.parts:
                self.sample.deliver(self.settings, self.spec, partition)
                verdicts[partition] = self._do("ingestion.validate_batch", partition)
            quarantined = sum(verdict.quarantined for verdict in verdicts.values())
            self.check.note(f"{self.sample.rows - quarantined:,} rows accepted, {quarantined:,} quarantined")
            reasons: dict[str, int] = {}
            for partition, verdict in verdicts.items():
                for reason, count in verdict.reasons.items():
                    reasons[reason] = reasons.get(reason, 0) + count
                self._require_accepted(partition, verdict)
            for reason, count in reasons.items():
                self.check.note(f"{reason} {count:,}")
        self._each("ingestion.load_batch")
        with self.check.step("ingestion.load_labels"):
            counts = [self._do("ingestion.load_labels", partition) for partition in self.sample.parts]
            self.check.note(
                f"{sum(count.accepted for count in counts):,} labels, "
                f"{sum(count.quarantined for count in counts):,} quarantined"
            )

    def _require_accepted(self, partition: Partition, verdict: Any) -> None:
        if verdict.outcome is Outcome.REJECT_BATCH:
            counts = ", ".join(f"{reason} {count:,}" for reason, count in verdict.reasons.items())
            raise DataError(
                f"the batch of {partition} is rejected: {', '.join(verdict.batch_reasons)}"
                + (f" ({counts})" if counts else ""),
                where=self.spec.file("expectations.yaml"),
                fix="Mend the rule or ingestion in model.yaml, or the data",
            )

    def _features(self) -> None:
        self._each("features.compute_features")
        with self.check.step("features.sql in time"):
            lake = Lakehouse(self.settings.lakehouse_uri)
            moments = sum(future.check(self.spec, lake, partition) for partition in self.sample.parts)
            self.check.note(f"no later row known, at {moments} moments" if moments else "a partition is of one moment")
        for name in ("materialize_features", "check_skew"):
            self._each(f"features.{name}")

    def _train(self) -> str:
        with self.check.step("training.build_training_set"):
            rows = self._do("training.build_training_set")
            parts = f"{rows.train_rows:,} to train, {rows.validation_rows:,} to tune, {rows.test_rows:,} to test"
            self.check.note(f"{len(rows.features)} features; {parts}")
        fitted = {}
        for name in ("fit_baseline", "fit_tuned"):
            with self.check.step(f"training.{name}"):
                fitted[name] = self._do(f"training.{name}", training_set=rows)
                self.check.note(f"{self.spec.metric} {fitted[name].metrics[self.spec.metric]:.4g}")
        with self.check.step("training.explain_candidate"):
            chosen = self._do("training.choose_candidate", baseline=fitted["fit_baseline"], tuned=fitted["fit_tuned"])
            kept = fitted[f"fit_{chosen}"]
            self._do("training.explain_candidate", kept=kept, training_set=rows)
        with self.check.step("registry.register_candidate"):
            version = self._do("registry.register_candidate", candidate=kept, training_set=rows)
            self.check.note(f"the {chosen} one, by the validation rows")
        return str(version)

    def _promote(self, version: str) -> None:
        for gate in ("staging", "production"):
            with self.check.step(f"registry.check_{gate}"):
                verdict = self._do(f"registry.check_{gate}", version=version)
                if not verdict.passed:
                    raise DataError(
                        " ".join(f"{check.name}: {check.detail}" for check in verdict.failed).removesuffix("."),
                        where=f"{self.spec.file()}: gates.{gate}",
                        fix="Better the features, or ask for less there",
                    )
                self.check.note(" ".join(dict.fromkeys(check.detail for check in verdict.checks[1:])))
                if gate == "staging":
                    self._do("registry.move_to_staging", version=version)
        with self.check.step("registry.promote"):
            self._do("registry.promote", version=version)

    def _score(self) -> None:
        with self.check.step("scoring.score_rows"):
            scored = self._do("scoring.score_rows")
            self.check.note(f"{scored.rows:,} rows predicted")
        with self.check.step("monitoring.measure_window"):
            self._do("monitoring.measure_window")
            self._note_small_windows()

    def _note_small_windows(self) -> None:
        """Say that windows are never judged: the sample's parts are larger than the partitions that will come."""
        rows, n_features = self.sample.usual_rows, len(query.feature_schema(self.spec))
        metric, partitions = metrics.of(self.spec), self.spec.monitoring.window.partitions
        if rows is None or rows * partitions >= metric.least_rows(n_features):
            return
        self.check.note(
            f"but a window of {partitions} x {rows} rows, as a {self.spec.grain} has, is never judged: "
            f"{metric.title} needs {metric.least_rows(n_features)} with {n_features} features. Set "
            f"monitoring.window.partitions to {windows.partitions_needed(metric, n_features, rows)}"
        )

    def _each(self, name: str) -> None:
        """A step of every partition."""
        with self.check.step(name):
            for partition in self.sample.parts:
                self._do(name, partition)

    def _do(self, name: str, partition: Partition | None = None, **refs: Any) -> Any:
        """A step as a job would run it: of a partition, the newest one by default."""
        newest = list(self.sample.parts)[-1]
        about = None if "version" in refs else partition or newest
        run = Run(self.spec, self.settings, Lakehouse(self.settings.lakehouse_uri), "check-model", about)
        return function_of(name)(run, **refs)
