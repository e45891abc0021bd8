"""Rows that are said to have no label: from their delivery to the training set and the monitored window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core.settings import Settings
from include.ingestion import steps as ingestion
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run
from include.lakehouse.schemas import LABELS, PREDICTIONS, RAW
from include.lakehouse.selection import within
from include.monitoring import steps
from include.orchestration import notes
from include.training import training_set
from tests.tables import put, put_predictions
from tests.unit.monitoring.test_concept_drift import Life
from tests.unit.training import world
from tests.unit.training.stage import mlflow_store
from tests.unit.training.world import HISTORY

__all__ = ["mlflow_store"]
DAY = HISTORY.shift(1)
ROWS, WITHOUT = 300, 100


@pytest.fixture
def life(tmp_path: Path, mlflow_store: None) -> Life:
    made = world.make(tmp_path)
    deliveries = made.spec.deliveries.model_copy(update={"null_labels": "unlabelled"})
    made.spec = made.spec.model_copy(update={"deliveries": deliveries})
    made.deliver(HISTORY, 3000)
    return Life(made)


def test_rows_without_a_label_stay_scored_and_nothing_learns_from_them(life: Life, tmp_path: Path) -> None:
    spec, lake = life.spec, life.lake
    version = life.train(HISTORY)
    batch = life.made.deliver(DAY, ROWS)
    keys = batch["listing_id"].to_numpy()
    raw = pd.DataFrame({"listing_id": keys.astype(str), "source_file": "world.csv", "row_number": np.arange(ROWS)})
    put(lake, RAW.of(spec), raw, DAY)
    said = pd.DataFrame({"listing_id": keys, "prediction": batch[spec.target].to_numpy() + 9.0, "served": True})
    put_predictions(lake, spec, DAY, version.version, said)
    run = Run(spec, Settings(environment="dev", landing_uri=str(tmp_path / "landing")), lake, "run", DAY)

    def deliver(labels: pd.Series) -> None:
        rows = pd.DataFrame({"listing_id": keys, spec.target: labels.to_numpy()})
        content = rows.to_csv(index=False, lineterminator="\n").encode()
        Delivery.expected(run.settings, spec, "labels", DAY).write("labels.csv", content)

    deliver(batch[spec.target])
    assert ingestion.load_labels(run).accepted == ROWS
    assert steps.measure_window(run).labelled_rows == ROWS
    deliver(batch[spec.target].where(np.arange(ROWS) >= WITHOUT))
    counts = ingestion.load_labels(replace(run, run_id="corrected"))
    assert (counts.accepted, counts.quarantined, counts.unlabelled) == (ROWS - WITHOUT, 0, WITHOUT)

    assert lake.count(PREDICTIONS.of(spec), where=within(DAY)) == ROWS
    assert lake.count(LABELS.of(spec), where=within(DAY)) == ROWS - WITHOUT
    built = training_set.build(spec, lake, life.made.store(), DAY)
    frame = training_set.read(spec, lake, built)
    assert set(frame.loc[frame["partition_key"] == DAY.key, "listing_id"]) == set(keys[WITHOUT:])
    measured = steps.measure_window(run)
    assert (measured.rows, measured.labelled_rows) == (ROWS, ROWS - WITHOUT)
    assert measured.values["bias"] == pytest.approx(9)
    deliver(batch[spec.target].where(np.arange(ROWS) >= ROWS - 20))
    ingestion.load_labels(replace(run, run_id="again"))
    assert steps.measure_window(run).labelled_rows == 20
    assert "unknown (20 of 300 rows labelled)" in notes.of_window(run, steps.decide(run))
