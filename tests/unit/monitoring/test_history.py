"""What the policy reads of the past: the right windows and requests, and no more than its rules need."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from include.core.partition import Partition
from include.lakehouse import windows
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.schemas import METRICS, PARTITION
from include.monitoring import history
from include.monitoring.history import LOOK_BACK, labelled_windows
from tests.tables import day, put
from tests.unit.monitoring.scene import Scene

START = day("2025-01-01")


def measured(scene: Scene, partition: Partition, value: float | None) -> None:
    lines = [("rows", 9.0), ("labelled_rows", 0.0), *([("adjusted_r2", value)] if value is not None else [])]
    frame = pd.DataFrame(lines, columns=["metric", "value"]).assign(slice=windows.ALL)
    put(scene.lake, METRICS.of(scene.spec), frame, {PARTITION: partition.key, "source": windows.SOURCE})


def values(scene: Scene, before: Partition, count: int) -> list[float | None]:
    return [item.metric for item in labelled_windows(scene.spec, scene.lake, before, count)]


def test_the_last_labelled_windows_oldest_first(scene: Scene) -> None:
    for place, value in enumerate([0.1, 0.2, None, 0.3, None, None, 0.4, 0.5]):
        measured(scene, START.shift(place), value)
    assert values(scene, START.shift(8), 2) == [0.4, 0.5]
    assert values(scene, START.shift(7), 2) == [0.3, 0.4]
    assert values(scene, START.shift(6), 2) == [0.2, 0.3]
    assert values(scene, START.shift(6), 9) == [0.1, 0.2, 0.3]
    assert values(scene, START.shift(1), 2) == [0.1]
    assert values(scene, START, 2) == values(scene, START.shift(8), 0) == []


def test_the_search_stops_at_its_bound(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = windows.read

    def counted(spec: object, lake: object, first: Partition, last: Partition) -> list[windows.WindowMetrics]:
        reads.append(len(list(first.to(last))))
        return read(spec, lake, first, last)  # type: ignore[arg-type]

    monkeypatch.setattr(windows, "read", counted)
    measured(scene, START, 0.1)
    within, beyond = START.shift(LOOK_BACK * 2), START.shift(LOOK_BACK * 2 + 1)
    assert values(scene, within, 2) == [0.1]
    assert values(scene, beyond, 2) == []
    assert sum(reads) == 2 * (2 * LOOK_BACK)
    assert len(reads) < 14
    reads.clear()
    for place in range(20):
        measured(scene, START.shift(place), 0.3)
    assert values(scene, START.shift(20), 2) == [0.3, 0.3]
    assert reads == [2]


def test_requests_as_far_back_as_budget_and_cool_down_reach(scene: Scene) -> None:
    budget = scene.spec.monitoring.retraining.budget_days
    at = START.shift(100).end
    asked, recorded = Outcome.REQUEST_RETRAINING, Outcome.RECORD_DRIFT
    for ago, outcome in {0: asked, 3: recorded, budget: asked, budget + 1: asked}.items():
        run = scene.run(START.shift(99 - ago))
        run.decide(Kind.RETRAINING_POLICY, outcome, [Reason.HARMFUL_DRIFT], at=at - timedelta(days=ago))
    scene.run(START.shift(99)).decide(Kind.TRAINING_REQUEST, Outcome.REQUEST_RETRAINING, [Reason.ASKED_FOR], at=at)
    found = history.requests(scene.spec, scene.lake, at)
    assert [(item.partition, item.at) for item in found] == [
        (START.shift(99 - ago), at - timedelta(days=ago)) for ago in (budget, 0)
    ]


def test_a_window_that_is_decided_on_again_asks_once(scene: Scene) -> None:
    at = START.shift(100).end
    for run_id in ("scheduled", "cleared", "backfilled"):
        run = replace(scene.run(START.shift(99)), run_id=run_id)
        run.decide(Kind.RETRAINING_POLICY, Outcome.REQUEST_RETRAINING, [Reason.HARMFUL_DRIFT], at=at)
    assert [(item.partition, item.at) for item in history.requests(scene.spec, scene.lake, at)] == [
        (START.shift(99), at)
    ]
