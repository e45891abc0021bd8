"""Who opens a table reads few commits, however many there were."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd

from include.core import catalogue
from include.lakehouse.schemas import PREDICTIONS
from include.lakehouse.tables import CHECKPOINT_COMMITS, Lakehouse
from tests.tables import day, put

ROWS = pd.DataFrame({"listing_id": [7], "prediction": [1.0], "model_version": "1", "served": True})
DAYS = 24 * 3600


def test_a_table_is_checkpointed_every_few_commits_and_old_versions_stay_for_the_declared_time(tmp_path: Path) -> None:
    """A checkpoint removes commits that are older than the retention, which is 30 days where none is set."""
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    table = PREDICTIONS.of(spec)
    log = tmp_path / table.name / "_delta_log"
    for number in range(2 * CHECKPOINT_COMMITS):
        put(lake, table, ROWS, day("2025-01-01").shift(number))
        for file in log.iterdir():
            age = (table.table.retention_days - 1) * DAYS
            os.utime(file, (time.time() - age, time.time() - age))
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    assert lake.count(table) == 2 * CHECKPOINT_COMMITS
    assert lake.read(table, version=3).num_rows == 3
