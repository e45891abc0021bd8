"""Prices rise by half, and no feature says so: from the first worse day to a version that is right again.

With the package's own steps on real tables and a real registry; nothing of Airflow.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from include.core.partition import Partition
from include.core.settings import Settings
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from include.lakehouse.windows import WindowMetrics
from include.monitoring import steps
from include.registry import promotion, reference_profile, registration
from include.registry.versions import Version
from include.training import candidate, training_set
from tests.tables import put_predictions
from tests.unit.registry.cases import ask
from tests.unit.training import world
from tests.unit.training.stage import mlflow_store, register
from tests.unit.training.world import HISTORY, World

pytestmark = pytest.mark.slow

__all__ = ["mlflow_store"]
DAY_ROWS = 413
WORSE = tuple(HISTORY.shift(number) for number in (1, 2, 3))


class Life:
    """A model's days, one after the other."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.spec, self.lake = made.spec, made.lake

    def train(self, partition: Partition) -> Version:
        ref = training_set.build(self.spec, self.lake, self.made.store(), partition)
        fitted = candidate.fit_baseline(self.spec, self.lake, ref, f"run-{partition.key}")
        version = register(self.spec, self.lake, fitted, ref)
        reference_profile.record(self.spec, self.lake, version)
        return version

    def serve(self, partition: Partition, version: Version, *, price_factor: float) -> tuple[WindowMetrics, Outcome]:
        """A day is delivered, scored, labelled, measured and decided on."""
        batch = self.made.deliver(partition, DAY_ROWS, price_factor=price_factor)
        features = self.lake.read(self.spec.table("features")).to_pandas()
        rows = features[features["listing_id"].isin(batch["listing_id"])]
        predicted = registration.predict(self.spec, self.lake, version, rows)
        said = rows[["listing_id"]].assign(prediction=predicted, served=True)
        put_predictions(self.lake, self.spec, partition, version.version, said)
        run = Run(self.spec, Settings(environment="dev"), self.lake, "run", partition)
        measured = steps.measure_window(run)
        return measured, steps.decide(run).outcome


@pytest.fixture
def life(tmp_path: Path, mlflow_store: None) -> Life:
    made = world.make(tmp_path)
    made.deliver(HISTORY, 9000)
    return Life(made)


def test_a_version_is_right_again_within_four_days(life: Life) -> None:
    first = life.train(HISTORY)
    promotion.put_in_production(life.spec, life.lake, first.version, "d1")
    served = [life.serve(day, first, price_factor=1.5) for day in WORSE]
    assert [outcome for _, outcome in served] == [
        Outcome.RECORD_DRIFT,
        Outcome.REQUEST_RETRAINING,
        Outcome.REQUEST_RETRAINING,
    ]
    for window, _ in served:
        assert window.concept_drifted
        assert not window.drifted_features
    second = life.train(WORSE[2])
    verdict = ask(life.spec, life.lake, "production", second.version)
    assert verdict.passed, [check.detail for check in verdict.failed]
    promotion.put_in_production(life.spec, life.lake, second.version, "d2")
    window, outcome = life.serve(WORSE[2].shift(1), second, price_factor=1.5)
    assert window.metric is not None
    assert window.metric > 0.75
    assert outcome is Outcome.NO_ACTION
