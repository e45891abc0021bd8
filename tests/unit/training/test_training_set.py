from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.sections import Task
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.features import query
from include.lakehouse import windows
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, LABELS, METRICS
from include.lakehouse.selection import within
from include.training import splits, training_set
from include.training.training_set import TrainingSetRef
from tests.tables import put
from tests.unit.training import world
from tests.unit.training.world import HISTORY

pytestmark = pytest.mark.slow

SECOND, THIRD, FOURTH = (HISTORY.shift(number) for number in (1, 2, 3))


@pytest.fixture
def small(tmp_path: Path) -> world.World:
    made = world.make(tmp_path)
    made.deliver(HISTORY, 400)
    made.deliver(SECOND, 50, income_factor=1.5)
    made.deliver(THIRD, 50)
    return made


def build(made: world.World, partition: Partition = THIRD) -> tuple[TrainingSetRef, pd.DataFrame]:
    ref = training_set.build(made.spec, made.lake, made.store(), partition)
    return ref, training_set.read(made.spec, made.lake, ref)


def labels_of(made: world.World, partition: Partition) -> pd.DataFrame:
    return made.lake.read(LABELS.of(made.spec), where=within(partition)).to_pandas()


def changed(made: world.World, **training: object) -> None:
    """Split otherwise."""
    content = json.loads(made.spec.model_dump_json())
    content["training"]["split"] |= training
    folder, made.spec = made.spec.folder, ModelSpec.model_validate(content)
    made.spec._folder = folder


def test_sees_only_labels_that_had_arrived(small: world.World) -> None:
    assert build(small, HISTORY)[0].rows == 400
    assert build(small, SECOND)[0].rows == 450
    with pytest.raises(DataError, match="no label had arrived"):
        build(small, HISTORY.shift(-1))


def test_features_are_those_of_the_row_and_never_later(small: world.World) -> None:
    """A key that comes again with other values keeps each label beside the values of its own day."""
    again = small.lake.read(small.spec.table("clean"), where=within(HISTORY)).to_pandas().head(30)
    small.rows = pd.concat([again.assign(median_house_value=1.0)[small.rows.columns], small.rows])
    small.deliver(FOURTH, 30, income_factor=2.0)
    _, frame = build(small, FOURTH)
    pairs = frame[frame["listing_id"].isin(again["listing_id"])].pivot(
        index="listing_id", columns="partition_key", values="median_income"
    )
    assert np.allclose(pairs[FOURTH.key], 2 * pairs[HISTORY.key])
    assert frame.groupby("listing_id")["split"].nunique().max() == 1


def test_labels_without_features_are_counted_not_kept(small: world.World) -> None:
    labels = labels_of(small, THIRD)
    put(small.lake, LABELS.of(small.spec), pd.concat([labels, labels.head(3).assign(listing_id=[-1, -2, -3])]), THIRD)
    ref, _ = build(small)
    assert (ref.rows, ref.without_features) == (500, 3)


def test_many_labels_whose_own_row_has_no_features_stop_the_training(small: world.World) -> None:
    labels = labels_of(small, THIRD)
    others = [labels.assign(listing_id=labels["listing_id"] + further) for further in (10**6, 10**7, 10**8)]
    put(small.lake, LABELS.of(small.spec), pd.concat([labels, *others]), THIRD)
    with pytest.raises(DataError, match=r"150 of 650 labels .23%. have no features.*max_without_features .0\.2"):
        build(small)


def test_a_label_is_not_joined_to_what_its_key_had_in_another_partition(small: world.World) -> None:
    """Its own row is in quarantine."""
    again = small.lake.read(small.spec.table("clean"), where=within(HISTORY)).to_pandas().head(30)
    small.rows = pd.concat([again.assign(median_house_value=1.0)[small.rows.columns], small.rows])
    small.deliver(FOURTH, 30)
    kept = small.lake.read(CLEAN.of(small.spec), where=within(FOURTH)).slice(0, 20)
    put(small.lake, CLEAN.of(small.spec), kept, FOURTH)
    query.write(small.spec, small.lake, FOURTH)
    changed_to = small.spec.training.model_copy(update={"max_without_features": 0.4})
    small.spec = small.spec.model_copy(update={"training": changed_to})
    ref, frame = build(small, FOURTH)
    assert (ref.without_features, (frame["partition_key"] == FOURTH.key).sum()) == (10, 20)


def test_rows_have_the_features_of_their_own_moment_of_the_day(small: world.World) -> None:
    """Labels say no time of day: theirs is that of their rows."""
    clean = small.lake.read(CLEAN.of(small.spec), where=within(THIRD)).to_pandas()
    clean["event_timestamp"] += pd.to_timedelta(np.arange(len(clean)) % 24, unit="h")
    put(small.lake, CLEAN.of(small.spec), clean, THIRD)
    query.write(small.spec, small.lake, THIRD)
    ref, frame = build(small)
    assert (ref.rows, ref.without_features) == (500, 0)
    assert set(frame.loc[frame["partition_key"] == THIRD.key, "event_timestamp"].dt.hour) == set(range(24))


def test_labels_of_a_withdrawn_partition_are_not_joined_to_what_their_keys_had_before(small: world.World) -> None:
    again = small.lake.read(small.spec.table("clean"), where=within(HISTORY)).to_pandas().head(30)
    small.rows = pd.concat([again.assign(median_house_value=1.0)[small.rows.columns], small.rows])
    small.deliver(FOURTH, 30)
    before = build(small, FOURTH)[0]
    put(small.lake, CLEAN.of(small.spec), small.lake.read(CLEAN.of(small.spec)).slice(0, 0), FOURTH)
    query.write(small.spec, small.lake, FOURTH)
    after, frame = build(small, FOURTH)
    assert (before.rows - after.rows, after.without_features) == (30, 30)
    assert FOURTH.key not in set(frame["partition_key"])


def test_repeating_replaces_and_the_ref_names_the_version(small: world.World) -> None:
    (first, rows), (second, again) = build(small), build(small)
    assert second.table_version > first.table_version
    pd.testing.assert_frame_equal(rows, again)
    assert second.data_version == "features_california_housing@3 labels_california_housing@3"
    assert TrainingSetRef(**json.loads(json.dumps(asdict(second)))).split == second.split
    with pytest.raises(DataError, match="no training set"):
        training_set.stored(small.spec, small.lake, "1999-01-01", second.table_version, ["split"])


def test_drifted_partitions_weigh_more_but_never_the_history(small: world.World) -> None:
    small.measured(HISTORY, drifted=True)
    assert build(small)[0].drifted == (SECOND.key,)
    small.measured(THIRD, drifted=True)
    ref, frame = build(small)
    assert ref.drifted == (SECOND.key, THIRD.key)
    heavier = frame["weight"] == small.spec.training.drifted_weight
    assert (
        set(frame.loc[heavier, "partition_key"]) == set(frame.loc[frame["drifted"], "partition_key"]) == {*ref.drifted}
    )
    assert set(frame.loc[~heavier, "weight"]) == {1.0}
    newest = small.spec.training.model_copy(update={"drifted_windows": 1})
    small.spec = small.spec.model_copy(update={"training": newest})
    small.spec._folder = world.quick_spec(1).folder
    assert build(small)[0].drifted == (THIRD.key,)
    assert build(small, HISTORY)[0].drifted == ()


def decide(small: world.World, kind: Kind, outcome: Outcome, reason: str, partition: Partition, run_id: str) -> None:
    run = Run(small.spec, Settings(), small.lake, run_id, partition)
    run.decide(kind, outcome, [reason])


def test_nothing_is_learned_from_a_faulty_partition_until_it_is_mended_or_confirmed(small: world.World) -> None:
    whole = build(small)[0]
    alert = (Kind.RETRAINING_POLICY, Outcome.ALERT_ROOT_CAUSE, Reason.UPSTREAM_FAULT)
    decide(small, Kind.BATCH_VERDICT, Outcome.ACCEPT_BATCH, Reason.ROW_COUNT_OFF_BAND, THIRD, "ingested")
    small.measured(THIRD, drifted=True, faulty=True)
    for alerted in (False, True):
        if alerted:
            decide(small, *alert, THIRD, "alerted")
        ref, frame = build(small)
        assert ref.faulty == (THIRD.key,)
        assert THIRD.key not in set(frame["partition_key"])
        assert whole.rows - ref.rows == 50
        assert ref.drifted == (SECOND.key,)
    unfixed = small.spec
    faults = unfixed.monitoring.faults.model_copy(update={"confirmed": (THIRD.key,)})
    small.spec = unfixed.model_copy(update={"monitoring": unfixed.monitoring.model_copy(update={"faults": faults})})
    small.spec._folder = unfixed.folder
    assert build(small)[0].rows == whole.rows
    small.spec = unfixed
    decide(small, Kind.BATCH_VERDICT, Outcome.ACCEPT_BATCH, Reason.ROW_COUNT_OFF_BAND, THIRD, "delivered anew")
    assert build(small)[0].rows == whole.rows
    decide(small, *alert, THIRD, "its window says so still")
    assert build(small)[0].faulty == ()


def test_a_faulty_window_of_several_partitions_is_mended_by_any_of_them(small: world.World) -> None:
    small.measured(THIRD, drifted=False, faulty=True)
    spanned = pd.DataFrame({"metric": "rows", "slice": [SECOND.key, THIRD.key], "value": 25.0})
    kept = small.lake.read(METRICS.of(small.spec), where=within(THIRD)).to_pandas()
    put(
        small.lake,
        METRICS.of(small.spec),
        pd.concat([kept[["metric", "slice", "value"]], spanned]).assign(model_version=None),
        {"partition_key": THIRD.key, "source": windows.SOURCE},
    )
    decide(small, Kind.RETRAINING_POLICY, Outcome.ALERT_ROOT_CAUSE, Reason.CHANGE_OF_UNIT, THIRD, "alerted")
    assert build(small)[0].faulty == (THIRD.key,)
    decide(small, Kind.BATCH_VERDICT, Outcome.ACCEPT_BATCH, Reason.ROW_COUNT_OFF_BAND, SECOND, "delivered anew")
    assert build(small)[0].faulty == ()


def test_a_split_by_time_leaves_its_gap_out_of_the_set(small: world.World) -> None:
    changed(small, kind="by_time", gap=1, test_share=0.15)
    ref, frame = build(small)
    assert (ref.rows, ref.left_out, ref.test_rows) == (450, 50, 50)
    assert set(frame["partition_key"]) == {HISTORY.key, THIRD.key}
    small.deliver(FOURTH, 60)
    newer, later = build(small, FOURTH)
    assert (later.loc[later["partition_key"] == FOURTH.key, "split"] == "test").all()
    out = splits.held_out(small.spec, ref.split, later)
    assert set(later.loc[out, "partition_key"]) == {FOURTH.key}, "the new gap is the partition that was test before"
    assert splits.held_out(small.spec, newer.split, later).sum() == newer.test_rows


def test_a_split_by_a_delivered_column_keeps_it_beside_the_rows(small: world.World) -> None:
    changed(small, kind="by_group", group="ocean_proximity", test_share=0.5)
    ref, frame = build(small)
    assert frame.groupby("ocean_proximity")["split"].nunique().max() == 1
    assert "ocean_proximity" not in ref.features
    assert ref.test_rows == splits.held_out(small.spec, ref.split, frame).sum()
    assert list(splits.parts(small.spec, ref.split, frame)) == list(frame["split"])


def test_a_split_by_blocks_keeps_delivered_columns_and_leaves_the_margin_out(small: world.World) -> None:
    blocks = {"longitude": 0.5, "households": 200.0}
    changed(small, kind="by_block", blocks=blocks, margin=0.2, test_share=0.4)
    ref, frame = build(small)
    assert "households" not in ref.features
    assert "longitude" in ref.features
    assert ref.left_out > 0
    assert ref.rows == len(frame) == 500 - ref.left_out
    assert list(splits.parts(small.spec, ref.split, frame)) == list(frame["split"])
    assert ref.test_rows == splits.held_out(small.spec, ref.split, frame).sum() > 0


def test_test_rows_that_retire_are_fitted_to_later(small: world.World) -> None:
    changed(small, retire_after=2)
    ref, frame = build(small)
    assert set(frame.loc[frame["split"] == "test", "partition_key"]) == {SECOND.key, THIRD.key}
    small.deliver(FOURTH, 60)
    newer, later = build(small, FOURTH)
    assert set(later.loc[later["split"] == "test", "partition_key"]) == {THIRD.key, FOURTH.key}
    both = splits.held_out(small.spec, ref.split, later) & splits.held_out(small.spec, newer.split, later)
    judged = later.loc[both, ["listing_id"]]
    assert set(later.loc[both, "partition_key"]) == {THIRD.key, FOURTH.key}
    fitted = set(frame.loc[frame["split"] != "test", "listing_id"])
    assert not fitted & set(judged["listing_id"])


def test_labels_of_a_task_with_classes_are_classes(small: world.World) -> None:
    for task, values, message in (
        (
            Task.BINARY,
            {"median_house_value": 2.0},
            "500 labels are no class of a binary task, e.g. 2. Classes are 0 and 1",
        ),
        (Task.MULTICLASS, {"median_house_value": 1_000.0}, "e.g. 1000. Classes are whole numbers from 0 to 999"),
        (Task.MULTICLASS, {"median_house_value": 0.5}, "no class of a multiclass task, e.g. 0.5. Classes are whole"),
    ):
        for partition in (HISTORY, SECOND, THIRD):
            put(small.lake, LABELS.of(small.spec), labels_of(small, partition).assign(**values), partition)
        small.spec = small.spec.model_copy(update={"task": task})
        small.spec._folder = world.quick_spec(1).folder
        with pytest.raises(DataError, match=message):
            build(small)


def test_a_feature_that_determines_the_label_stops_the_training_set(tmp_path: Path) -> None:
    made = world.make(tmp_path)
    made.rows = made.rows.assign(median_income=made.rows["median_house_value"] / 1e5)
    made.deliver(HISTORY, 300)
    with pytest.raises(DataError, match=r"median_income determines \(100.0%\) median_house_value"):
        build(made, SECOND)
    assert not made.lake.exists(made.spec.table("training_sets"))
