from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa

from include.core import catalogue
from include.core.settings import Places
from include.lakehouse.run import Workspace
from include.lakehouse.tables import Lakehouse
from include.orchestration import maintenance


def test_small_files_become_one_and_no_row_is_lost(tmp_path: Path) -> None:
    spec = catalogue.load("california_housing")
    places = Places("dev", str(tmp_path / "landing"), str(tmp_path / "lake"), "")
    lake = Lakehouse(places)
    name = spec.table("predictions")
    day = date(2025, 1, 1)
    for number in range(4):
        rows = pa.table({"n": [number], "day": pa.array([day], pa.date32())})
        lake.replace_partition(name, rows, {"n": number}, partition_by=["day"])
    done = maintenance.maintain(Workspace(spec, places, lake))
    assert set(done) == {name}
    assert done[name] == {"files_replaced": 4, "files_written": 1, "files_removed": 0}
    assert sorted(lake.read(name)["n"].to_pylist()) == [0, 1, 2, 3]
