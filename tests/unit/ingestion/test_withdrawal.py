"""An accepted batch is taken out: by a delivery that is rejected, or by a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from include.core.errors import UsageError
from include.ingestion import steps
from include.ingestion.batch import BatchCounts
from include.ingestion.steps import Traces
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, FEATURES, QUARANTINE
from tests.tables import put
from tests.unit.ingestion.cases import DAY, Rows, ingest


def withdrawals(run: Run) -> list[decisions.Decision]:
    return decisions.history(run.lake, run.spec.name, Kind.BATCH_WITHDRAWAL)


def test_what_was_accepted_before_is_found_after_the_rejection_and_after_a_retry(
    run: Run, deliver: Callable[..., Run], good_rows: Rows
) -> None:
    ingest(deliver(good_rows))
    assert not steps.find_traces(replace(run, asked_for=DAY.shift(1)))
    keys = run.lake.read(run.table(CLEAN), columns=["listing_id", "event_timestamp"])
    put(run.lake, run.table(FEATURES), keys, DAY)
    for _ in range(2):
        verdict, _counts = ingest(deliver([row[:-1] for row in good_rows]))
        assert verdict.outcome == "reject_batch"
        assert steps.find_traces(run) == Traces(0, 40, 0)
    assert withdrawals(run) == []  # the verdict of the run says it


def test_a_rejection_from_the_command_line_is_recorded(run: Run, deliver: Callable[..., Run], good_rows: Rows) -> None:
    ingest(deliver(good_rows))
    steps.reject_batch(replace(run, run_id="job"), ["stale_rows:listed_at"])
    (decided,) = withdrawals(run)
    assert (decided.reasons, decided.actor, decided.run_id) == (["stale_rows:listed_at"], "person", "job")
    assert decided.inputs == {"accepted_before": 40, "in_quarantine": 40}


def test_a_person_withdraws_a_batch_for_a_reason_and_takes_it_back(
    run: Run, deliver: Callable[..., Run], good_rows: Rows
) -> None:
    with pytest.raises(UsageError, match="there is nothing to do"):
        steps.preview_withdrawal(run)
    ingest(deliver(good_rows))
    assert steps.preview_withdrawal(run) == Traces(40, 0, 0)
    with pytest.raises(UsageError, match="without a reason"):
        steps.withdraw_batch(run, " ")
    for _ in range(2):
        assert steps.withdraw_batch(run, "wrong currency") == BatchCounts(40, 0, 40)
    assert run.lake.count(run.table(CLEAN)) == 0
    assert run.lake.read(run.table(QUARANTINE))["reasons"].to_pylist() == [["withdrawn"]] * 40
    (decided,) = withdrawals(run)
    assert decided.inputs["comment"] == "wrong currency"
    with pytest.raises(UsageError, match=r"is withdrawn \(wrong currency\)"):
        run.require_accepted()
    assert steps.take_rows_back(run) == BatchCounts(40, 40, 0)
    run.require_accepted()
