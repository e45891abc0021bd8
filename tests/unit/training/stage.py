"""Fixtures that share one world with two fitted candidates: history, then three days with raised incomes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pytest
from feast import FeatureStore
from mlflow import MlflowClient
from sqlalchemy import Engine, event

from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.features import store
from include.lakehouse.run import Run
from include.lakehouse.schemas import COMPARISON, ModelTable
from include.lakehouse.tables import Lakehouse
from include.registry import registration
from include.registry.versions import Version
from include.training import candidate, tracking, training_set
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef
from tests.tables import day
from tests.unit.training import world
from tests.unit.training.world import World

DAYS = tuple(day(f"2025-01-0{number}") for number in (2, 3, 4))
_FOLDER = TemporaryDirectory(prefix="flightline-test-", ignore_cleanup_errors=True)


@dataclass(frozen=True)
class Scene:
    """``old`` was fitted to the history, ``new`` to the history and three drifted days."""

    world: World
    old_ref: TrainingSetRef
    new_ref: TrainingSetRef
    old: RunRef
    tuned: RunRef
    new: RunRef

    def own(self, name: str) -> Scene:
        """The same data and runs under a registered model of another name, so that tests do not meet."""
        gates = self.world.spec.gates
        # features.sql names the table of the first model: what it reads cannot be asked of another one.
        staging = tuple(item for item in gates.staging if item.check != "no_personal_features")
        gates = gates.model_copy(update={"staging": staging})
        spec = self.world.spec.model_copy(update={"name": name, "gates": gates})
        spec._folder = self.world.spec.folder
        return replace(self, world=_OwnTables(self.world, spec))


class _OwnTables(World):
    """Tables of the first model under another model's name."""

    def __init__(self, source: World, spec: object) -> None:
        self.__dict__.update(source.__dict__)
        self.spec = spec  # type: ignore[assignment]
        self.lake = _Renamed(source.lake, source.spec.name, spec.name)  # type: ignore[attr-defined]


class _Renamed:
    """A lakehouse in which the tables of one model are also found under another name."""

    def __init__(self, lake: object, shared: str, name: str) -> None:
        self._lake, self._shared, self._name = lake, shared, name

    def __getattr__(self, attribute: str) -> object:
        call = getattr(self._lake, attribute)

        def renamed(table: ModelTable | str, *args: object, **kwargs: object) -> object:
            name = table if isinstance(table, str) else table.name
            if not name.startswith(COMPARISON.layer):  # its numbers are each model's own
                name = name.replace(f"_{self._name}", f"_{self._shared}")
            return call(name if isinstance(table, str) else replace(table, name=name), *args, **kwargs)

        return renamed


def register(spec: ModelSpec, lake: Lakehouse, run: RunRef, ref: TrainingSetRef) -> Version:
    tracking.record_fitted(spec, lake, ref, run, "fitted")  # as if it were of this model, in this lakehouse
    return registration.register(Run(spec, Settings(), lake, "registration"), run, ref)


@pytest.fixture(autouse=True)
def mlflow_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One MLflow database for the process: making it takes longer than any test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _tracking_uri())
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    yield
    while mlflow.active_run():
        mlflow.end_run("KILLED")


@pytest.fixture
def scene(mlflow_store: None, monkeypatch: pytest.MonkeyPatch) -> Scene:
    found = _scene()
    monkeypatch.setattr(store, "open_store", _store)
    return found


@cache
def _store() -> FeatureStore:
    return _scene().world.store()


@event.listens_for(Engine, "connect")
def _forget_safety(connection: object, _: object) -> None:
    """Do not wait for the disk: nothing of a test has to survive a crash of the machine."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")


@cache
def _tracking_uri() -> str:
    uri = f"sqlite:///{_FOLDER.name}/mlflow.db"
    client = MlflowClient(uri)
    for name in ("california_housing", "bike_demand", "scratch"):
        client.create_experiment(f"{name}/training", artifact_location=f"{_FOLDER.name}/artifacts")
    return uri


@cache
def _scene() -> Scene:
    assert os.environ["MLFLOW_TRACKING_URI"] == _tracking_uri()
    made = world.make(Path(_FOLDER.name) / "world")
    made.deliver(world.HISTORY, 9000)
    for partition in DAYS:
        made.deliver(partition, 1200, income_factor=1.5)
    store = made.store()
    old_ref = training_set.build(made.spec, made.lake, store, world.HISTORY)
    new_ref = training_set.build(made.spec, made.lake, store, DAYS[-1])
    return Scene(
        world=made,
        old_ref=old_ref,
        new_ref=new_ref,
        old=candidate.fit_baseline(made.spec, made.lake, old_ref, "run-old"),
        tuned=candidate.fit_tuned(made.spec, made.lake, old_ref, "run-old"),
        new=candidate.fit_baseline(made.spec, made.lake, new_ref, "run-new"),
    )
