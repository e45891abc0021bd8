"""Rows come back from quarantine exactly once, and the books balance at all times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.ingestion import batch, reprocess
from include.ingestion.delivery import Delivery
from include.lakehouse import decisions
from include.lakehouse.run import Workspace
from include.lakehouse.tables import Lakehouse

DAY = date(2025, 1, 2)
Rows = list[list[str]]
Deliver = Callable[..., Delivery]


def with_cells(rows: Rows, cells: dict[tuple[int, str], str]) -> Rows:
    copy = [list(row) for row in rows]
    for (row, column), value in cells.items():
        copy[row][copy[0].index(column)] = value
    return copy


def relaxed(spec: ModelSpec, tmp_path: Path, old: str, new: str) -> ModelSpec:
    """The model after somebody edited expectations.yaml."""
    folder = tmp_path / "edited"
    folder.mkdir(exist_ok=True)
    text = (spec.folder / "expectations.yaml").read_text()
    assert old in text
    (folder / "expectations.yaml").write_text(text.replace(old, new))
    edited = spec.model_copy()
    edited._folder = folder
    return edited


def test_rows_that_pass_a_changed_rule_come_back_once(
    spec: ModelSpec, lake: Lakehouse, places: Places, deliver: Deliver, good_rows: Rows, tmp_path: Path
) -> None:
    rows = with_cells(good_rows, {(3, "latitude"): "51.5", (4, "total_rooms"): "many", (5, "latitude"): "45"})
    batch.validate(spec, lake, deliver(rows))
    batch.load(spec, lake, DAY)
    assert reprocess.preview(spec, lake, DAY).taken_back == 0
    edited = relaxed(spec, tmp_path, "max_value: 42.1", "max_value: 46.0")
    versions = {layer: lake.version(spec.table(layer)) for layer in ("raw", "quarantine", "clean")}
    found = reprocess.preview(edited, lake, DAY)
    assert found == reprocess.Reprocessing(3, 1, {"not_a_number:total_rooms": 1, "out_of_range:latitude": 1}, ())
    assert versions == {layer: lake.version(spec.table(layer)) for layer in versions}
    workspace = Workspace(edited, places, lake)
    for _ in range(2):
        assert reprocess.take_back(workspace, DAY, "run") == batch.BatchCounts(40, 38, 2)
        keys = lake.read(spec.table("clean"))["listing_id"].to_pylist()
        assert sorted(keys) == [n for n in range(1, 41) if n not in (3, 4)]
    (decision,) = decisions.history(lake, spec.name)
    assert (decision.kind, decision.subject) == ("quarantine_reprocessing", "2025-01-02")


def test_rejected_batch_comes_back_when_its_reason_is_gone(
    spec: ModelSpec, lake: Lakehouse, places: Places, deliver: Deliver, good_rows: Rows
) -> None:
    rows = with_cells(good_rows, {(n, "latitude"): "51.5" for n in range(1, 9)})
    verdict = batch.validate(spec, lake, deliver(rows))
    batch.reject(spec, lake, DAY, verdict.batch_reasons)
    assert reprocess.preview(spec, lake, DAY).batch_reasons == ("quarantine_budget_exceeded",)
    assert reprocess.take_back(Workspace(spec, places, lake), DAY, "a") == batch.BatchCounts(40, 0, 40)
    wider = spec.model_copy(update={"ingestion": spec.ingestion.model_copy(update={"quarantine_budget": 0.3})})
    assert reprocess.take_back(Workspace(wider, places, lake), DAY, "b") == batch.BatchCounts(40, 32, 8)


@pytest.mark.parametrize("broken", ["missing column", "extra column"])
def test_batch_of_a_wrong_shape_stays(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows, broken: str
) -> None:
    rows = {
        "missing column": [row[:4] + row[5:] for row in good_rows],
        "extra column": [[*row, "x"] for row in good_rows],
    }[broken]
    verdict = batch.validate(spec, lake, deliver(rows))
    found = reprocess.preview(spec, lake, DAY)
    assert (found.waiting, found.taken_back, found.batch_reasons) == (40, 0, verdict.batch_reasons)


def test_accepted_rows_stay_accepted_under_a_stricter_rule(
    spec: ModelSpec, lake: Lakehouse, places: Places, deliver: Deliver, good_rows: Rows, tmp_path: Path
) -> None:
    batch.validate(spec, lake, deliver(with_cells(good_rows, {(3, "latitude"): "51.5"})))
    batch.load(spec, lake, DAY)
    stricter = relaxed(spec, tmp_path, "max_value: 1000000", "max_value: 3000")
    stricter = stricter.model_copy(update={"ingestion": spec.ingestion.model_copy(update={"quarantine_budget": 1.0})})
    stricter._folder = tmp_path / "edited"
    assert reprocess.take_back(Workspace(stricter, places, lake), DAY, "a") == batch.BatchCounts(40, 39, 1)
    far_stricter = relaxed(spec, tmp_path, "max_value: 1000000", "max_value: 3")
    assert reprocess.preview(far_stricter, lake, DAY).batch_reasons == ("quarantine_budget_exceeded",)
    assert reprocess.take_back(Workspace(far_stricter, places, lake), DAY, "b") == batch.BatchCounts(40, 39, 1)


def test_nothing_to_reprocess_is_an_error(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, good_rows: Rows) -> None:
    batch.validate(spec, lake, deliver(good_rows))
    with pytest.raises(DataError, match="batch of 2025-01-03: no row of that day"):
        reprocess.preview(spec, lake, date(2025, 1, 3))


CELLS = st.sampled_from(["", "1", "2", "3.5", "-7", "many", "INLAND", "-120", "36", "51.5"])


@settings(
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(CELLS, min_size=10, max_size=10), max_size=12), budget=st.sampled_from([0.05, 0.3, 1.0]))
def test_rows_in_are_accepted_plus_quarantined_after_any_reprocessing(
    spec: ModelSpec, lake: Lakehouse, places: Places, deliver: Deliver, good_rows: Rows, rows: Rows, budget: float
) -> None:
    delivered = [*good_rows, *rows]
    verdict = batch.validate(spec, lake, deliver(delivered))
    if verdict.outcome == "reject_batch":
        before = batch.reject(spec, lake, DAY, verdict.batch_reasons)
    else:
        before = batch.load(spec, lake, DAY)
    changed = spec.model_copy(update={"ingestion": spec.ingestion.model_copy(update={"quarantine_budget": budget})})
    found = reprocess.preview(changed, lake, DAY)
    for _ in range(2):
        counts = reprocess.take_back(Workspace(changed, places, lake), DAY, "run")
        assert counts.rows == len(delivered) - 1 == counts.accepted + counts.quarantined
        if not found.batch_reasons:
            assert counts.accepted == before.accepted + found.taken_back
        keys = lake.read(spec.table("clean"))["listing_id"].to_pylist()
        assert len(keys) == len(set(keys)) == counts.accepted
