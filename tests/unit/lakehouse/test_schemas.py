from __future__ import annotations

import pyarrow as pa
import pytest

from include.core import catalogue
from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.lakehouse import schemas
from include.lakehouse.schemas import (
    CLEAN,
    DECISIONS,
    FEATURES,
    LABELS,
    PREDICTIONS,
    QUARANTINE,
    QUARANTINE_LABELS,
    TABLES,
    TRAINING_SETS,
    Table,
)
from include.orchestration.steps import STEPS

SPEC = catalogue.load("california_housing")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.layer)
def test_key_partition_and_layout_are_columns(table: Table) -> None:
    found = table.of(SPEC)
    assert {*found.key, *table.partition, *found.layout} <= set(found.schema.names)
    assert table.promise.endswith(".")
    assert found.name == (table.layer if table.shared else f"{table.layer}_{SPEC.name}")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.layer)
def test_the_writers_are_the_steps_that_say_they_write_it(table: Table) -> None:
    if table is DECISIONS:
        return  # every step that decides writes it
    writes = {name: (*step.writes, *step.records_lookback, *step.writes_if_numbered) for name, step in STEPS.items()}
    steps = {name for name, tables in writes.items() if table in tables and not name.startswith("orchestration.")}
    assert {name.strip() for name in table.writer.split(",")} == steps


def test_features_bring_their_columns() -> None:
    with_income = FEATURES.of(SPEC, {"income": pa.float64()})
    assert set(with_income.schema.names) - set(FEATURES.of(SPEC).schema.names) == {"income"}
    assert SPEC.target not in with_income.schema.names


OF_THE_MODEL = {*SPEC.columns, SPEC.target}


def own_columns(*tables: Table) -> list[str]:
    """The names that the package gives to columns of these tables."""
    return sorted({name for table in tables for name in table.of(SPEC).schema.names} - OF_THE_MODEL)


def altered(**changes: object) -> ModelSpec:
    return ModelSpec.model_validate(SPEC.model_dump() | changes)


@pytest.mark.parametrize("name", own_columns(QUARANTINE, CLEAN))
def test_no_delivered_column_has_the_name_of_one_of_ours(name: str) -> None:
    columns = SPEC.model_dump()["columns"]
    with pytest.raises(ConfigError, match=f"model.yaml: {name}: .*_california_housing has a column of that name"):
        schemas.check(altered(columns=columns | {name: columns["population"]}), {"income": pa.float64()})


@pytest.mark.parametrize("name", own_columns(LABELS, QUARANTINE_LABELS, PREDICTIONS, TRAINING_SETS))
def test_no_key_has(name: str) -> None:
    columns, entity = SPEC.model_dump()["columns"], SPEC.model_dump()["entity"]
    spec = altered(columns=columns | {name: columns["listing_id"]}, entity=entity | {"keys": (name,)})
    with pytest.raises(ConfigError, match=f"model.yaml: {name}: "):
        schemas.check(spec, {"income": pa.float64()})


@pytest.mark.parametrize("name", [*own_columns(LABELS, QUARANTINE_LABELS, TRAINING_SETS), "prediction", "listing_id"])
def test_no_target_has(name: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=name):
        schemas.check(altered(target=name), {"income": pa.float64()})


@pytest.mark.parametrize("name", [*own_columns(FEATURES, TRAINING_SETS), "prediction", "Weight"])
def test_no_feature_has(name: str) -> None:
    with pytest.raises(ConfigError, match=f"features.sql: {name.lower()}: "):
        schemas.check(SPEC, {"income": pa.float64(), name: pa.float64()})


@pytest.mark.parametrize("group", ["ocean_proximity", "listing_id", "northeast"])
def test_rows_may_be_grouped_by_a_column_a_key_or_a_feature(group: str) -> None:
    training = SPEC.model_dump()["training"]
    split = training["split"] | {"kind": "by_group", "group": group}
    features = {name: pa.float64() for name in ("northeast", "ocean_proximity")}
    schemas.check(altered(training=training | {"split": split}), features)
