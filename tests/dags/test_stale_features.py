"""Features that looked back on rows that have changed are announced by the run of those rows, and by no other."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.features import steps
from include.orchestration.assets import assets_of
from include.orchestration.runs import NOTE

MODEL = "california_housing"
ASSETS = assets_of(MODEL)


class Told:
    """What a task does with its run: the partitions of its event, and its note."""

    def __init__(self) -> None:
        self.partitions: list[str] = []
        self.note = ""

    def add_partitions(self, keys: list[str]) -> None:
        self.partitions += keys

    def xcom_push(self, key: str, value: str) -> None:
        assert key == NOTE
        self.note = value


def announced(dag_bag, monkeypatch, dag: str, started_by: list, stale: list[str]) -> Told:
    announce, told = dag_bag.dags[f"{MODEL}.{dag}"].get_task("announce_stale_features").python_callable, Told()
    monkeypatch.setitem(announce.__globals__, "run_of", lambda context: "the run")
    monkeypatch.setattr(steps, "find_stale", lambda run: stale)
    context = {"triggering_asset_events": dict.fromkeys(started_by), "ti": told}
    assert announce(outlet_events={ASSETS.stale_features: told}, **context) == stale
    return told


@pytest.mark.parametrize(
    ("dag", "started_by"),
    [
        ("build_features", [ASSETS.clean]),
        ("build_features", [ASSETS.clean, ASSETS.stale_features]),
        ("build_features", []),  # a backfill
        ("withdraw_batch", [ASSETS.withdrawn]),
    ],
)
def test_later_partitions_are_announced_and_named(dag_bag, monkeypatch, dag, started_by):
    told = announced(dag_bag, monkeypatch, dag, started_by, ["2025-01-03", "2025-01-05"])
    assert told.partitions == ["2025-01-03", "2025-01-05"]
    assert told.note == "computed again: 2025-01-03, 2025-01-05"


def test_many_partitions_are_counted_in_the_note(dag_bag, monkeypatch):
    keys = [f"2025-01-{number:02}" for number in range(3, 31)]
    told = announced(dag_bag, monkeypatch, "build_features", [ASSETS.clean], keys)
    assert told.partitions == keys
    assert told.note == "computed again: 28 partitions from 2025-01-03 to 2025-01-30"


@pytest.mark.parametrize(
    ("started_by", "if_stale"),
    [([ASSETS.stale_features], True), ([ASSETS.clean, ASSETS.stale_features], False), ([], False)],
)
def test_only_a_run_for_stale_features_leaves_those_that_are_not(dag_bag, monkeypatch, started_by, if_stale):
    compute, asked = dag_bag.dags[f"{MODEL}.build_features"].get_task("compute_features").python_callable, []
    monkeypatch.setitem(compute.__globals__, "run_of", lambda context: "the run")
    monkeypatch.setattr(steps, "compute_features", lambda run, *, if_stale: asked.append(if_stale))
    with pytest.raises(AirflowSkipException, match="They are of the rows that are there now"):
        compute(triggering_asset_events=dict.fromkeys(started_by))
    assert asked == [if_stale]


def test_a_run_that_computes_stale_features_again_announces_none(dag_bag, monkeypatch):
    with pytest.raises(AirflowSkipException, match="No row of this partition has changed"):
        announced(dag_bag, monkeypatch, "build_features", [ASSETS.stale_features], ["2025-01-03"])


@pytest.mark.parametrize("dag", ["build_features", "withdraw_batch"])
def test_where_none_is_stale_the_task_is_skipped(dag_bag, monkeypatch, dag):
    with pytest.raises(AirflowSkipException, match="No other partition is computed again"):
        announced(dag_bag, monkeypatch, dag, [], [])
