"""What was served stays served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.settings import Settings
from include.lakehouse import decisions, predictions
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, PREDICTIONS
from include.lakehouse.tables import within
from include.registry import promotion
from include.scoring import steps
from include.scoring.steps import Scored
from tests.tables import day, put
from tests.unit.training import world
from tests.unit.training.stage import DAYS, Scene, register

BEFORE, BETWEEN, AFTER = day("2025-01-01"), DAYS[0], DAYS[-1].shift(1)
"""Partitions: what version 1 knew, of the time before version 2 knew anything, and from after both."""
ROWS = 60


@pytest.fixture
def delivered(
    tmp_path: Path, scene: Scene, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> world.World:
    """Three partitions of a model of its own, whose versions 1 and 2 are registered, neither in production."""
    made = world.make(tmp_path, seed=2)
    for partition in (BEFORE, BETWEEN, AFTER):
        made.deliver(partition, ROWS)
    store = made.store()
    monkeypatch.setattr("include.features.store.open_store", lambda: store)
    own = replace(scene, world=made).own(request.node.name).world
    for run, ref in ((scene.old, scene.old_ref), (scene.new, scene.new_ref)):
        register(own.spec, own.lake, run, ref)
    return own


def run_of(delivered: world.World, partition: Partition, run_id: str = "scheduled") -> Run:
    return Run(delivered.spec, Settings(lakehouse_uri=str(delivered.folder)), delivered.lake, run_id, partition)


def promote(delivered: world.World, version: str) -> None:
    number = len(promotion.alias_history.periods(delivered.lake, delivered.spec.name))
    promotion.put_in_production(delivered.spec, delivered.lake, version, f"d{number}")


def served(delivered: world.World, partition: Partition) -> pd.DataFrame:
    rows = predictions.served_rows(delivered.spec, delivered.lake, partition)
    assert rows is not None
    return rows.to_pandas().sort_values("listing_id", ignore_index=True)


def decided(delivered: world.World, partition: Partition) -> Decision:
    """The last decision on the scoring of a partition, by the clock."""
    found = decisions.history(delivered.lake, delivered.spec.name, Kind.SCORING)
    return max((item for item in found if item.subject == partition.key), key=lambda item: item.recorded_at)


def test_a_backfill_does_not_rewrite_what_was_served(delivered: world.World) -> None:
    """Version 2 was trained on that partition: its predictions flatter it."""
    promote(delivered, "1")
    assert steps.score_rows(run_of(delivered, BETWEEN)) == Scored(ROWS, "1", True)
    assert decided(delivered, BETWEEN).reasons == ["in_production"]
    before = served(delivered, BETWEEN)
    promote(delivered, "2")
    assert steps.score_rows(run_of(delivered, BETWEEN, "backfill")) == Scored(ROWS, "1", True)
    assert served(delivered, BETWEEN).equals(before)
    assert set(before["model_version"]) == {"1"}
    decision = decided(delivered, BETWEEN)
    assert (decision.outcome, decision.reasons) == ("score_rows", ["served_before"])
    assert decision.inputs == {"as_of": "history", "in_production": "2", "rows": ROWS, "served": True, "version": "1"}

    beside = run_of(delivered, BETWEEN, "what_if")
    assert steps.score_rows(beside, as_of="current") == Scored(ROWS, "2", False)
    assert decided(delivered, BETWEEN).reasons == ["asked_for"]
    assert served(delivered, BETWEEN).equals(before)
    rows = predictions.rows_of(delivered.spec, delivered.lake, BETWEEN, "2")
    assert rows is not None
    assert rows.num_rows == ROWS
    assert steps.score_rows(run_of(delivered, BETWEEN, "again")) == Scored(ROWS, "1", True)


def test_current_is_served_where_nothing_was(delivered: world.World) -> None:
    promote(delivered, "2")
    assert steps.score_rows(run_of(delivered, BETWEEN), as_of="current") == Scored(ROWS, "2", True)
    assert steps.score_rows(run_of(delivered, BETWEEN), as_of="current") == Scored(ROWS, "2", True)


def test_a_partition_of_the_past_gets_the_version_of_its_time(delivered: world.World) -> None:
    promote(delivered, "1")
    promote(delivered, "2")
    found = {
        partition.key: (steps.score_rows(run_of(delivered, partition)).version, decided(delivered, partition).reasons)
        for partition in (BEFORE, BETWEEN, AFTER)
    }
    assert found == {
        BEFORE.key: ("2", ["before_first_promotion"]),
        BETWEEN.key: ("1", ["in_production_then"]),
        AFTER.key: ("2", ["in_production"]),
    }


def test_after_a_roll_back_new_partitions_get_the_version_that_was_put_back(delivered: world.World) -> None:
    for version in ("1", "2", "1"):
        promote(delivered, version)
    assert steps.score_rows(run_of(delivered, AFTER)) == Scored(ROWS, "1", True)


def test_a_corrected_batch_gets_its_served_version_again(delivered: world.World) -> None:
    """Also where it was withdrawn in between, so that no row tells which one that was."""
    promote(delivered, "1")
    steps.score_rows(run_of(delivered, AFTER))
    promote(delivered, "2")
    clean = delivered.lake.read(CLEAN.of(delivered.spec), where=within(AFTER))
    put(delivered.lake, CLEAN.of(delivered.spec), clean.slice(0, 0), AFTER)
    assert steps.score_rows(run_of(delivered, AFTER, "withdrawn")) == Scored(0, "1", True)
    assert predictions.served_rows(delivered.spec, delivered.lake, AFTER) is None
    put(delivered.lake, CLEAN.of(delivered.spec), clean.slice(5), AFTER)
    assert steps.score_rows(run_of(delivered, AFTER, "corrected")) == Scored(ROWS - 5, "1", True)


def test_before_the_first_promotion_nothing_is_scored(delivered: world.World) -> None:
    run = run_of(delivered, BETWEEN)
    assert steps.choose_version(run) is None
    with pytest.raises(DataError, match="no version is in production"):
        steps.score_rows(run)
    steps.skip_scoring(run)
    decision = decided(delivered, BETWEEN)
    assert (decision.outcome, decision.reasons) == ("skip_scoring", ["no_production_version"])
    assert not delivered.lake.exists(PREDICTIONS.of(delivered.spec))
    with pytest.raises(DataError, match="as_of is 'yesterday'"):
        steps.choose_version(run, as_of="yesterday")


def test_a_partition_without_a_row_is_served_by_no_version(delivered: world.World) -> None:
    """Scored before its delivery came, it gets the version of when it came."""
    promote(delivered, "1")
    clean = delivered.lake.read(CLEAN.of(delivered.spec), where=within(AFTER))
    put(delivered.lake, CLEAN.of(delivered.spec), clean.slice(0, 0), AFTER)
    assert steps.score_rows(run_of(delivered, AFTER, "early")) == Scored(0, "1", False)
    promote(delivered, "2")
    put(delivered.lake, CLEAN.of(delivered.spec), clean, AFTER)
    assert steps.score_rows(run_of(delivered, AFTER, "scheduled")) == Scored(ROWS, "2", True)
