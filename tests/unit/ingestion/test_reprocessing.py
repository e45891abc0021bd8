"""Rows come back from quarantine exactly once, and the books balance at all times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.core.errors import DataError
from include.ingestion import steps
from include.ingestion.batch import BatchCounts
from include.ingestion.verdict import Reprocessing
from include.lakehouse import decisions
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, QUARANTINE, RAW
from tests.unit.ingestion.cases import DAY, Rows, ingest, with_ingestion

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]


def with_cells(rows: Rows, cells: dict[tuple[int, str], str]) -> Rows:
    copy = [list(row) for row in rows]
    for (row, column), value in cells.items():
        copy[row][copy[0].index(column)] = value
    return copy


def relaxed(run: Run, tmp_path: Path, old: str, new: str) -> Run:
    """The model after somebody edited expectations.yaml."""
    folder = tmp_path / "edited"
    folder.mkdir(exist_ok=True)
    text = (run.spec.folder / "expectations.yaml").read_text()
    assert old in text
    (folder / "expectations.yaml").write_text(text.replace(old, new))
    edited = run.spec.model_copy()
    edited._folder = folder
    return replace(run, spec=edited)


def test_rows_that_pass_a_changed_rule_come_back_once(
    run: Run, deliver: Deliver, good_rows: Rows, tmp_path: Path
) -> None:
    rows = with_cells(good_rows, {(3, "latitude"): "51.5", (4, "total_rooms"): "many", (5, "latitude"): "45"})
    ingest(deliver(rows))
    assert steps.preview_quarantine(run).taken_back == 0
    edited = relaxed(run, tmp_path, "max_value: 42.1", "max_value: 46.0")
    versions = {layer: run.lake.version(run.table(layer)) for layer in (RAW, QUARANTINE, CLEAN)}
    found = steps.preview_quarantine(edited)
    assert found == Reprocessing(3, 1, {"not_a_number:total_rooms": 1, "out_of_range:latitude": 1}, ())
    assert versions == {layer: run.lake.version(run.table(layer)) for layer in versions}
    for _ in range(2):
        assert steps.take_rows_back(edited) == BatchCounts(40, 38, 2)
        keys = run.lake.read(run.table(CLEAN))["listing_id"].to_pylist()
        assert sorted(keys) == [n for n in range(1, 41) if n not in (3, 4)]
    (decision,) = decisions.history(run.lake, run.spec.name, decisions.Kind.QUARANTINE_REPROCESSING)
    assert decision.subject == "2025-01-02"


def test_rejected_batch_comes_back_when_its_reason_is_gone(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    rows = with_cells(good_rows, {(n, "latitude"): "51.5" for n in range(1, 9)})
    ingest(deliver(rows))
    assert steps.preview_quarantine(run).batch_reasons == ("quarantine_budget_exceeded",)
    assert steps.take_rows_back(run) == BatchCounts(40, 0, 40)
    assert steps.take_rows_back(with_ingestion(run, quarantine_budget=0.3)) == BatchCounts(40, 32, 8)


@pytest.mark.parametrize("broken", ["missing column", "extra column"])
def test_batch_of_a_wrong_shape_stays(run: Run, deliver: Deliver, good_rows: Rows, broken: str) -> None:
    rows = {
        "missing column": [row[:4] + row[5:] for row in good_rows],
        "extra column": [[*row, "x"] for row in good_rows],
    }[broken]
    verdict = steps.validate_batch(deliver(rows))
    found = steps.preview_quarantine(run)
    assert (found.waiting, found.taken_back, found.batch_reasons) == (40, 0, verdict.batch_reasons)


def test_batch_with_a_column_that_model_yaml_comes_to_know_comes_back(
    run: Run, deliver: Deliver, good_rows: Rows
) -> None:
    verdict, _ = ingest(deliver([[*row, "x" if n == 0 else f"value {n}"] for n, row in enumerate(good_rows)]))
    assert verdict.batch_reasons == ("extra_column:#11",)
    columns = run.spec.columns | {"x": run.spec.columns["ocean_proximity"]}
    knowing = replace(run, spec=run.spec.model_copy(update={"columns": columns}))
    assert steps.take_rows_back(knowing) == BatchCounts(40, 40, 0)
    clean = run.lake.read(knowing.table(CLEAN), columns=["listing_id", "x"]).to_pylist()
    assert {row["x"] for row in clean if row["listing_id"] == 7} == {"value 7"}


def test_accepted_rows_stay_accepted_under_a_stricter_rule(
    run: Run, deliver: Deliver, good_rows: Rows, tmp_path: Path
) -> None:
    ingest(deliver(with_cells(good_rows, {(3, "latitude"): "51.5"})))
    stricter = relaxed(run, tmp_path, "max_value: 1000000", "max_value: 3000")
    assert steps.take_rows_back(with_ingestion(stricter, quarantine_budget=1.0)) == BatchCounts(40, 39, 1)
    far_stricter = relaxed(run, tmp_path, "max_value: 1000000", "max_value: 3")
    assert steps.preview_quarantine(far_stricter).batch_reasons == ("quarantine_budget_exceeded",)
    assert steps.take_rows_back(far_stricter) == BatchCounts(40, 39, 1)


def test_nothing_to_reprocess_is_an_error(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    with pytest.raises(DataError, match="batch of 2025-01-02: no row of 2025-01-02"):
        steps.preview_quarantine(run)
    steps.validate_batch(deliver(good_rows))
    with pytest.raises(DataError, match="batch of 2025-01-03: no row of 2025-01-03"):
        steps.preview_quarantine(replace(run, asked_for=DAY.shift(1)))


CELLS = st.sampled_from(["", "1", "2", "3.5", "-7", "many", "INLAND", "-120", "36", "51.5"])


@settings(
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(CELLS, min_size=10, max_size=10), max_size=12), budget=st.sampled_from([0.05, 0.3, 1.0]))
def test_rows_in_are_accepted_plus_quarantined_after_any_reprocessing(
    run: Run, deliver: Deliver, good_rows: Rows, rows: Rows, budget: float
) -> None:
    delivered = [*good_rows, *rows]
    _, before = ingest(deliver(delivered))
    changed = with_ingestion(run, quarantine_budget=budget)
    found = steps.preview_quarantine(changed)
    for _ in range(2):
        counts = steps.take_rows_back(changed)
        assert counts.rows == len(delivered) - 1 == counts.accepted + counts.quarantined
        if not found.batch_reasons:
            assert counts.accepted == before.accepted + found.taken_back
        keys = run.lake.read(run.table(CLEAN))["listing_id"].to_pylist()
        assert len(keys) == len(set(keys)) == counts.accepted
