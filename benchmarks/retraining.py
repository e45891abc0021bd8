"""What the retraining policy costs and gains: `make bench BENCH=retraining` (ARGS="--model bike_demand").

The replayed source of a model is taken in partition by partition, and three policies serve it without Airflow: never
train again; train after each partition; the model's own policy. All use the package's functions: validation, features,
split, search, drift, `policy.decide`, and what the production gate asks (the threshold, and surely better than the
version in production). As scheduled, the labels of a partition are known before the next one is scored.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.demo import replay
from include.evaluation import compare, drift, metrics
from include.features import query
from include.ingestion import steps as ingestion
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import FEATURES, LABELS, PARTITION, SPLIT
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import WindowMetrics
from include.monitoring import policy
from include.training import algorithms, search, splits
from include.training.algorithms import Sample
from include.training.places import Mask


@dataclass(frozen=True)
class Candidate:
    """A fitted model, and what a gate asks of it."""

    trained_after: Partition
    model: Any
    split: str
    reference: pd.DataFrame
    """Features of its training set."""
    threshold_metric: float
    seconds: float
    """Of the CPU, that its search and fit took."""


@dataclass
class Course:
    """What one policy did."""

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    """By partition."""
    predictions: list[pd.DataFrame] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    trainings: int = 0
    promotions: int = 0
    seconds: float = 0.0


class Comparison:
    """The rows of a model, and the candidates that can be trained on them."""

    def __init__(self, spec: ModelSpec, rows: pd.DataFrame, partitions: Sequence[Partition]) -> None:
        """Args: rows: key, partition, features and target of all partitions."""
        self.spec, self.rows, self.partitions = spec, rows, partitions
        self.names = list(query.feature_schema(spec))
        self.metric = metrics.of(spec)
        self.candidate = cache(self._candidate)

    def play(self, name: str, asks: Callable[[Candidate, list[WindowMetrics], Course], bool]) -> Course:
        """Serve every partition after the history.

        Args:
            asks: from the version in production, and the windows so far, to whether a training is wanted.
        """
        history = replay.section(self.spec).history_partitions
        course, windows = Course(name), []
        serving = self.candidate(self.partitions[history - 1])
        for partition in self.partitions[history:]:
            windows.append(self._window(serving, partition, course))
            if partition is self.partitions[-1] or not asks(serving, windows, course):
                continue
            candidate = self.candidate(partition)
            course.trainings += 1
            course.seconds += candidate.seconds
            promoted = self._passes(candidate, serving)
            course.promotions += promoted
            course.said[partition.key] = "trained, in production" if promoted else "trained, rejected"
            serving = candidate if promoted else serving
        return course

    def _candidate(self, partition: Partition) -> Candidate:
        spec, began = self.spec, time.process_time()
        known = self.rows[self.rows[PARTITION] <= partition.key].reset_index(drop=True)
        split = splits.hold(spec, self.names, known)
        parts = splits.parts(spec, split, known)

        def sample(chosen: Mask) -> Sample:
            rows = known[chosen]
            return Sample(rows[self.names], rows[spec.target].to_numpy(dtype=np.float64), np.ones(len(rows)))

        folds = splits.search_folds(spec, known.assign(**{SPLIT: parts}))
        found = search.tune(spec, [(sample(fold.fitted), sample(fold.judged)) for fold in folds])
        known_rows = np.isin(parts, (splits.TRAIN, splits.VALIDATION))
        fitted = algorithms.fit(spec, sample(known_rows), dict(found.best.params))
        candidate = Candidate(partition, fitted.model, split, known.loc[parts != splits.LEFT_OUT, self.names], 0.0, 0.0)
        value = self._measure(known[parts == splits.TEST], candidate)
        seconds = time.process_time() - began
        return Candidate(partition, fitted.model, split, candidate.reference, value, seconds)

    def _predict(self, rows: pd.DataFrame, candidate: Candidate) -> metrics.Floats:
        return algorithms.predict(self.spec, self.spec.training.algorithm, candidate.model, rows[self.names])

    def _measure(self, rows: pd.DataFrame, candidate: Candidate) -> float:
        actual = rows[self.spec.target].to_numpy(dtype=np.float64)
        return self.metric.measure(actual, self._predict(rows, candidate), len(self.names))

    def _window(self, serving: Candidate, partition: Partition, course: Course) -> WindowMetrics:
        rows = self.rows[self.rows[PARTITION] == partition.key]
        value = self._measure(rows, serving)
        course.metrics[partition.key] = value
        course.predictions.append(rows[[self.spec.target]].assign(predicted=self._predict(rows, serving)))
        drifted = [
            item.column
            for item in drift.detect(serving.reference, rows[self.names], self.spec.monitoring.drift)
            if item.drifted
        ]
        return WindowMetrics(
            partition,
            serving.trained_after.key,
            rows=len(rows),
            labelled_rows=len(rows),
            metric=value,
            values={self.spec.metric: value},
            drifted_features=tuple(sorted(drifted)),
            prediction_drifted=None,
        )

    def _passes(self, candidate: Candidate, serving: Candidate) -> bool:
        params = {check.check: check.params for check in self.spec.gates.production}
        if not self.metric.clears(candidate.threshold_metric, params["above_threshold"]["threshold"]):
            return False
        known = self.rows[self.rows[PARTITION] <= candidate.trained_after.key]
        both = np.logical_and.reduce([splits.held_out(self.spec, item.split, known) for item in (candidate, serving)])
        rows, count = known[both], len(self.names)
        found = compare.gain(
            self.metric,
            rows[self.spec.target],
            self._predict(rows, candidate),
            self._predict(rows, serving),
            (count, count),
        )
        return found.at_least(1 - params["better_than_production"]["confidence"]) > 0


class OwnPolicy:
    """`policy.decide`, with what it asked for before."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.requests: list[policy.Request] = []

    def __call__(self, serving: Candidate, windows: list[WindowMetrics], course: Course) -> bool:
        *history, window = windows
        at = window.partition.labels_available_at(self.spec.deliveries.label_delay)
        verdict = policy.decide(
            self.spec.monitoring,
            metrics.of(self.spec),
            window,
            production=serving.trained_after.key,
            history=history,
            requests=self.requests,
            at=at,
        )
        course.said[window.partition.key] = ", ".join(verdict.reasons)
        wanted = verdict.outcome is Outcome.REQUEST_RETRAINING
        if wanted:
            self.requests.append(policy.Request(window.partition, at))
        return wanted


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="retraining", description=__doc__)
    parser.add_argument("--model", default="bike_demand", choices=catalogue.registered())
    spec = catalogue.load(parser.parse_args(arguments).model)
    with tempfile.TemporaryDirectory(prefix="flightline-retraining-") as folder:
        source, rows, partitions = _taken_in(spec, Path(folder))
    compared = Comparison(spec, rows, partitions)
    courses = [
        compared.play("never", lambda *_: False),
        compared.play("each", lambda *_: True),
        compared.play("policy", OwnPolicy(spec)),
    ]
    print(f"{spec.name} on {source.origin}: {compared.metric.title} of each {spec.grain}")
    print(_table(spec, courses))
    return 0


def _taken_in(spec: ModelSpec, folder: Path) -> tuple[replay.SourceFile, pd.DataFrame, list[Partition]]:
    """Every partition of the source, through ingestion and features.sql."""
    settings = Settings(landing_uri=str(folder / "landing"), lakehouse_uri=str(folder / "lake"), mlflow_uri="not-asked")
    source, section = replay.fetch(spec, folder / "cache"), replay.section(spec)
    played, lake = replay.Replay(spec, source, section.partitions), Lakehouse(settings.lakehouse_uri)
    first = spec.first_partition
    partitions = list(first.to(first.shift(section.history_partitions - 1 + section.partitions)))
    for number, partition in enumerate(partitions):
        played.deliver_batch(settings, number)
        played.deliver_labels(settings, number)
        run = Run(spec, settings, lake, "bench", partition)
        for step in (ingestion.validate_batch, ingestion.load_batch, ingestion.load_labels):
            step(run)
        query.write(spec, lake, partition)
    named = [*spec.entity.keys, PARTITION]
    features, labels = (lake.read(table.of(spec)).to_pandas() for table in (FEATURES, LABELS))
    rows = features.merge(labels[[*named, spec.target]], on=named)
    rows = rows.sort_values([PARTITION, *spec.entity.keys], ignore_index=True)
    return source, rows.astype(dict.fromkeys(query.feature_schema(spec), "float64")), partitions


def _table(spec: ModelSpec, courses: list[Course]) -> str:
    lines = [f"{spec.grain:<10}" + "".join(f"{course.name:>9}" for course in courses) + "   the policy"]
    for key in courses[0].metrics:
        values = "".join(f"{course.metrics[key]:>9.3f}" for course in courses)
        lines.append(f"{key:<10}{values}   {courses[-1].said.get(key, '')}")
    means = [float(np.mean(list(course.metrics.values()))) for course in courses]
    lines.append(f"{'mean':<10}" + "".join(f"{value:>9.3f}" for value in means))
    pooled = [pd.concat(course.predictions) for course in courses]
    measure, count = metrics.of(spec).measure, len(query.feature_schema(spec))
    over_all = [measure(rows[spec.target].to_numpy(float), rows["predicted"].to_numpy(), count) for rows in pooled]
    lines.append(f"{'all rows':<10}" + "".join(f"{value:>9.3f}" for value in over_all))
    for course in courses:
        lines.append(
            f"{course.name}: {course.trainings} trainings after the first, {course.promotions} of them into "
            f"production, {course.seconds:.0f} CPU s of training"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
