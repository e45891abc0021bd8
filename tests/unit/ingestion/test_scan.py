from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue
from include.ingestion.rows import cast
from include.ingestion.scan import Profile
from include.lakehouse.schemas import typed_columns
from tests.tables import day

LEAST, MOST = -(2**63), 2**63 - 1
"""What casting admits."""


@given(st.lists(st.integers(LEAST, MOST), min_size=1, max_size=5))
def test_every_integer_that_casting_admits_is_profiled(numbers: list[int]) -> None:
    spec = catalogue.load("california_housing")
    delivered = pa.table({"listing_id": [str(number) for number in numbers]})
    profile = Profile(spec)
    profile.update(cast(delivered, typed_columns(spec)).columns)
    lines = profile.table(day("2025-01-02")).to_pylist()
    found = {line["statistic"]: line["value"] for line in lines if line["column"] == "listing_id"}
    assert found["count"] == len(numbers)
    assert (found["min"], found["max"]) == (float(min(numbers)), float(max(numbers)))
    assert found["mean"] == pytest.approx(sum(numbers) / len(numbers), abs=1e4)
