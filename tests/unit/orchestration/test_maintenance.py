from __future__ import annotations

from pathlib import Path

import pandas as pd

from include.core import catalogue
from include.core.settings import Settings
from include.lakehouse.run import Run
from include.lakehouse.schemas import METRICS
from include.lakehouse.tables import Lakehouse
from include.orchestration import maintenance
from tests.tables import put


def test_small_files_become_one_and_no_row_is_lost(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    run = Run(spec, Settings(), lake, "run")
    for source in "abcd":
        rows = pd.DataFrame({"metric": ["rows"], "slice": ["all"], "value": [1.0]})
        put(lake, METRICS.of(spec), rows, {"partition_key": "2025-01-01", "source": source})
    name = METRICS.of(spec).name
    assert maintenance.maintain_tables(run) == {name: {"files_replaced": 4, "files_written": 1, "files_removed": 0}}
    assert sorted(lake.read(name)["source"].to_pylist()) == list("abcd")
