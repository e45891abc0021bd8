"""Scoring by key, through our own offline and online stores on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.core.errors import DataError
from include.features import query
from include.features import store as feature_store
from include.lakehouse.schemas import FEATURES
from include.lakehouse.selection import within
from include.registry import saved_dataset
from include.scoring import feature_lookup
from include.training import training_set
from tests.stores import on_one_store
from tests.tables import day, put
from tests.unit.training import world
from tests.unit.training.stage import Scene, register

pytestmark = pytest.mark.slow

DAY = day("2025-02-01")
AS_OF = datetime(2025, 2, 1, 12, tzinfo=UTC)


def listings(*keys: int) -> pd.DataFrame:
    return pd.DataFrame({"listing_id": pd.Series(keys, dtype="int64")})


OPEN_STORE = feature_store.open_store
"""Before the scene, whose repository is another one, takes its place."""


@pytest.fixture
def delivered(tmp_path: Path) -> world.World:
    made = world.make(tmp_path, seed=2)
    made.deliver(DAY, 40)
    made.rows = made.rows.assign(listing_id=range(10_001, 10_001 + len(made.rows)))
    made.deliver(DAY.shift(1), 40, income_factor=3.0)
    return made


@pytest.fixture
def store(feast_addresses, delivered, monkeypatch):
    lakehouse = str(delivered.folder / "lakehouse")
    for name, value in {
        "FLIGHTLINE_LAKEHOUSE_URI": lakehouse,
        **feast_addresses,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(feature_store, "open_store", OPEN_STORE)
    opened = OPEN_STORE()
    feature_store.apply(opened, delivered.spec)
    feature_store.materialize(opened, delivered.spec, DAY)
    return opened


def test_predictions_are_those_of_the_features_and_the_same_offline_and_online(scene: Scene, delivered, store) -> None:
    spec = delivered.spec
    version = register(spec, delivered.lake, scene.new, scene.new_ref)
    features = query.compute(spec, delivered.lake, DAY).to_pandas().set_index("listing_id")
    keys = [int(key) for key in features.index[[3, 1, 3]]]
    expected = mlflow.pyfunc.load_model(scene.new.model_uri).predict(
        features.loc[keys, list(scene.new_ref.features)].astype("float64")
    )
    asked = listings(*keys)
    found = feature_lookup.score(spec, delivered.lake, store, version.version, asked, AS_OF)
    assert found["listing_id"].tolist() == keys
    assert np.allclose(found["prediction"], expected)
    assert set(found["model_version"]) == {version.version}
    keyed = feature_lookup.load(spec, delivered.lake, store, version.version)
    assert np.allclose(keyed.score_online(asked, AS_OF), expected)
    assert np.allclose(keyed.score_online(asked[:1], AS_OF), expected[:1])
    berlin = datetime.fromisoformat("2025-02-01T13:00:00+01:00")
    assert np.allclose(keyed.score(asked, berlin), expected)
    assert len(keyed.score(listings(), AS_OF)) == len(keyed.score_online(listings(), AS_OF)) == 0


@on_one_store
def test_what_cannot_be_scored_is_said(scene: Scene, delivered, store) -> None:
    spec = delivered.spec
    keyed = feature_lookup.load(
        spec, delivered.lake, store, register(spec, delivered.lake, scene.new, scene.new_ref).version
    )
    key = int(delivered.lake.read(FEATURES.of(spec), where=within(DAY))["listing_id"][0].as_py())
    known, unknown = listings(key), listings(key, 77_777_777)
    with pytest.raises(DataError, match=r"1 of 2 keys have no features by 2025-02-01T12:.* listing_id 77"):
        keyed.score(unknown, AS_OF)
    with pytest.raises(DataError, match="1 of 1 keys have no features by"):
        keyed.score(known, AS_OF - timedelta(days=1))  # before its first feature
    with pytest.raises(DataError, match="1 of 2 keys have no features online at"):
        keyed.score_online(unknown, AS_OF)
    late = AS_OF + timedelta(days=spec.features.ttl_days)
    for score in (keyed.score, keyed.score_online):  # beyond the time to live, in both stores
        with pytest.raises(DataError, match="have no features"):
            score(known, late)
        with pytest.raises(DataError, match="has no time zone"):
            score(known, AS_OF.replace(tzinfo=None))


@on_one_store
def test_a_row_of_features_that_are_all_null_is_predicted_the_same_offline_and_online(
    scene: Scene, delivered, store
) -> None:
    """As those are that look back, where nothing was before."""
    spec, lake = delivered.spec, delivered.lake
    version = register(spec, lake, scene.new, scene.new_ref)
    table, kinds = lake.read(FEATURES.of(spec), where=within(DAY)), query.feature_schema(spec)
    nulls = table.slice(0, 1).drop_columns(list(kinds))
    nulls_and_rows = pa.concat_tables([nulls, table.slice(1)], promote_options="default")
    put(lake, FEATURES.of(spec, kinds), nulls_and_rows, DAY)
    rows = nulls_and_rows.to_pandas()
    feature_store.materialize(store, spec, DAY)
    asked = listings(*(int(key) for key in rows["listing_id"][[1, 0]]))
    keyed = feature_lookup.load(spec, lake, store, version.version)
    expected = keyed.predict(rows.loc[[1, 0], list(scene.new_ref.features)].astype("float64"))
    for moment in (AS_OF, AS_OF + timedelta(days=1)):  # also when the newest partition does not have the key
        assert np.allclose(keyed.score(asked, moment), expected)
        assert np.allclose(keyed.score_online(asked, moment), expected)
    with pytest.raises(DataError, match=r"1 of 3 keys have no features by .* listing_id 77777777"):
        keyed.score(pd.concat([asked, listings(77_777_777)], ignore_index=True), AS_OF)


@on_one_store
def test_a_feature_renamed_since_the_version_was_fitted_is_named(scene: Scene, delivered, store, tmp_path) -> None:
    spec = delivered.spec
    version = register(spec, delivered.lake, scene.new, scene.new_ref).version
    renamed = spec.model_copy(update={"features": spec.features.model_copy(update={"descriptions": {}})})
    renamed._folder = tmp_path
    sql = (spec.folder / "features.sql").read_text()
    (tmp_path / "features.sql").write_text(sql.replace("    median_income,", "    median_income AS income,"))
    feature_store.apply(store, renamed)
    keyed = feature_lookup.load(renamed, delivered.lake, store, version)
    said = "was fitted to median_income, which california_housing_v1 does not serve"
    for look_up in (keyed.score, keyed.score_online):
        with pytest.raises(DataError, match=said):
            look_up(listings(1), AS_OF)


@on_one_store
def test_lineage_is_in_mlflow_and_in_feast(scene: Scene, delivered, store) -> None:
    spec, ref = delivered.spec, scene.new_ref
    version = register(spec, delivered.lake, scene.new, ref)
    table = ref.data_version.split()[0]
    assert table.startswith("features_california_housing@")
    assert (version.tag("feature_table"), version.tag("feature_service")) == (table, "california_housing_v1")
    for _ in range(2):
        saved_dataset.record(store, spec, version, ref)
    (found,) = store.registry.list_saved_datasets(store.project)
    assert found.name == f"california_housing_version_{version.version}"
    assert found.feature_service_name == "california_housing_v1"
    assert found.tags["feature_table"] == table
    assert found.tags["training_set.table"] == f"training_sets_california_housing@{ref.table_version}"
    assert found.tags["mlflow.run_id"] == scene.new.mlflow_run_id
    assert len(found.features) == len(ref.features)
    view = store.get_feature_view("california_housing_features")
    assert view.tags["source.table"] == spec.table("features")


@pytest.mark.filterwarnings("ignore:Retrieving datasets is an experimental feature:RuntimeWarning")
@on_one_store
def test_feast_reads_the_rows_that_a_version_was_fitted_to(scene: Scene, store, monkeypatch) -> None:
    monkeypatch.setattr(store.config.offline_store, "lakehouse_uri", str(scene.world.folder / "lakehouse"))
    for ref, run in ((scene.old_ref, scene.old), (scene.new_ref, scene.new)):
        dataset = saved_dataset.record(
            store, scene.world.spec, register(scene.world.spec, scene.world.lake, run, ref), ref
        )
        rows = store.get_saved_dataset(dataset.name).to_df()
        fitted = training_set.read(scene.world.spec, scene.world.lake, ref)
        assert sorted(rows["listing_id"]) == sorted(fitted["listing_id"])
        assert set(rows.columns) == {"listing_id", "event_timestamp", *ref.features}
