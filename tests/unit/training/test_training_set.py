from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core.errors import DataError
from include.training import training_set
from include.training.training_set import TrainingSetRef
from tests.unit.training import world


@pytest.fixture
def small(tmp_path: Path) -> world.World:
    made = world.make(tmp_path)
    made.deliver(world.HISTORY, 400)
    made.deliver(date(2025, 1, 2), 50, income_factor=1.5)
    made.deliver(date(2025, 1, 3), 50)
    return made


def test_sees_only_labels_that_had_arrived(small: world.World) -> None:
    store = small.store()
    assert training_set.build(small.spec, small.lake, store, datetime(2025, 1, 2, tzinfo=UTC)).rows == 400
    assert training_set.build(small.spec, small.lake, store, datetime(2025, 1, 3, 23, tzinfo=UTC)).rows == 450
    with pytest.raises(DataError, match="no label had arrived"):
        training_set.build(small.spec, small.lake, store, datetime(2025, 1, 1, 23, tzinfo=UTC))
    with pytest.raises(DataError, match="time zone"):
        training_set.build(small.spec, small.lake, store, datetime(2025, 1, 3))


def test_features_are_those_of_the_row_and_never_later(small: world.World) -> None:
    """A key that comes again with other values keeps each label beside the values of its own day."""
    again = small.lake.read(small.spec.table("clean"), where=[("batch_date", "=", world.HISTORY)]).to_pandas().head(30)
    small.rows = pd.concat([again.assign(median_house_value=1.0)[small.rows.columns], small.rows])
    small.deliver(date(2025, 1, 4), 30, income_factor=2.0)
    ref = training_set.build(small.spec, small.lake, small.store(), world.moment(date(2025, 1, 6)))
    frame = training_set.read(small.spec, small.lake, ref)
    pairs = frame[frame["listing_id"].isin(again["listing_id"])].pivot(
        index="listing_id", columns="window", values="median_income"
    )
    assert np.allclose(pairs[date(2025, 1, 4)], 2 * pairs[world.HISTORY])
    assert frame.groupby("listing_id")["split"].nunique().max() == 1


def test_labels_without_features_are_counted_not_kept(small: world.World) -> None:
    labels = small.lake.read(small.spec.table("labels"), where=[("batch_date", "=", date(2025, 1, 3))]).to_pandas()
    small.put("labels", pd.concat([labels, labels.head(3).assign(listing_id=[-1, -2, -3])]), date(2025, 1, 3))
    ref = training_set.build(small.spec, small.lake, small.store(), world.moment(date(2025, 1, 5)))
    assert (ref.rows, ref.without_features) == (500, 3)


def test_latest_label_counts(small: world.World) -> None:
    labels = small.lake.read(small.spec.table("labels"), where=[("batch_date", "=", date(2025, 1, 3))]).to_pandas()
    later = labels.assign(arrived_at=labels["arrived_at"] + pd.Timedelta(days=2), median_house_value=7.0)
    small.put("labels", pd.concat([later, labels]), date(2025, 1, 3))
    before = training_set.latest_labels(small.spec, small.lake, world.moment(date(2025, 1, 5)))
    after = training_set.latest_labels(small.spec, small.lake, world.moment(date(2025, 1, 7)))
    assert len(before) == len(after) == 500
    assert (before.loc[before["window"] == date(2025, 1, 3), "median_house_value"] != 7.0).all()
    assert (after.loc[after["window"] == date(2025, 1, 3), "median_house_value"] == 7.0).all()


def test_repeating_replaces_and_the_ref_names_the_version(small: world.World) -> None:
    store, as_of = small.store(), world.moment(date(2025, 1, 5))
    first = training_set.build(small.spec, small.lake, store, as_of)
    second = training_set.build(small.spec, small.lake, store, as_of)
    assert second.table_version > first.table_version
    pd.testing.assert_frame_equal(
        training_set.read(small.spec, small.lake, first), training_set.read(small.spec, small.lake, second)
    )
    assert second.data_version == "features_california_housing@3 labels_california_housing@3"
    assert TrainingSetRef(**asdict(second)) == second
    frame = training_set.read(small.spec, small.lake, second)
    assert second.recent == ("2025-01-02",)
    small.measured(date(2025, 1, 3), drifted=True)
    third = training_set.build(small.spec, small.lake, store, as_of)
    assert third.recent == ("2025-01-02", "2025-01-03")
    frame = training_set.read(small.spec, small.lake, third)
    heavier = frame["weight"] == small.spec.training.recent_weight
    assert (
        set(frame.loc[heavier, "window"])
        == set(frame.loc[frame["recent"], "window"])
        == {
            date(2025, 1, 2),
            date(2025, 1, 3),
        }
    )
    with pytest.raises(DataError, match="no training set"):
        training_set.stored(small.spec, small.lake, "1999-01-01", second.table_version)


def test_recent_windows_are_the_newest_that_drifted() -> None:
    days = [date(2025, 1, day) for day in (1, 2, 3, 4)]
    assert training_set.recent_windows(days, 9, days) == days[1:]
    assert training_set.recent_windows(days, 2, days) == days[2:]
    assert training_set.recent_windows(days, 9, [days[3], days[2]]) == days[2:]
    assert training_set.recent_windows(days, 1, days[:3]) == []
    assert training_set.recent_windows(days[:1], 2, days) == []
    assert list(training_set.row_weights(days, days[2:], 5.0)) == [1, 1, 5, 5]


def test_a_feature_that_determines_the_label_stops_the_training_set(tmp_path: Path) -> None:
    made = world.make(tmp_path)
    made.rows = made.rows.assign(median_income=made.rows["median_house_value"] / 1e5)
    made.deliver(world.HISTORY, 300)
    with pytest.raises(DataError, match=r"median_income determines \(100.0%\) median_house_value"):
        training_set.build(made.spec, made.lake, made.store(), world.moment(date(2025, 1, 2)))
    assert not made.lake.exists(made.spec.table("training_sets"))
