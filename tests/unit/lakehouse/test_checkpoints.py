"""Who opens a table reads few commits, however many there were."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.lakehouse.schemas import PREDICTIONS, TRAINING_SETS
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


def test_a_training_set_stays_as_long_as_a_version_may_be_rolled_back_to_and_one_that_is_gone_is_said_to_be(
    tmp_path: Path,
) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    table, log = TRAINING_SETS.of(spec), tmp_path / TRAINING_SETS.of(spec).name / "_delta_log"
    rows = pd.DataFrame({"listing_id": [7], "event_timestamp": [pd.Timestamp("2025-01-01", tz="UTC")]})
    first = [put(lake, table, rows, {"training_set": key}) for key in "01"][-1]
    for number in range(2 * CHECKPOINT_COMMITS):
        put(lake, table, pd.concat([rows, rows.assign(listing_id=8)]), {"training_set": str(number % 2)})
        for file in tmp_path.rglob("*.*"):
            os.utime(file, (time.time() - 5 * 365 * DAYS,) * 2)
    of_then = [("training_set", "=", "1")]
    _, _, removed = lake.maintain(table)
    assert removed == 0
    assert lake.read(table, version=first, where=of_then).num_rows == 1
    assert lake.read(table, where=of_then).num_rows == 2

    for number in range(first + 1):
        (log / f"{number:020}.json").unlink()
    with pytest.raises(DataError, match=rf"version {first} of table {table.name} is not kept.* train and promote"):
        lake.read(table, version=first, where=of_then)


def test_what_was_declared_to_stay_longer_since_the_table_was_made_stays_longer(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    table, kept = PREDICTIONS.of(spec), "delta.logRetentionDuration"
    put(lake, table, ROWS, day("2025-01-01"))
    lake.open(table).alter.set_table_properties({kept: "interval 30 days"})
    lake.maintain(table)
    assert lake.open(table).metadata().configuration[kept] == f"interval {table.table.retention_days} days"
    version = lake.version(table)
    lake.maintain(table)
    assert lake.version(table) == version
