from __future__ import annotations

import pyarrow as pa
import pytest

from include.core import catalogue
from include.lakehouse.schemas import DECISIONS, FEATURES, TABLES, Table
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
    steps = {name for name, step in STEPS.items() if table in step.writes and not name.startswith("orchestration.")}
    assert {name.strip() for name in table.writer.split(",")} == steps


def test_features_bring_their_columns() -> None:
    with_income = FEATURES.of(SPEC, {"income": pa.float64()})
    assert set(with_income.schema.names) - set(FEATURES.of(SPEC).schema.names) == {"income"}
    assert SPEC.target not in with_income.schema.names
