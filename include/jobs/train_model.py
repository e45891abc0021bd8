"""Fit both candidates on what is known after a day and register the better: what the DAG train_model does."""

from __future__ import annotations

from datetime import date

from include.core.partition import labels_known_after
from include.features import store
from include.jobs.command import run_for_day
from include.lakehouse.run import Workspace
from include.registry import lineage, versions
from include.registry.versions import Version
from include.training import candidate, training_set


def train(workspace: Workspace, day: date, run_id: str) -> Version:
    spec, lake = workspace.spec, workspace.lake
    feast = store.open_store()
    ref = training_set.build(spec, lake, feast, labels_known_after(spec, day))
    baseline = candidate.fit_baseline(spec, lake, ref, run_id)
    tuned = candidate.fit_tuned(spec, lake, ref, run_id)
    version = versions.register(spec, candidate.better_of(baseline, tuned), ref)
    lineage.record(feast, spec, version, ref)
    return version


if __name__ == "__main__":
    run_for_day("train_model", train)
