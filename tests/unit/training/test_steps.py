from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from include.core import catalogue
from include.core.errors import UsageError
from include.core.settings import Settings
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP
from include.lakehouse.tables import Lakehouse
from include.training import steps
from include.training.tracking import RunRef
from tests.tables import day, put


def test_a_request_is_recorded_once_a_run_and_the_better_candidate_is_named(tmp_path: Path) -> None:
    folder = str(tmp_path)
    settings = Settings(landing_uri=folder, lakehouse_uri=folder, mlflow_uri=folder)
    run = Run(catalogue.load("california_housing"), settings, Lakehouse(folder), "run-1", day("2025-01-03"))
    with pytest.raises(UsageError, match="nothing to do: no rows of 2025-01-03"):
        steps.request_training(run)
    put(
        run.lake,
        run.table(CLEAN),
        pd.DataFrame({"listing_id": [1], EVENT_TIMESTAMP: [run.partition.start]}),
        run.partition,
    )
    steps.request_training(run)
    steps.request_training(run)
    (found,) = decisions.history(run.lake, run.spec.name)
    assert (found.kind, found.outcome, tuple(found.reasons)) == (
        Kind.TRAINING_REQUEST,
        Outcome.REQUEST_RETRAINING,
        (Reason.ASKED_FOR,),
    )
    assert (found.subject, found.actor, found.decided_at) == ("2025-01-03", Actor.SCHEDULE_OR_PERSON, run.partition.end)
    baseline, tuned = (
        RunRef("r", name, "m", {"validation": 1.0, "baseline_validation": 2.0}, {}) for name in ("baseline", "tuned")
    )
    assert steps.choose_candidate(run, baseline, tuned) == "tuned"
