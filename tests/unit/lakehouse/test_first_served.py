"""The first partition that a version was served for, without a look into all that were ever predicted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from include.core import catalogue
from include.core.spec import ModelSpec
from include.lakehouse import predictions
from include.lakehouse.schemas import MODEL_VERSION, PREDICTION, PREDICTIONS, SERVED
from include.lakehouse.tables import Lakehouse
from tests.tables import day, put_predictions

START = day("2025-01-01")


def test_the_first_partition_is_looked_into_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    table = PREDICTIONS.of(spec)
    assert lake.partitions_with(table, [(MODEL_VERSION, "=", "1")]) == []
    assert predictions.first_served_rows(spec, lake, "1", START) is None
    # Version 3 scored what the others served, and is served itself from the sixth on.
    scored = [(place, "1" if place < 3 else "10" if place < 5 else "3", True) for place in range(8)]
    for place, version, served in [*scored, *((place, "3", False) for place in range(5))]:
        rows = pd.DataFrame({"listing_id": [7, 8], PREDICTION: float(place), SERVED: served})
        put_predictions(lake, spec, START.shift(place), version, rows)
    assert lake.partitions_with(table, [(MODEL_VERSION, "=", "3")]) == [START.shift(place).key for place in range(8)]
    assert lake.partitions_with(table, [(MODEL_VERSION, "=", "2")]) == []
    looked: list[str] = []
    served_rows = predictions.served_rows
    monkeypatch.setattr(predictions, "served_rows", lambda *given: looked.append(given[2].key) or served_rows(*given))
    expected = {"1": 0, "10": 3, "3": 5}
    for version, first in expected.items():
        assert places(spec, lake, version) == [first, first]
    assert looked == [START.shift(first).key for first in expected.values()]
    assert predictions.first_served_rows(spec, lake, "3", START.shift(5)) is None
    # A compacted file holds several versions: what it may hold is looked up.
    lake.maintain(table)
    for version, first in expected.items():
        assert places(spec, lake, version) == [first, first]


def places(spec: ModelSpec, lake: Lakehouse, version: str) -> list[float]:
    found = predictions.first_served_rows(spec, lake, version, START.shift(9))
    assert found is not None
    return found[PREDICTION].to_pylist()
