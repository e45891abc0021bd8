"""Who opens a table reads few commits, however many there were."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from include.core import catalogue
from include.lakehouse.schemas import PREDICTIONS
from include.lakehouse.tables import CHECKPOINT_COMMITS, Lakehouse
from tests.tables import day, put


def test_a_table_is_checkpointed_every_few_commits(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    table = PREDICTIONS.of(spec)
    rows = pd.DataFrame({"listing_id": [7], "prediction": [1.0], "served": True})
    for number in range(2 * CHECKPOINT_COMMITS):
        put(lake, table, rows, {"partition_key": day("2025-01-01").shift(number).key, "model_version": "1"})
    written = list((tmp_path / table.name / "_delta_log").glob("*.checkpoint.parquet"))
    assert len(written) == 2
    assert lake.count(table) == 2 * CHECKPOINT_COMMITS
