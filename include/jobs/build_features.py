"""Compute, materialise and check a day's features: what the DAG build_features does."""

from __future__ import annotations

from datetime import date

from include.features import parity, query, store
from include.features.parity import Parity
from include.jobs.command import run_for_day
from include.lakehouse.run import Workspace


def build(workspace: Workspace, day: date, run_id: str) -> Parity:
    query.write(workspace.spec, workspace.lake, day)
    feast = store.open_store()
    store.apply(feast, workspace.spec)
    store.materialize(feast, workspace.spec, day)
    return parity.gate(workspace.spec, feast, workspace.lake, day)


if __name__ == "__main__":
    run_for_day("build_features", build)
