from __future__ import annotations

from datetime import date
from pathlib import Path

import mlflow
import numpy as np
import pytest

from include.core.errors import DataError
from include.features import query
from include.registry import versions
from include.scoring import batch
from tests.unit.training import world
from tests.unit.training.stage import Scene

DAY = date(2025, 2, 1)


@pytest.fixture
def delivered(tmp_path: Path) -> world.World:
    made = world.make(tmp_path, seed=2)
    made.deliver(DAY, 200)
    # The next day's values of the same keys must not be seen.
    made.rows = made.rows.assign(listing_id=range(1, len(made.rows) + 1))
    made.deliver(date(2025, 2, 2), 200, income_factor=3.0)
    return made


def test_every_accepted_row_is_predicted_once_from_features_of_its_day(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = versions.register(spec, scene.new, scene.new_ref)
    store = delivered.store()
    for run in ("first", "again"):
        counts = batch.score(spec, lake, store, DAY, version.version, run)
        assert counts == batch.ScoreCounts(200, version.version)
    rows = lake.read(spec.table("predictions")).to_pandas()
    assert len(rows) == 200
    assert set(rows["run_id"]) == {"again"}
    assert set(rows["model_version"]) == {version.version}
    assert set(rows["feature_service"]) == {"california_housing_v1"}
    features = query.compute(spec, lake, DAY).to_pandas().set_index("listing_id").loc[rows["listing_id"]]
    expected = mlflow.pyfunc.load_model(version.uri).predict(features[list(scene.new_ref.features)].astype("float64"))
    assert np.allclose(rows["prediction"], expected)


def test_rows_without_features_are_an_error_and_leave_the_old_predictions(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = versions.register(spec, scene.new, scene.new_ref).version
    store = delivered.store()
    batch.score(spec, lake, store, DAY, version, "first")
    clean = lake.read(spec.table("clean"), where=[("batch_date", "=", DAY)]).to_pandas()
    delivered.put("clean", clean.assign(listing_id=clean["listing_id"].where(clean.index > 0, 999_999)), DAY)
    with pytest.raises(DataError, match="1 of 200 rows of 2025-02-01 have no features"):
        batch.score(spec, lake, store, DAY, version, "second")
    assert set(lake.read(spec.table("predictions"))["run_id"].to_pylist()) == {"first"}


def test_a_rejected_day_has_no_predictions(scene: Scene, delivered: world.World) -> None:
    spec, lake = delivered.spec, delivered.lake
    version = versions.register(spec, scene.new, scene.new_ref).version
    store = delivered.store()
    batch.score(spec, lake, store, DAY, version, "first")
    clean = lake.read(spec.table("clean"), where=[("batch_date", "=", DAY)])
    lake.replace_partition(spec.table("clean"), clean.slice(0, 0), {"batch_date": DAY})
    assert batch.score(spec, lake, store, DAY, version, "second").rows == 0
    assert lake.read(spec.table("predictions"), where=[("batch_date", "=", DAY)]).num_rows == 0
