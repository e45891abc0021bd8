"""What is left of a validation besides the tables of rows: metrics, Data Docs, a decision."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa

from include.core.settings import Places
from include.core.spec import ModelSpec
from include.ingestion import audit, expectations
from include.ingestion.delivery import Delivery
from include.lakehouse import decisions, windows
from include.lakehouse.run import Workspace
from include.lakehouse.tables import Lakehouse

DAY = date(2025, 1, 2)
Rows = list[list[str]]


def test_each_expectation_is_a_row_beside_those_of_monitoring(
    spec: ModelSpec,
    lake: Lakehouse,
    places: Places,
    deliver: Callable[..., Delivery],
    good_rows: Rows,
    tmp_path: Path,
) -> None:
    measured = {"window": DAY, "metric": "rows", "slice": "all", "value": 7.0, "model_version": "1"}
    lines = [measured | {"metric": metric, "source": windows.SOURCE} for metric in ("rows", "labelled_rows")]
    ours = pa.Table.from_pylist(lines, schema=windows.SCHEMA)
    name, partition = spec.table("metrics"), {"window": DAY, "source": windows.SOURCE}
    lake.replace_partition(name, ours, partition, partition_by=["window"])
    rows = [list(row) for row in good_rows]
    rows[4][rows[0].index("latitude")] = "51.5"
    deliver(rows)
    workspace = Workspace(spec, replace(places, docs_folder=str(tmp_path / "docs")), lake)
    for _ in range(2):
        audit.validate(workspace, DAY, "run")
    written = lake.read(name).to_pylist()
    scores = [row for row in written if row["source"] == "ingestion"]
    assert len(scores) == len(expectations.load(spec))
    values = {row["metric"]: row["value"] for row in scores}
    assert values["quarantine_row:out_of_range:latitude"] == 1 / 40
    assert values["quarantine_row:out_of_range:longitude"] == 0
    assert values["reject_batch:row_count_out_of_range"] == 40
    assert [item.rows for item in windows.history(spec, lake, DAY)] == [7]
    assert len(written) == len(scores) + 2
    page = (tmp_path / "docs" / spec.name / "2025-01-02" / "index.html").read_text()
    assert "51.5" in page
    assert 'href="#section-2"' in page
    assert not re.findall(r"https?://|<script|<link|<img|onclick", page)
    (decision,) = decisions.history(lake, spec.name)
    assert decision.outcome == "accept_and_quarantine"
    assert decision.decided_at == datetime(2025, 1, 3, tzinfo=UTC)
