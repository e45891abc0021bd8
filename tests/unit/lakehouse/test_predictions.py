from __future__ import annotations

from pathlib import Path

import pandas as pd

from include.core import catalogue
from include.lakehouse import predictions
from include.lakehouse.schemas import FEATURES_VERSION, MODEL_VERSION, PREDICTION, SERVED
from include.lakehouse.tables import Lakehouse
from tests.tables import day, put_predictions

DAY = day("2025-01-05")


def test_rows_beside_those_that_were_served(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    assert predictions.served_rows(spec, lake, DAY) is None
    assert predictions.served_version(spec, lake, DAY) is None
    for version, served in (("1", True), ("3", False)):
        rows = pd.DataFrame({"listing_id": [7, 8], PREDICTION: [1.0, float(version)], SERVED: served})
        put_predictions(lake, spec, DAY, version, rows)
    assert predictions.served_version(spec, lake, DAY) == "1"
    served = predictions.served_rows(spec, lake, DAY)
    assert served is not None
    assert served.column_names == ["listing_id", PREDICTION, MODEL_VERSION, FEATURES_VERSION]
    assert served.drop_columns([FEATURES_VERSION]).to_pylist() == [
        {"listing_id": 7, PREDICTION: 1.0, MODEL_VERSION: "1"},
        {"listing_id": 8, PREDICTION: 1.0, MODEL_VERSION: "1"},
    ]
    beside = predictions.rows_of(spec, lake, DAY, "3")
    assert beside is not None
    assert beside[PREDICTION].to_pylist() == [1.0, 3.0]
    assert predictions.rows_of(spec, lake, DAY, "2") is None
    assert predictions.served_rows(spec, lake, DAY.shift(1)) is None
