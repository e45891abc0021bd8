"""Windows of several partitions: days that are too small alone are judged together, as if they had come in order."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from include.core import catalogue
from include.core.partition import Partition
from include.core.sections import Window
from include.evaluation import metrics
from include.jobs import replay_decisions
from include.lakehouse import decisions, predictions, scans, windows
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.schemas import LABELS, METRICS, PARTITION, PREDICTION
from include.lakehouse.windows import WindowMetrics
from include.monitoring import steps, window
from include.monitoring.window import Measured
from include.orchestration import notes
from tests.unit.monitoring.scene import DAY, NAMES, Scene, predicted, rows_of, trained
from tests.unit.monitoring.test_steps import said

pytestmark = pytest.mark.slow

FEW = 5
"""Rows of a day: fewer than adjusted R2 needs for three features."""
DAYS = [DAY.shift(number) for number in range(7)]
LEAST = metrics.METRICS["adjusted_r2"].least_rows(len(NAMES))


def of_several(scene: Scene, partitions: int = 4, **retraining: int) -> Scene:
    monitoring = scene.spec.monitoring.model_dump()
    monitoring["retraining"] |= retraining
    return scene.changed(monitoring=monitoring | {"window": {"partitions": partitions}})


@pytest.fixture
def four(scene: Scene) -> Scene:
    """Windows of four days."""
    return of_several(scene)


def deliver(scene: Scene, partition: Partition, *, rows: int = FEW, factor: float = 1, **more: str) -> pd.DataFrame:
    def few(found: pd.DataFrame) -> pd.DataFrame:
        return found.head(rows).assign(income=lambda known: known["income"] * factor)

    return scene.deliver(partition, seed=int(partition.key[-2:]), change=few, **more)


def play(scene: Scene, partition: Partition, *, rows: int = FEW, noise: float = 20) -> WindowMetrics:
    """Deliver, label and measure."""
    scene.label(deliver(scene, partition, rows=rows), partition, rows=rows, noise=noise)
    return scene.measure(partition)


def reopen(scene: Scene, partition: Partition) -> list[str]:
    """What the asset `reopened` starts, until nothing is left; the keys in the order in which they were reopened."""
    waiting, reopened = [partition], []
    while waiting:
        for key in steps.find_outdated(scene.run(waiting.pop())):
            waiting.append(Partition.parse(key, scene.spec.grain))
            scene.measure(waiting[-1])
            steps.decide(scene.run(waiting[-1], run_id=f"{partition} {len(reopened)}"))
            reopened.append(key)
    return reopened


def stored(scene: Scene) -> pd.DataFrame:
    found = scene.lake.read(METRICS.of(scene.spec)).to_pandas()
    return found.sort_values([PARTITION, "metric", "slice"], ignore_index=True)


def test_days_that_are_too_small_alone_are_judged_together(scene: Scene, four: Scene) -> None:
    for day in DAYS[:5]:
        assert not play(scene, day).labelled
    measured = [four.measure(day) for day in DAYS[:5]]
    assert [item.labelled_rows for item in measured] == [FEW, 2 * FEW, 3 * FEW, 4 * FEW, 4 * FEW]
    assert [item.labelled for item in measured] == [False, True, True, True, True]
    rows = [predictions.served_rows(four.spec, four.lake, day).to_pandas() for day in DAYS[1:5]]  # type: ignore[union-attr]
    labels = four.lake.read(LABELS.of(four.spec)).to_pandas()
    known = pd.concat(rows).merge(labels, on="listing_id")
    errors = known[PREDICTION] - known[four.spec.target]
    assert measured[4].values["mae"] == pytest.approx(errors.abs().mean())
    assert measured[4].partitions == tuple(day.key for day in DAYS[1:5])
    assert windows.read(four.spec, four.lake, DAYS[4], DAYS[4]) == [measured[4]]


def test_a_window_of_one_partition_is_stored_as_ever(scene: Scene) -> None:
    assert scene.spec.monitoring.window == Window()
    play(scene, DAYS[0])
    measured = play(scene, DAYS[1])
    assert (measured.partitions, measured.span) == ((), "")
    assert set(stored(scene)["slice"]) <= {windows.ALL, *NAMES, "prediction", "residual"}


def test_rows_that_another_version_served_do_not_belong(four: Scene) -> None:
    four.train(trained(seed=5), training_set="2025-01-03")
    for place, day in enumerate(DAYS[:4]):
        predicted = deliver(four, day, version="2" if place == 1 else "1")
        four.label(predicted, day, rows=FEW)
    measured = [four.measure(day) for day in DAYS[:4]]
    assert [item.rows for item in measured] == [FEW, FEW, 2 * FEW, 3 * FEW]
    assert [item.version for item in measured] == ["1", "2", "1", "1"]
    assert measured[3].partitions == tuple(DAYS[place].key for place in (0, 2, 3))
    assert measured[3].span == f"3 partitions from {DAYS[0]} to {DAYS[3]}"
    assert measured[1].span == f"{DAYS[1]} alone"


def test_rows_beside_what_was_served_do_not_belong(four: Scene) -> None:
    """What scored a day later, for a look, is no prediction that anybody got."""
    for day in DAYS[:2]:
        play(four, day)
    before = four.measure(DAYS[1])
    rows = predictions.served_rows(four.spec, four.lake, DAYS[0]).to_pandas()  # type: ignore[union-attr]
    four.train(trained(seed=5), training_set="2025-01-03")
    four.score(DAYS[0], rows, rows[PREDICTION] + 9, "2", served=False)
    assert four.measure(DAYS[1]) == before


def test_a_key_that_comes_again_is_a_row_of_each_day(four: Scene) -> None:
    for day in DAYS[:3]:
        predicted = four.deliver(day, seed=1, change=lambda rows: rows.head(FEW))
        four.label(predicted, day, rows=FEW)
    measured = four.measure(DAYS[2])
    assert (measured.rows, measured.labelled_rows) == (3 * FEW, 3 * FEW)


def test_a_day_that_is_missing_leaves_a_smaller_window(four: Scene) -> None:
    """The partitions of a window are those of the calendar: which they are depends on no delivery."""
    for place in (0, 3, 6):
        play(four, DAYS[place])
    measured = windows.read(four.spec, four.lake, DAYS[0], DAYS[6])
    assert [item.rows for item in measured] == [FEW, 2 * FEW, 2 * FEW]


def test_a_window_is_not_judged_before_labels_of_its_own_partition_are_there(four: Scene) -> None:
    """By the labels of before alone the windows of before are judged; what is delivered is tested for drift at once."""
    for day in DAYS[:3]:
        play(four, day)
    predicted = deliver(four, DAYS[3])
    waiting = four.measure(DAYS[3])
    assert (waiting.rows, waiting.labelled_rows, waiting.metric) == (4 * FEW, 0, None)
    assert waiting.drifted_features == ()
    assert steps.find_outdated(four.run(DAYS[2])) == []
    four.label(predicted, DAYS[3], rows=FEW)
    assert four.measure(DAYS[3]).labelled_rows == 4 * FEW


def test_drift_is_tested_on_the_rows_of_the_whole_window(scene: Scene, four: Scene) -> None:
    """A few rows of incomes that are half as high again prove nothing, four times as many do."""
    for day in DAYS[:4]:
        deliver(scene, day, rows=30, factor=1.2)
    alone = scene.measure(DAYS[3])
    measured = [four.measure(day) for day in DAYS[:4]]
    assert alone.drifted_features == measured[0].drifted_features == ()
    assert measured[3].drifted_features == ("income",)


def test_only_the_windows_that_a_late_day_is_part_of_are_reopened(four: Scene) -> None:
    """And those that looked back on one of them."""
    for place in (0, 1, 3, 4, 5, 6):
        play(four, DAYS[place])
        steps.decide(four.run(DAYS[place]))
        assert steps.find_outdated(four.run(DAYS[place])) == []
    play(four, DAYS[2])
    steps.decide(four.run(DAYS[2]))
    assert steps.find_outdated(four.run(DAYS[2])) == [day.key for day in DAYS[3:6]]
    again = reopen(four, DAYS[2])
    assert set(again) == {day.key for day in DAYS[3:7]}
    assert reopen(four, DAYS[2]) == []


def test_labels_that_come_late_or_again_reopen_the_windows_that_have_seen_labels(four: Scene) -> None:
    for place, day in enumerate(DAYS[:5]):
        predicted = deliver(four, day)
        if place != 1:
            four.label(predicted, day, rows=FEW)
        four.measure(day)
        steps.decide(four.run(day))
    late = deliver(four, DAYS[1])
    deliver(four, DAYS[5])
    four.measure(DAYS[5])  # it has seen no labels: they would change nothing of it
    four.label(late, DAYS[1], rows=FEW)
    four.measure(DAYS[1])
    assert steps.find_outdated(four.run(DAYS[1])) == [day.key for day in DAYS[2:5]]
    reopen(four, DAYS[1])
    four.label(late.iloc[::-1], DAYS[1], rows=FEW)  # as many, and of other rows
    four.measure(DAYS[1])
    assert steps.find_outdated(four.run(DAYS[1])) == [day.key for day in DAYS[2:5]]
    reopen(four, DAYS[1])
    assert [steps.find_outdated(four.run(day)) for day in DAYS[:6]] == [[]] * 6


def test_a_withdrawn_day_leaves_every_window_that_it_was_part_of(four: Scene) -> None:
    for day in DAYS[:6]:
        play(four, day)
        steps.decide(four.run(day))
    predictions.withdraw(four.spec, four.lake, DAYS[2])
    steps.withdraw_window(four.run(DAYS[2]))
    assert set(steps.find_outdated(four.run(DAYS[2]))) >= {day.key for day in DAYS[3:6]}
    reopen(four, DAYS[2])
    measured = windows.read(four.spec, four.lake, DAYS[3], DAYS[5])
    assert all(DAYS[2].key not in item.partitions for item in measured)
    assert [item.rows for item in measured] == [3 * FEW] * 3
    assert [steps.find_outdated(four.run(day)) for day in DAYS[2:6]] == [[]] * 4


EVENTS = [(place, what) for place in range(6) for what in ("predictions", "labels")]


@pytest.mark.parametrize("seed", [None, 0])
def test_in_whatever_order_days_and_labels_come_all_is_as_in_order(scene: Scene, seed: int | None) -> None:
    """With no seed backwards. Labels may come before their batch, or long after."""
    scene = of_several(scene, 3)
    order = range(len(EVENTS)) if seed is None else np.random.default_rng(seed).permutation(len(EVENTS))
    for place, what in [EVENTS[number] for number in order][:: -1 if seed is None else 1]:
        day, noise = DAYS[place], (20, 300)[place >= 2]
        if what == "predictions":
            scene.deliver(day, seed=place + 1, change=lambda rows: rows.head(9))
        else:
            scene.label(_predicted(place), day, rows=9, noise=noise)
        scene.measure(day)
        steps.decide(scene.run(day, run_id=what))
        reopen(scene, day)
    found, rows = said(scene), stored(scene)
    assert {item[0] for item in found.values()} == {Outcome.NO_ACTION, Outcome.ALERT_ROOT_CAUSE}
    for place in range(6):
        scene.measure(DAYS[place])
        steps.decide(scene.run(DAYS[place], run_id="in order"))
    pd.testing.assert_frame_equal(stored(scene), rows)
    assert said(scene) == found


def test_two_versions_corrections_and_withdrawals_in_any_order_leave_what_is_there_in_order(scene: Scene) -> None:
    scene = of_several(scene, 3)
    scene.train(trained(seed=5), training_set="2025-01-03")
    random = np.random.default_rng(1)
    order = [EVENTS[number] for number in random.permutation(len(EVENTS))]
    for place, what in [*order, (1, "corrected"), (4, "withdrawn"), (2, "corrected")]:
        day, run = DAYS[place], scene.run(DAYS[place], run_id=what)
        if what == "predictions":
            scene.deliver(day, seed=place + 1, change=lambda rows: rows.head(9), version="1" if place < 3 else "2")
        elif what == "withdrawn":
            predictions.withdraw(scene.spec, scene.lake, day)
        else:
            rows = _predicted(place)
            scene.label(rows if what == "labels" else rows.iloc[::-1], day, rows=9 if what == "labels" else 7, noise=20)
        steps.measure_window(run)
        steps.decide(run)
        reopen(scene, day)
    found, rows = said(scene), stored(scene)
    assert [steps.find_outdated(scene.run(day)) for day in DAYS] == [[]] * len(DAYS)
    for place in range(6):
        scene.measure(DAYS[place])
        steps.decide(scene.run(DAYS[place], run_id="in order"))
    pd.testing.assert_frame_equal(stored(scene), rows)
    assert {key: item[:2] for key, item in said(scene).items()} == {key: item[:2] for key, item in found.items()}


def _predicted(place: int) -> pd.DataFrame:
    """What the model predicts of a day, be it delivered or not."""
    rows = rows_of(place + 1, DAYS[place]).head(9)
    return rows.assign(**{PREDICTION: predicted(rows)})


def test_a_day_of_before_that_changes_while_a_window_is_measured_is_seen(
    four: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in DAYS[:2]:
        play(four, day)
    predicted, measure, come = deliver(four, DAYS[2]), window.measure, []

    def overtaken(*arguments: object) -> Measured:
        before = measure(*arguments)
        if not come:
            come.append("late")
            four.label(predictions_of(four, DAYS[0]).iloc[::-1], DAYS[0], rows=FEW)
            monkeypatch.setattr(window, "measure", measure)
            four.measure(DAYS[0])
            assert steps.find_outdated(four.run(DAYS[0])) == [DAYS[1].key]  # the other one is not written yet
            monkeypatch.setattr(window, "measure", overtaken)
        return before

    four.label(predicted, DAYS[2], rows=FEW)
    monkeypatch.setattr(window, "measure", overtaken)
    found = four.measure(DAYS[2])
    monkeypatch.setattr(window, "measure", measure)
    assert four.measure(DAYS[2]) == found
    assert DAYS[2].key not in steps.find_outdated(four.run(DAYS[0]))


def predictions_of(scene: Scene, day: Partition) -> pd.DataFrame:
    found = predictions.served_rows(scene.spec, scene.lake, day)
    assert found is not None
    return found.to_pandas()


def test_a_day_costs_what_it_cost_whatever_was_before(four: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [DAY.shift(number) for number in range(16)]
    for day in days:
        four.label(deliver(four, day), day, rows=FEW)
    read: list[int] = []
    files_of = scans.files_of
    monkeypatch.setattr(scans, "files_of", lambda *given: (found := files_of(*given), read.append(len(found)))[0])
    costs = []
    for day in days:
        read.clear()
        four.measure(day)
        steps.find_outdated(four.run(day))
        costs.append(sum(read))
    assert costs[5] == costs[10] == costs[15]


def test_what_the_windows_cover_is_said(four: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for day in DAYS[:4]:
        play(four, day, noise=400)
    verdict = steps.decide(four.run(DAYS[3]))
    span = f"4 partitions from {DAYS[0]} to {DAYS[3]}"
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name == steps.__name__)
    assert f"Window {DAYS[3]}: 20 rows scored by version 1, of {span}" in logged
    assert "degraded of the last 3 windows, which overlap" in logged
    assert f"on {span}, no drift" in notes.of_window(four.run(DAYS[3]), verdict)
    with pytest.raises(steps.RootCauseAlert, match=f"on 20 rows of {span}, and no feature drifted"):
        steps.alert(four.run(DAYS[3]))


def test_decisions_on_such_windows_are_taken_again_to_the_byte(
    four: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in DAYS[:5]:
        play(four, day, noise=400)
        steps.decide(four.run(day))
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", four.lake._root)
    monkeypatch.setattr(catalogue, "registered", lambda: (four.spec.name,))
    monkeypatch.setattr(catalogue, "load", lambda name: four.spec)
    assert replay_decisions.main(["--model", four.spec.name]) == 0
    assert "5 of 5 decisions taken again, 5 as before" in capsys.readouterr().out
    asked = decisions.history(four.lake, four.spec.name, Kind.RETRAINING_POLICY)[-1]
    assert asked.inputs["window"]["partitions"] == [day.key for day in DAYS[1:5]]


@pytest.mark.parametrize("partitions", [0, -1, 101])
def test_a_window_is_of_some_partitions_and_not_of_hundreds(partitions: int) -> None:
    with pytest.raises(ValidationError, match="partitions"):
        Window(partitions=partitions)
