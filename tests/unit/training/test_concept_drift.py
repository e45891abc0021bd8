"""What is predicted changes: a training set restates what it was, and versions are judged by what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core.partition import Partition
from include.core.sections import Task, Window
from include.lakehouse.schemas import LABELS, SUPERSEDED
from include.lakehouse.selection import within
from include.training import candidate, concept_drift, training_set
from include.training.training_set import TrainingSetRef
from tests.tables import put_predictions
from tests.unit.training import world
from tests.unit.training.world import HISTORY, World

pytestmark = pytest.mark.slow

DAYS = tuple(HISTORY.shift(number) for number in range(1, 6))
ROWS = 400


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world.make(tmp_path)
    made.deliver(HISTORY, 3000)
    return made


def change(made: World, partition: Partition, factor: float, *, version: str = "1", knew: float = 1.0) -> None:
    """A day of other prices, and predictions of a version that knew those of ``knew``: R2 of about .86 among them."""
    batch = made.deliver(partition, ROWS, price_factor=factor)
    price = batch[made.spec.target] / factor * knew
    noise = np.random.default_rng(int(batch["listing_id"].iloc[0])).normal(0, 0.37 * price.std(), ROWS)
    said = batch[["listing_id"]].assign(
        prediction=price.mean() + 0.86 * (price - price.mean()) + 0.86 * noise, served=True
    )
    put_predictions(made.lake, made.spec, partition, version, said)
    made.measured(partition, drifted=False, version=version)


def build(made: World, partition: Partition) -> tuple[TrainingSetRef, pd.DataFrame]:
    ref = training_set.build(made.spec, made.lake, made.store(), partition)
    return ref, training_set.read(made.spec, made.lake, ref)


def restated(made: World, frame: pd.DataFrame, partition: Partition) -> pd.Series:
    """By how much the labels of a partition differ from those that came."""
    came = made.lake.read(LABELS.of(made.spec), where=within(partition)).to_pandas().set_index("listing_id")
    rows = frame[frame["partition_key"] == partition.key].set_index("listing_id")
    return rows[made.spec.target] / came.loc[rows.index, made.spec.target]


def test_what_was_is_restated_and_versions_are_judged_by_what_is(made: World) -> None:
    for partition in DAYS[:3]:
        change(made, partition, 1.5)
    ref, frame = build(made, DAYS[2])
    assert set(frame.loc[frame[SUPERSEDED], "partition_key"]) == {HISTORY.key}
    since = frame[(frame["split"] == "test") & ~frame[SUPERSEDED]]
    assert ref.test_rows == len(since)
    assert set(since["partition_key"]) == {item.key for item in DAYS[:3]}
    assert restated(made, frame, HISTORY).median() == pytest.approx(1.5, abs=0.06)
    assert (restated(made, frame, DAYS[0]) == 1).all()
    (said,) = ref.concept_drifts
    assert said.startswith("What is predicted has changed since 2025-01-02, as 3 windows of version 1 show; ")
    assert "labels of before are restated: 1." in said
    assert ref.drifted == tuple(item.key for item in DAYS[:3])
    fitted = candidate.fit_baseline(made.spec, made.lake, ref, "run")
    assert fitted.metrics["rows"] == ref.test_rows
    assert fitted.metrics["adjusted_r2"] > 0.7, "without the 2,900 rows of before it is about .6"


def test_of_windows_of_several_partitions_what_may_be_of_since_is_not_restated(made: World) -> None:
    """The change came somewhere within the first window that shows it: labels of then would be restated twice."""
    made.deliver(DAYS[0], 50)
    for partition in DAYS[1:4]:
        change(made, partition, 1.5)
    made.measured(DAYS[1], drifted=False, healthy="1")
    monitoring = made.spec.monitoring.model_copy(update={"window": Window(partitions=3)})
    made.spec = made.spec.model_copy(update={"monitoring": monitoring})
    ref, frame = build(made, DAYS[3])
    assert ref.concept_drifts[0].startswith(f"What is predicted has changed since {DAYS[2]}, as 2 windows")
    assert set(frame.loc[frame[SUPERSEDED], "partition_key"]) == {HISTORY.key, DAYS[0].key, DAYS[1].key}
    assert restated(made, frame, HISTORY).median() == pytest.approx(1.5, abs=0.06)
    for partition in DAYS[:4]:
        assert (restated(made, frame, partition) == 1).all()


def test_one_window_may_be_chance(made: World) -> None:
    change(made, DAYS[0], 1.5)
    ref, frame = build(made, DAYS[0])
    assert ref.concept_drifts == ()
    assert not frame[SUPERSEDED].any()
    assert (restated(made, frame, HISTORY) == 1).all()


def test_a_change_that_has_gone_says_nothing_of_the_world_since(made: World) -> None:
    """Nor do faults of single days."""
    for number, partition in enumerate(DAYS):
        if number in (0, 1):
            change(made, partition, 1.5)
        else:
            made.deliver(partition, 50)
            made.measured(partition, drifted=False, healthy="1")
    assert [item.since for item in concept_drift.find(made.spec, made.lake, DAYS[2])] == [DAYS[0]], "2 of 3 windows"
    assert concept_drift.find(made.spec, made.lake, DAYS[3]) == []
    made.measured(DAYS[4], drifted=False, version="1")
    assert concept_drift.find(made.spec, made.lake, DAYS[4]) == [], "one day"
    made.measured(DAYS[3], drifted=False, version="1")
    assert [item.windows for item in concept_drift.find(made.spec, made.lake, DAYS[4])] == [
        (DAYS[0], DAYS[1], DAYS[3], DAYS[4])
    ]


def test_a_change_that_no_line_explains_restates_nothing(made: World) -> None:
    for partition in DAYS[:2]:
        change(made, partition, 1.5)
        noise = pd.DataFrame({"listing_id": made.lake.read(made.spec.table("labels"))["listing_id"].to_pandas()})
        rng = np.random.default_rng(1)
        put_predictions(
            made.lake, made.spec, partition, "1", noise.assign(prediction=rng.random(len(noise)), served=True)
        )
    ref, frame = build(made, DAYS[1])
    assert set(frame.loc[frame[SUPERSEDED], "partition_key"]) == {HISTORY.key}
    assert (restated(made, frame, HISTORY) == 1).all()
    assert "restated" not in ref.concept_drifts[0]


def test_of_two_changes_the_second_restates_what_the_first_has_restated(made: World) -> None:
    for partition in DAYS[:2]:
        change(made, partition, 1.5)
    for partition in DAYS[2:4]:
        change(made, partition, 1.2, version="2", knew=1.5)
    ref, frame = build(made, DAYS[3])
    assert [said.split(",")[0] for said in ref.concept_drifts] == [
        "What is predicted has changed since 2025-01-02",
        "What is predicted has changed since 2025-01-04",
    ]
    assert restated(made, frame, HISTORY).median() == pytest.approx(1.2, abs=0.08)
    assert restated(made, frame, DAYS[0]).median() == pytest.approx(0.8, abs=0.06)
    assert set(frame.loc[~frame[SUPERSEDED], "partition_key"]) == {DAYS[2].key, DAYS[3].key}
    assert build(made, DAYS[1])[0].concept_drifts == ref.concept_drifts[:1], "a training knows what was known then"


def test_classes_are_not_restated(made: World) -> None:
    for partition in DAYS[:2]:
        change(made, partition, 1.5)
    _, frame = build(made, HISTORY)
    several = [frame.assign(partition_key=item.key) for item in (HISTORY, *DAYS[:2])]
    rows = pd.concat(several).assign(median_house_value=lambda frame: (frame["median_house_value"] > 2e5).astype(float))
    spec = made.spec.model_copy(update={"task": Task.BINARY, "metric": "auc"})
    found = concept_drift.supersede(spec, made.lake, rows, concept_drift.find(spec, made.lake, DAYS[1]), 5)
    assert set(found.labels) == {0.0, 1.0}
    assert found.rows.sum() == len(frame)
