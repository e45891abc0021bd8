"""A small lakehouse, models made from text, and a feature store on the session's servers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from include.core import catalogue
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import query
from include.features import store as feature_store
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP
from include.lakehouse.tables import Lakehouse
from tests.tables import day, put

DAY = day("2025-01-02")
SQL = """
SELECT listing_id, event_timestamp, median_income, total_rooms / households AS rooms_per_household,
       CASE WHEN ocean_proximity = 'INLAND' THEN 1 ELSE 0 END AS inland
FROM clean_california_housing
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., ModelSpec]:
    """Return a function that makes a model: california_housing with other SQL and lines of model.yaml.

    Args of it:
        categories: the section of that name, of features; none by default.
    """

    def make(sql: str = SQL, *, name: str = "california_housing", categories: str = "", **replaced: str) -> ModelSpec:
        root = tmp_path / f"models_{len(list(tmp_path.iterdir()))}"
        shutil.copytree(catalogue.MODELS / "california_housing", root / name)
        text = (root / name / "model.yaml").read_text()
        start, end = text.index("  categories:"), text.index("\ntraining:")
        text = text[:start] + (f"  categories: {categories}\n" if categories else "") + text[end:]
        for old, new in {"name: california_housing\n": f"name: {name}\n", **replaced}.items():
            assert old in text
            text = text.replace(old, new, 1)
        (root / name / "model.yaml").write_text(text)
        (root / name / "features.sql").write_text(sql.replace("clean_california_housing", f"clean_{name}"))
        return catalogue.load(name, root)

    return make


@pytest.fixture
def spec(make_spec: Callable[..., ModelSpec]) -> ModelSpec:
    return make_spec()


@pytest.fixture
def put_clean(lake: Lakehouse) -> Callable[..., None]:
    """Return a function that makes clean rows of a day: one for each key, with columns replaced."""

    def make(spec: ModelSpec, keys: list[int], partition: Partition = DAY, **columns: list[object]) -> None:
        table = CLEAN.of(spec)
        fills = {name: "INLAND" if column.type == "text" else 2 for name, column in spec.columns.items()}
        values = {name: columns.get(name, [fill] * len(keys)) for name, fill in fills.items()}
        values |= {spec.entity.keys[0]: keys, EVENT_TIMESTAMP: [partition.start] * len(keys)}
        rows = pa.table({name: pa.array(cells, table.schema.field(name).type) for name, cells in values.items()})
        put(lake, table, rows, partition)

    return make


@pytest.fixture
def feast_environment(feast_addresses: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of feature_store.yaml: empty stores and the lakehouse of ``lake``. On each online store."""
    folder = str(tmp_path / "lake")
    for name, value in {
        "FLIGHTLINE_LAKEHOUSE_URI": folder,
        "FLIGHTLINE_LANDING_URI": folder,
        "MLFLOW_TRACKING_URI": folder,
        **feast_addresses,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(feast_environment):
    return feature_store.open_store()


@pytest.fixture
def build(store, spec, lake, put_clean):
    """Return a function that brings one day online: rows of the given keys, all with one income."""
    feature_store.apply(store, spec)

    def build(partition, keys, income, *, materialize=True):
        put_clean(spec, keys, partition, median_income=[income] * len(keys))
        query.write(spec, lake, partition)
        if materialize:
            feature_store.materialize(store, spec, partition)

    return build
