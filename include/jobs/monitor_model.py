"""Measure a day's window and decide what follows: what the DAG monitor_model does, without the branches' actions."""

from __future__ import annotations

from datetime import date

from include.jobs.command import run_for_day
from include.lakehouse.run import Workspace
from include.monitoring import review
from include.monitoring.policy import Decision


def monitor(workspace: Workspace, day: date, run_id: str) -> Decision:
    review.measure(workspace, day)
    return review.decide(workspace, day, run_id)


if __name__ == "__main__":
    run_for_day("monitor_model", monitor)
