"""What was served stays served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from include.core.errors import DataError, UsageError
from include.core.partition import Partition
from include.core.settings import Settings
from include.features import query
from include.lakehouse import decisions, predictions
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, PREDICTIONS
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.registry import promotion
from include.scoring import steps
from include.scoring.steps import Scored
from tests.tables import Overtaken, day, put
from tests.unit.training import world
from tests.unit.training.stage import DAYS, Scene, register

pytestmark = pytest.mark.slow

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


def deliver(delivered: world.World, clean: pd.DataFrame) -> None:
    """Make rows the accepted ones of the last partition, and their features those that Feast reads."""
    original = world.World(world.quick_spec(4), Lakehouse(str(delivered.folder / "lakehouse")), delivered.folder, clean)
    put(original.lake, CLEAN.of(original.spec), clean, AFTER)
    query.write(original.spec, original.lake, AFTER)
    original.store()


def decided(delivered: world.World, partition: Partition) -> Decision:
    """The last decision on the scoring of a partition, by the clock."""
    found = decisions.history(delivered.lake, delivered.spec.name, Kind.SCORING)
    return max((item for item in found if item.subject == partition.key), key=lambda item: item.recorded_at)


def test_a_backfill_does_not_rewrite_what_was_served(delivered: world.World) -> None:
    """Version 2 was trained on that partition: its predictions flatter it."""
    promote(delivered, "1")
    assert steps.score_rows(run_of(delivered, BETWEEN)) == Scored("1", True, ROWS)
    assert decided(delivered, BETWEEN).reasons == ["in_production"]
    before = served(delivered, BETWEEN)
    promote(delivered, "2")
    assert steps.score_rows(run_of(delivered, BETWEEN, "backfill")) == Scored("1", True, ROWS)
    assert served(delivered, BETWEEN).equals(before)
    assert set(before["model_version"]) == {"1"}
    decision = decided(delivered, BETWEEN)
    assert (decision.outcome, decision.reasons) == ("score_rows", ["served_before"])
    counts = {"rows": ROWS, "beside": 0, "served": True, "version": "1", "changed": []}
    assert decision.inputs == {"as_of": "history", "in_production": "2", **counts}

    beside = run_of(delivered, BETWEEN, "what_if")
    assert steps.score_rows(beside, as_of="current") == Scored("2", False, ROWS, ROWS)
    assert decided(delivered, BETWEEN).reasons == ["asked_for"]
    assert served(delivered, BETWEEN).equals(before)
    rows = predictions.rows_of(delivered.spec, delivered.lake, BETWEEN, "2")
    assert rows is not None
    assert rows.num_rows == ROWS
    assert steps.score_rows(run_of(delivered, BETWEEN, "again")) == Scored("1", True, ROWS)


def test_current_is_served_where_nothing_was(delivered: world.World) -> None:
    promote(delivered, "2")
    assert steps.score_rows(run_of(delivered, BETWEEN), as_of="current") == Scored("2", True, ROWS)
    assert steps.score_rows(run_of(delivered, BETWEEN), as_of="current") == Scored("2", True, ROWS)


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
    assert steps.score_rows(run_of(delivered, AFTER)) == Scored("1", True, ROWS)


def test_a_corrected_batch_is_scored_beside_what_was_served(delivered: world.World) -> None:
    """What was answered stays; another answer stands beside, by the same version; who had none is served now."""
    spec, lake, key = delivered.spec, delivered.lake, ["listing_id"]
    clean = lake.read(CLEAN.of(spec), where=within(AFTER)).to_pandas().sort_values(key, ignore_index=True)
    put(lake, CLEAN.of(spec), clean.iloc[:-5], AFTER)
    promote(delivered, "1")
    steps.score_rows(run_of(delivered, AFTER))
    before = served(delivered, AFTER)
    promote(delivered, "2")
    deliver(delivered, clean.iloc[10:].assign(median_income=clean["median_income"] * 3))  # ten rows are withdrawn
    for run_id in ("corrected", "again"):
        scored = steps.score_rows(run_of(delivered, AFTER, run_id))
        assert (scored.version, scored.served, scored.rows) == ("1", True, ROWS - 10)
    now = served(delivered, AFTER)
    assert now[now["listing_id"].isin(before["listing_id"])].reset_index(drop=True).equals(before)
    assert set(now["listing_id"]) == set(clean["listing_id"])
    rows = lake.read(PREDICTIONS.of(spec), where=within(AFTER)).to_pandas()
    beside = rows[~rows["served"]].merge(before, on="listing_id", suffixes=("", "_before"))
    assert ROWS / 2 < len(beside) == scored.beside <= ROWS - 15
    assert (beside["prediction"] != beside["prediction_before"]).all()
    assert set(rows["model_version"]) == {"1"}
    assert decided(delivered, AFTER).inputs["beside"] == scored.beside


def test_what_was_served_of_a_withdrawn_batch_is_a_record_and_is_served_again_once_it_is_back(
    delivered: world.World,
) -> None:
    promote(delivered, "1")
    steps.score_rows(run_of(delivered, AFTER))
    before = served(delivered, AFTER)
    promote(delivered, "2")
    steps.score_rows(run_of(delivered, AFTER, "beside"), as_of="current")
    clean = delivered.lake.read(CLEAN.of(delivered.spec), where=within(AFTER))
    with pytest.raises(UsageError, match=r"is accepted\. Withdraw it first"):
        steps.withdraw_predictions(run_of(delivered, AFTER))
    put(delivered.lake, CLEAN.of(delivered.spec), clean.slice(0, 0), AFTER)
    for _ in range(2):
        assert steps.withdraw_predictions(run_of(delivered, AFTER, "withdrawn")) == 2 * ROWS
        assert predictions.served_rows(delivered.spec, delivered.lake, AFTER) is None
        assert predictions.rows_of(delivered.spec, delivered.lake, AFTER, "2") is None
    kept = delivered.lake.read(PREDICTIONS.of(delivered.spec), where=within(AFTER))
    assert kept["withdrawn"].unique().to_pylist() == [True]
    assert kept.num_rows == 2 * ROWS
    with pytest.raises(UsageError, match=r"no row of .* is accepted"):
        steps.score_rows(run_of(delivered, AFTER, "withdrawn"))
    put(delivered.lake, CLEAN.of(delivered.spec), clean.slice(5), AFTER)
    assert steps.score_rows(run_of(delivered, AFTER, "corrected")) == Scored("1", True, ROWS - 5)
    assert served(delivered, AFTER).equals(before)


def test_of_two_runs_beside_a_promotion_the_first_to_record_is_served(delivered: world.World) -> None:
    """The other one, which chose before the promotion, chooses again: a partition is served by one version."""

    def promoted_and_scored() -> None:
        promote(delivered, "2")
        assert steps.score_rows(run_of(delivered, AFTER, "overtaking")) == Scored("2", True, ROWS)

    promote(delivered, "1")
    overtaken = Overtaken(str(delivered.folder / "lakehouse"), promoted_and_scored)
    lake = type(delivered.lake)(overtaken, world.quick_spec(4).name, delivered.spec.name)  # type: ignore[call-arg]
    assert steps.score_rows(replace(run_of(delivered, AFTER), lake=lake)) == Scored("2", True, ROWS)
    assert set(served(delivered, AFTER)["model_version"]) == {"2"}
    assert delivered.lake.count(PREDICTIONS.of(delivered.spec), where=within(AFTER)) == ROWS
    assert decided(delivered, AFTER).reasons == ["served_before"]


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
    with pytest.raises(UsageError, match=r"no row of .* is accepted"):
        steps.score_rows(run_of(delivered, AFTER, "early"))
    promote(delivered, "2")
    put(delivered.lake, CLEAN.of(delivered.spec), clean, AFTER)
    assert steps.score_rows(run_of(delivered, AFTER, "scheduled")) == Scored("2", True, ROWS)
