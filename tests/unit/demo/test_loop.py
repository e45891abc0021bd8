from __future__ import annotations

from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import StackError
from include.demo.loop import MODEL, Plan, Progress, _Loop
from include.runtime.airflow_api import AirflowApi, Run

DATA = {"path": "/x.csv", "origin": "downloaded", "sha256": "abc", "verified": True}


@pytest.mark.parametrize(
    ("model", "days", "drift_day", "expected"),
    [
        (MODEL, "10", "4", Plan(10, 4)),
        (MODEL, "14", "6", Plan(14, 6)),
        (MODEL, "3", "none", Plan(3, None)),
        (MODEL, "", "", Plan(10, 4)),
        (MODEL, "2", "", Plan(2, 2)),
        ("bike_demand", "", "", Plan(18, None, "bike_demand")),
    ],
)
def test_plan_of_the_command_line(model: str, days: str, drift_day: str, expected: Plan) -> None:
    assert Plan.parse(model, days, drift_day) == expected


@pytest.mark.parametrize(
    ("days", "drift_day"), [("0", "none"), ("365", "4"), ("ten", ""), ("10", "11"), ("10", "0"), ("10", "soon")]
)
def test_words_that_make_no_plan_are_refused(days: str, drift_day: str) -> None:
    with pytest.raises(StackError, match=r"(DAYS|DRIFT_DAY)="):
        Plan.parse(MODEL, days, drift_day)


def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(StackError, match=r"MODEL=sales\. MODEL is one of bike_demand, california_housing"):
        Plan.parse("sales", "", "")


def test_progress_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file, plan = tmp_path / "demo" / "progress.json", Plan(10, 4)
    progress = Progress.load(file, plan, DATA)
    progress.finish("history", 1.23)
    again = Progress.load(file, plan, DATA)
    assert again.done == ["history"]
    assert again.seconds == {"history": 1.2}


@pytest.mark.parametrize(("plan", "data"), [(Plan(14, 4), DATA), (Plan(10, 4), {**DATA, "sha256": "other"})])
def test_another_plan_or_file_in_the_same_folder_is_refused(tmp_path: Path, plan: Plan, data: dict) -> None:
    file = tmp_path / "progress.json"
    Progress.load(file, Plan(10, 4), DATA).finish("history", 1)
    with pytest.raises(
        StackError, match=r"holds a demo of california_housing with DAYS=10 DRIFT_DAY=4 on downloaded.*make clean"
    ):
        Progress.load(file, plan, data)


def test_what_somebody_else_runs_meanwhile_does_not_end_the_demo(tmp_path: Path) -> None:
    class Airflow(AirflowApi):
        """Nothing is asked of it but the runs that there are."""

        def runs(self, dag_id: str) -> list[Run]:
            return found

    def run(verb_noun: str, run_id: str, partition: str | None) -> Run:
        return Run(f"{MODEL}.{verb_noun}", run_id, "failed", partition, "", None, "")

    ours = [
        run("ingest_batch", "manual__ours", "2025-01-02"),
        run("build_features", "asset_triggered__1", "2025-01-02"),
        run("promote_model", "asset_triggered__2", "3"),
    ]
    other = Run("bike_demand.build_features", "asset_triggered__4", "failed", "2025-01-02", "", None, "")
    found = [
        *ours,
        other,
        run("ingest_batch", "manual__a mistake", "2025-01-02"),
        run("score_batch", "backfill__1", "2025-01-02"),
        run("ingest_labels", "manual__2", "2025-01-20"),
        run("monitor_model", "asset_triggered__3", "2025-01-20"),
    ]
    airflow = Airflow("http://127.0.0.1:1", "admin", "")
    playing = _Loop(airflow, catalogue.load(MODEL), Progress(tmp_path / "progress", Plan(2, None), DATA), print, 0)
    playing._triggered.add("manual__ours")
    assert playing._new_runs() == ours


def test_partitions_are_counted_from_the_last_of_the_history(tmp_path: Path) -> None:
    """Of hires by month six are the history, each a delivery of its own; of prices one is, with all of its rows."""
    asked: list[dict] = []

    class Airflow(AirflowApi):
        def trigger(self, dag_id: str, *, partition: str | None = None, conf: dict | None = None) -> Run:
            asked.append(conf)
            return Run(dag_id, "manual__1", "queued", partition, "", None, "")

    for model, plan in ((MODEL, Plan(3, 2)), ("bike_demand", Plan(18, None, "bike_demand"))):
        airflow = Airflow("http://127.0.0.1:1", "admin", "")
        playing = _Loop(airflow, catalogue.load(model), Progress(tmp_path / model, plan, DATA), print, 0)
        playing._deliver(batch=2, labels=None)
        asked[-1]["key"] = playing._key(2)
    assert asked == [
        {"file": "/x.csv", "days": 3, "batch": 2, "labels": None, "drift_day": 2, "key": "2025-01-03"},
        {"file": "/x.csv", "days": 18, "batch": 7, "labels": None, "drift_day": None, "key": "2011-08"},
    ]
