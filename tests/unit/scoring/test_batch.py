from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest

from include.core.errors import DataError
from include.features import query
from include.lakehouse.decisions import Reason
from include.lakehouse.schemas import CLEAN, FEATURES, PREDICTIONS
from include.lakehouse.selection import within
from include.scoring import batch
from include.scoring.choice import Choice
from tests.tables import day, put
from tests.unit.training import world
from tests.unit.training.stage import Scene, register

DAY = day("2025-02-01")


@pytest.fixture
def delivered(tmp_path: Path) -> world.World:
    made = world.make(tmp_path, seed=2)
    made.deliver(DAY, 200)
    # The next day's values of the same keys must not be seen.
    made.rows = made.rows.assign(listing_id=range(1, len(made.rows) + 1))
    made.deliver(DAY.shift(1), 200, income_factor=3.0)
    return made


def score(delivered: world.World, version: str, run_id: str, *, served: bool = True) -> int:
    def choose(_: str | None) -> Choice:
        return Choice(version, served, Reason.IN_PRODUCTION, version)

    _, scored = batch.score(delivered.spec, delivered.lake, delivered.store(), DAY, choose, run_id=run_id)
    return scored.rows


def test_every_accepted_row_is_predicted_once_from_features_of_its_partition(
    scene: Scene, delivered: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = register(spec, lake, scene.new, scene.new_ref)
    assert score(delivered, version.version, "first") == 200
    monkeypatch.setattr("include.lakehouse.scans.STREAM_ROWS", 70)
    assert score(delivered, version.version, "again") == 200
    rows = lake.read(PREDICTIONS.of(spec)).to_pandas()
    assert len(rows) == 200
    assert set(rows["run_id"]) == {"first"}, "what was served stays"
    assert set(rows["features_version"]) == {lake.version(FEATURES.of(spec))}
    assert set(rows["model_version"]) == {version.version}
    assert set(rows["feature_service"]) == {"california_housing_v1"}
    assert set(rows["served"]) == {True}
    features = query.compute(spec, lake, DAY).to_pandas().set_index("listing_id").loc[rows["listing_id"]]
    expected = mlflow.pyfunc.load_model(scene.new.model_uri).predict(
        features[list(scene.new_ref.features)].astype("float64")
    )
    assert np.allclose(rows["prediction"], expected)


def test_versions_stand_beside_each_other(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    old = register(spec, lake, scene.old, scene.old_ref).version
    new = register(spec, lake, scene.new, scene.new_ref).version
    score(delivered, old, "first")
    served = lake.read(PREDICTIONS.of(spec)).to_pandas()
    score(delivered, new, "second", served=False)
    score(delivered, new, "third", served=False)
    rows = lake.read(PREDICTIONS.of(spec)).to_pandas()
    assert rows.groupby(["model_version", "run_id"]).size().to_dict() == {(old, "first"): 200, (new, "third"): 200}
    kept = rows[rows["served"]].sort_values("listing_id", ignore_index=True)
    assert kept.equals(served.sort_values("listing_id", ignore_index=True))


def test_rows_without_features_are_an_error_and_leave_the_old_predictions(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = register(spec, lake, scene.new, scene.new_ref).version
    score(delivered, version, "first")
    clean = lake.read(CLEAN.of(spec), where=within(DAY)).to_pandas()
    clean["listing_id"] = clean["listing_id"].where(clean.index > 0, 999_999)
    put(lake, CLEAN.of(spec), clean, DAY)
    with pytest.raises(DataError, match=r"1 of 200 keys have no features of 2025-02-01.* listing_id 999999"):
        score(delivered, version, "second")
    assert set(lake.read(PREDICTIONS.of(spec))["run_id"].to_pylist()) == {"first"}


def test_a_row_is_not_scored_by_what_its_key_had_in_another_partition(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = register(spec, lake, scene.new, scene.new_ref).version
    features = FEATURES.of(spec, query.feature_schema(spec))
    own = lake.read(FEATURES.of(spec), where=within(DAY), columns=features.schema.names)
    earlier = own.slice(0, 1).to_pandas().assign(event_timestamp=DAY.shift(-1).start)
    put(lake, features, earlier.drop(columns="partition_key"), DAY.shift(-1))
    put(lake, features, own.slice(1).to_pandas().drop(columns="partition_key"), DAY)
    with pytest.raises(DataError, match=r"1 of 200 keys have no features of"):
        score(delivered, version, "first")


def test_a_batch_that_is_withdrawn_was_served_all_the_same(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = register(spec, lake, scene.new, scene.new_ref).version
    score(delivered, version, "first")
    before = lake.read(PREDICTIONS.of(spec), where=within(DAY))
    clean = lake.read(CLEAN.of(spec), where=within(DAY))
    put(lake, CLEAN.of(spec), clean.slice(0, 0), DAY)
    assert score(delivered, version, "second") == 0
    assert lake.read(PREDICTIONS.of(spec), where=within(DAY)).equals(before)
