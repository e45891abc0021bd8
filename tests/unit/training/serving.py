"""Versions that serve: one that learned from true prices, one that learned from false ones, and days after them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.lakehouse import alias_history
from include.lakehouse.run import Run
from include.lakehouse.schemas import PREDICTION, SERVED
from include.lakehouse.tables import Lakehouse
from include.registry import promotion, reference_profile, registration, versions
from include.training import candidate, training_set
from tests.tables import day, put_predictions
from tests.unit.training import world
from tests.unit.training.stage import Scene, register

GOOD, BAD = "1", "2"
"""The versions' numbers: BAD learned from a second day on which all prices were 3 times as high."""
SECOND = day("2025-01-02")
DAYS = tuple(day(f"2025-01-{number:02}") for number in range(6, 11))
ROWS = 300
_FOLDER = TemporaryDirectory(prefix="flightline-serving-", ignore_cleanup_errors=True)


@dataclass(frozen=True)
class Serving:
    """A model with both versions registered, neither in production; the days are delivered, with labels."""

    scene: Scene

    @property
    def spec(self) -> ModelSpec:
        return self.scene.world.spec

    def run(self, partition: Partition | None = None, run_id: str = "run", **rule: Any) -> Run:
        """A run of a partition, with another rule of probation."""
        spec = self.spec.model_copy(update={"probation": self.spec.probation.model_copy(update=rule)})
        spec._folder = self.spec.folder
        return Run(spec, Settings(), self.scene.world.lake, run_id, partition)

    def promote(self, *numbers: str) -> None:
        for number in numbers:
            promotion.put_in_production(self.spec, self.scene.world.lake, number, f"promotion of {number}")

    def periods(self) -> list[str]:
        """The versions that were in production, oldest first; the last one is."""
        found = alias_history.periods(self.scene.world.lake, self.spec.name)
        assert [item.valid_to is None for item in found] == [False] * (len(found) - 1) + [True], "one is in production"
        return [item.version for item in found]

    def serve(self, partition: Partition, version: str) -> None:
        """Write what a version predicts for a day."""
        lake, found = self.scene.world.lake, versions.get(self.spec, version)
        rows = lake.read(self.spec.table("features"), where=[("partition_key", "=", partition.key)]).to_pandas()
        predicted = registration.predict(self.spec, lake, found, rows)
        keyed = rows[["listing_id"]].assign(**{PREDICTION: predicted, SERVED: True})
        put_predictions(lake, self.spec, partition, version, keyed)


def serving(name: str, folder: Path) -> Serving:
    """The versions under a registered model of another name, and tables in a folder: tests do not meet."""
    shared = _shared()
    shutil.copytree(shared.world.folder / "lakehouse", folder / "lakehouse")
    own = replace(shared.world, lake=Lakehouse(str(folder / "lakehouse")))
    made = Serving(replace(shared, world=own).own(name))
    for run, ref in ((shared.old, shared.old_ref), (shared.new, shared.new_ref)):
        version = register(made.spec, made.scene.world.lake, run, ref)
        reference_profile.record(made.spec, made.scene.world.lake, version)
    return made


@cache
def _shared() -> Scene:
    made = world.make(Path(_FOLDER.name) / "world", seed=5)
    made.deliver(world.HISTORY, 3000)
    made.deliver(SECOND, 3000, price_factor=3.0)
    for partition in DAYS:
        made.deliver(partition, ROWS)
    store = made.store()
    refs = [training_set.build(made.spec, made.lake, store, on) for on in (world.HISTORY, SECOND)]
    good, bad = (candidate.fit_baseline(made.spec, made.lake, ref, f"run-{ref.last_partition}") for ref in refs)
    return Scene(made, *refs, good, good, bad)
