"""What a batch is compared with, from tables of many partitions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from include.core.spec import ModelSpec
from include.ingestion.validation.history import BatchHistory
from include.lakehouse.schemas import CLEAN, RAW, SOURCE_FILE
from include.lakehouse.tables import Lakehouse
from tests.tables import put
from tests.unit.ingestion.cases import DAY


def accepted(lake: Lakehouse, spec: ModelSpec, days: int, keys: list[int], delivered: int) -> None:
    partition = DAY.shift(days)
    rows = pa.table({SOURCE_FILE: ["x.csv"] * delivered, "row_number": range(delivered)})
    put(lake, RAW.of(spec), rows, partition)
    times = pa.array([partition.start] * len(keys), pa.timestamp("us", tz="UTC"))
    put(lake, CLEAN.of(spec), pa.table({"listing_id": keys, "event_timestamp": times}), partition)


def test_the_band_is_that_of_the_last_accepted_batches_before(spec: ModelSpec, lake: Lakehouse) -> None:
    for days, rows in ((-4, 1000), (-3, 10), (-2, 20), (-1, 30), (1, 5000)):
        accepted(lake, spec, days, [1], rows)
    accepted(lake, spec, -5, [], 7000)  # rejected
    learned = spec.ingestion.row_count_band.model_copy(update={"batches": 3, "factor": 2})
    spec = spec.model_copy(update={"ingestion": spec.ingestion.model_copy(update={"row_count_band": learned})})
    assert BatchHistory(spec, lake, DAY).row_count_band() == (10, 40)
    assert BatchHistory(spec, lake, DAY.shift(-2)).row_count_band() is None


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_keys_are_known_from_every_other_partition(spec: ModelSpec, tmp_path: Path, address: str) -> None:
    """In a folder, whose files DuckDB opens, and at a URL, whose files it does not."""
    lake = Lakehouse(address.format(tmp_path / "lakehouse"))
    history = BatchHistory(spec, lake, DAY)
    keys = pa.table({"listing_id": pa.array([7, None, 1, 2**53 + 1, 3], pa.int64())})
    assert history.positions_of_known_keys(keys).tolist() == []
    accepted(lake, spec, 0, [7], 1)
    assert history.positions_of_known_keys(keys).tolist() == []
    accepted(lake, spec, -1, [1, 2, 2**53 + 1], 3)
    accepted(lake, spec, 1, [3, 4], 2)
    assert history.positions_of_known_keys(keys).tolist() == [2, 3, 4]
