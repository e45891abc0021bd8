"""Predict for a day's rows with the version in production: what the DAG score_batch does."""

from __future__ import annotations

from datetime import date

from include.core.errors import DataError
from include.features import store
from include.jobs.command import run_for_day
from include.lakehouse.run import Workspace
from include.registry import versions
from include.scoring import batch
from include.scoring.batch import ScoreCounts


def score(workspace: Workspace, day: date, run_id: str) -> ScoreCounts:
    version = versions.production(workspace.spec)
    if version is None:
        raise DataError("no version is in production", where=workspace.spec.name, fix="Train and promote one")
    return batch.score(workspace.spec, workspace.lake, store.open_store(), day, version.version, run_id)


if __name__ == "__main__":
    run_for_day("score_batch", score)
