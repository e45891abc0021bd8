"""A model in a place of its own, in which each part of its release can be made another one."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mlflow import MlflowClient

from include.core.release import ReleasePart
from include.core.spec import ModelSpec
from include.lakehouse.run import Run
from include.lakehouse.schemas import MODEL_VERSION, REFERENCE_PROFILES, TRAINING_SET, TRAINING_SETS
from include.lakehouse.tables import Lakehouse
from include.registry import release, steps
from tests.unit.registry.cases import registered
from tests.unit.training.stage import Scene
from tests.unit.training.world import World

CODE = {
    "dags/score_batch.py": "'''Scores.'''\n",
    "plugins/flightline/links.py": "LINKS = 1\n",
    "include/core/errors.py": "class FlightlineError(Exception): ...\n",
    "include/models/other/model.yaml": "name: other\n",
}


@dataclass(frozen=True)
class Place:
    """Where the parts of version 1 lie."""

    run: Run
    code: Path
    packages: Path
    world: World

    @property
    def spec(self) -> ModelSpec:
        return self.run.spec

    @property
    def artifacts(self) -> Path:
        return Path(urlsplit(MlflowClient().get_model_version_download_uri(self.spec.name, "1")).path)

    def edit(self, file: str, old: str, new: str) -> None:
        """A file of the model's folder."""
        path = self.spec.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def through_the_gates(self) -> None:
        assert steps.check_staging(self.run, "1").passed
        assert steps.check_production(self.run, "1").passed

    def promote(self) -> None:
        self.through_the_gates()
        assert steps.promote(self.run, "1").changed


@contextmanager
def place(scene: Scene, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """What a change does to the model's files is undone, for all tests share them."""
    lake = Lakehouse(str(shutil.copytree(scene.world.folder / "lakehouse", folder / "lakehouse")))
    world = World(scene.world.spec, lake, folder, scene.world.rows)
    run = registered(replace(scene, world=world), name)
    run.spec._folder = shutil.copytree(run.spec.folder, folder / "models" / run.spec.name)
    code, packages = folder / "code", folder / "packages"
    for file, text in CODE.items():
        (code / file).parent.mkdir(parents=True, exist_ok=True)
        (code / file).write_text(text)
    (packages / "a_forest-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setattr(release, "CODE", code)
    monkeypatch.syspath_prepend(str(packages))
    steps.record_profile(run, "1")
    made = Place(run, code, packages, world)
    kept = shutil.copytree(made.artifacts, folder / "kept")
    artifacts = made.artifacts
    try:
        yield made
    finally:
        shutil.rmtree(artifacts)
        shutil.copytree(kept, artifacts)


def other_model_files(at: Place) -> None:
    file = at.artifacts / "requirements.txt"
    file.write_text(file.read_text().replace("lightgbm==", "lightgbm==9"))


def other_features(at: Place) -> None:
    at.edit("features.sql", "total_rooms / households", "total_rooms / (households + 1)")


def other_rows_of_the_training_set(at: Place) -> None:
    """At the same number: the table was removed, and made anew."""
    root, table = str(at.world.folder / "lakehouse"), TRAINING_SETS.of(at.world.spec)
    before = Lakehouse(root)
    last, rows = before.version(table), before.read(table)
    shutil.rmtree(before.uri(table))
    made = Lakehouse(root)
    features = {name: pa.float64() for name in rows.column_names if name not in table.schema.names}
    table, own = TRAINING_SETS.of(at.world.spec, features), rows
    for key in itertools.islice(itertools.cycle(pc.unique(rows[TRAINING_SET]).to_pylist()), last + 1):
        made.replace(table, own.filter(pc.equal(own[TRAINING_SET], key)).slice(1), {TRAINING_SET: key})


def other_profile(at: Place) -> None:
    table = REFERENCE_PROFILES.of(at.spec)
    rows = at.run.lake.read(table, where=[(MODEL_VERSION, "=", "1")]).to_pylist()
    for row in rows:
        if row["column"] == "median_income":
            row["quantiles"] = [2 * value for value in row["quantiles"]]
    at.run.lake.replace(table, pa.Table.from_pylist(rows, schema=table.schema), {MODEL_VERSION: "1"})


def other_expectations(at: Place) -> None:
    at.edit("expectations.yaml", "min_value: -124.5", "min_value: -125.5")


def other_package(at: Place) -> None:
    (at.packages / "a_forest-1.0.dist-info").rename(at.packages / "a_forest-1.1.dist-info")


def other_dag(at: Place) -> None:
    (at.code / "dags" / "score_batch.py").write_text("'''Scores otherwise.'''\n")


CHANGES: Mapping[ReleasePart, tuple[Callable[[Place], None], str]] = {
    ReleasePart.FEATURE_SERVICE: (other_features, r"feature service \(rooms_per_household\)"),
    ReleasePart.DATA_VERSIONS: (
        other_rows_of_the_training_set,
        r"data versions \(files of training_sets_\w+\)",
    ),
    ReleasePart.REFERENCE_PROFILE: (other_profile, r"reference profile \(median_income\)"),
    ReleasePart.EXPECTATION_SUITE: (other_expectations, r"expectation suite \(expectations\.yaml expectations\)"),
    ReleasePart.ENVIRONMENT_LOCK: (other_package, r"environment lock \(a-forest 1\.0, now 1\.1\)"),
    ReleasePart.DAG_BUNDLE: (other_dag, r"DAG bundle \(dags/score_batch\.py\)"),
}
"""Of each part but the model's files, whose change is a `TamperedError`: what changes it, and what is said then."""
