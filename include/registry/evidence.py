"""What a gate looks at: a candidate's files, and its predictions beside those of the version in production."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureStore
from mlflow.models import Model

from include.core.errors import DataError, TamperedError
from include.core.spec import ModelSpec
from include.evaluation import compare, metrics
from include.evaluation.compare import Gain
from include.evaluation.metrics import Floats, Metric
from include.features import store
from include.lakehouse import alias_history, comparisons
from include.lakehouse.schemas import DRIFTED, SUPERSEDED
from include.lakehouse.tables import Lakehouse
from include.registry import promotion, registration, versions
from include.registry.versions import Predictor, Version
from include.training import floors, training_set


@dataclass(frozen=True)
class Rows:
    """Some rows of a training set, and what to call them in a sentence."""

    frame: pd.DataFrame
    title: str

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Evidence:
    """Of one candidate. What a check asks for is fetched when it is asked for, once."""

    spec: ModelSpec
    lake: Lakehouse
    candidate: Version
    serving: Version | None
    """The version in production; None where there is none."""

    @property
    def in_production(self) -> Version:
        """The version in production.

        Raises:
            DataError: there is none.
        """
        if self.serving is None:
            raise DataError("no version is in production", where=self.spec.name)
        return self.serving

    @cached_property
    def folder(self) -> Path:
        """The candidate's files, as they were registered; errors as `registration.fetch`."""
        return registration.fetch(self.spec, self.lake, self.candidate, Path(self._scratch.name))

    @cached_property
    def refusal(self) -> str | None:
        """Why the candidate is not what was registered; None if it is."""
        try:
            _ = self.folder
        except TamperedError as error:
            return str(error)
        return None

    @cached_property
    def logged(self) -> Model:
        """What the file MLmodel says; nothing of the model itself is loaded."""
        return Model.load(str(self.folder))

    @property
    def example(self) -> pd.DataFrame | None:
        """The input example that was logged with the candidate."""
        found: Any = self.logged.load_input_example(str(self.folder))
        return found if isinstance(found, pd.DataFrame) else None

    def predict(self, rows: pd.DataFrame) -> Floats:
        """The candidate's predictions, one a row, of rows that are its features alone."""
        return self._predict(rows)

    @property
    def metric(self) -> Metric:
        return metrics.of(self.spec)

    @property
    def least_rows(self) -> int:
        """The fewest rows on which the candidate is judged by the metric."""
        return self.metric.least_rows(len(self.candidate.features))

    @property
    def least_rows_of_both(self) -> int:
        serving = self.serving.features if self.serving else ()
        return self.metric.least_rows(max(len(self.candidate.features), len(serving)))

    @cached_property
    def test_rows(self) -> Rows:
        """The rows held out for the candidate, of the newer one of its and the serving version's training set.

        A version of old that asks for promotion again is so judged by what came after it; and none by what was true
        before a concept drift.
        """
        frame = self._training_set
        title = "the test rows since the concept drift" if frame[SUPERSEDED].any() else "all test rows"
        return Rows(test_rows(self.spec, self.candidate, frame), title)

    @cached_property
    def drifted_rows(self) -> Rows:
        """Those of the test rows that are of drifted partitions; none where nothing drifted.

        Where rows of before a concept drift are left out, all others are of the world that a version is for.
        """
        frame = self.test_rows.frame
        if self._training_set[SUPERSEDED].any():
            return self.test_rows
        return Rows(frame[frame[DRIFTED].to_numpy(dtype=np.bool_)], "the test rows of drifted windows")

    @property
    def deciding_rows(self) -> Rows:
        """The test rows that say which of two versions is better: those of drifted partitions, once they suffice."""
        return self.drifted_rows if len(self.drifted_rows) >= self.least_rows else self.test_rows

    @cached_property
    def own_rows(self) -> pd.DataFrame:
        """The candidate's own training set."""
        return stored_rows(self.spec, self.lake, self.candidate)

    @cached_property
    def fitted_rows(self) -> pd.DataFrame:
        """The rows of `test_rows`' training set that the candidate was, or may have been, fitted to."""
        frame = self._training_set
        fitted = ~versions.held_out(self.spec, self.candidate, frame) & ~frame[SUPERSEDED].to_numpy(dtype=np.bool_)
        return frame[fitted]

    @cached_property
    def naive(self) -> float:
        """The one prediction that is best for all of the rows that the candidate was fitted to, by their labels."""
        return metrics.constant(self.spec.task, self.fitted_rows[self.spec.target].to_numpy(dtype=np.float64))

    def predictions_of_linear(self, rows: Rows) -> Floats:
        """What a linear model predicts for them that is fitted to the rows that the candidate was fitted to."""
        version = self.candidate
        return floors.linear(self.spec, self.fitted_rows, rows.frame, version.features, version.categories)

    @cached_property
    def store(self) -> FeatureStore:
        """Feast's, with its registry and its stores."""
        return store.open_store()

    def labels_and_predictions(self, rows: Rows) -> tuple[Floats, Floats]:
        """The labels of rows of its training set, and what the candidate predicts for them."""
        return metrics.pair(rows.frame[self.spec.target], self._predict(rows.frame[list(self.candidate.features)]))

    def predictions_in_production(self, rows: Rows) -> Floats:
        """What the version in production predicts for them."""
        return registration.predict(self.spec, self.lake, self.in_production, rows.frame)

    def measure(self, rows: Rows) -> float:
        """The model's metric of the candidate."""
        return self.metric.measure(*self.labels_and_predictions(rows), len(self.candidate.features))

    def shared_with_production(self, rows: Rows) -> Rows:
        """The rows that were held out for the version in production, too.

        Raises:
            DataError: the rows lack features of that version.
        """
        serving = self.in_production
        if missing := sorted(set(serving.features) - set(rows.frame.columns)):
            raise DataError(f"version {serving.version} cannot be compared: {', '.join(missing)} not stored")
        return Rows(rows.frame[versions.held_out(self.spec, serving, rows.frame)], rows.title)

    @cached_property
    def number(self) -> int:
        """Of the candidate, among those that were compared with the version in production."""
        earlier = comparisons.read(self.spec, self.lake, self.in_production.version)
        return comparisons.number_of(self.candidate.version, ((item.candidate, item.number) for item in earlier))

    @property
    def promoted_at(self) -> datetime:
        """When the version in production came there for the first time, by the clock."""
        periods = alias_history.periods(self.lake, self.spec.name)
        return next(period.valid_from for period in periods if period.version == self.in_production.version)

    def gain_on_production(self, rows: Rows) -> Gain:
        """How much better the candidate is than the version in production."""
        counts = len(self.candidate.features), len(self.in_production.features)
        return compare.gain(
            self.metric, *self.labels_and_predictions(rows), self.predictions_in_production(rows), counts
        )

    def gain_on_linear(self, rows: Rows) -> Gain:
        """How much better the candidate is than a linear model of the same features."""
        counts = (len(self.candidate.features),) * 2
        return compare.gain(self.metric, *self.labels_and_predictions(rows), self.predictions_of_linear(rows), counts)

    def gain_on_constant(self, rows: Rows, value: float) -> Gain:
        """How much better the candidate is than one prediction for all rows."""
        same = np.full(len(rows), value)
        return compare.gain(self.metric, *self.labels_and_predictions(rows), same, (len(self.candidate.features), 0))

    @cached_property
    def _scratch(self) -> TemporaryDirectory[str]:
        return TemporaryDirectory(prefix="flightline-")

    @cached_property
    def _predict(self) -> Predictor:
        return versions.predictor(self.spec, self.candidate, self.folder)

    @cached_property
    def _training_set(self) -> pd.DataFrame:
        if self.serving and self.serving.known_at > self.candidate.known_at:
            newer = stored_rows(self.spec, self.lake, self.serving)
            if set(self.candidate.features) <= set(newer.columns):
                return newer
        return stored_rows(self.spec, self.lake, self.candidate)


def of(spec: ModelSpec, lake: Lakehouse, version: str) -> Evidence:
    """The evidence on a version, beside the one that is in production now.

    Raises:
        DataError: no such version.
    """
    return Evidence(spec, lake, versions.get(spec, version), promotion.in_production(spec, lake))


def test_rows(spec: ModelSpec, version: Version, rows: pd.DataFrame) -> pd.DataFrame:
    """Those of a training set that a version is judged by: held out for it, and of before no concept drift."""
    superseded = rows[SUPERSEDED].to_numpy(dtype=np.bool_)
    return rows[versions.held_out(spec, version, rows) & ~superseded]


def stored_rows(spec: ModelSpec, lake: Lakehouse, version: Version) -> pd.DataFrame:
    """The training set of a version, as it was when it was fitted."""
    columns = training_set.columns(spec, version.features, version.tag("split"))
    table_version = int(version.tag("training_set.version"))
    return training_set.stored(spec, lake, version.tag("training_set"), table_version, columns)
