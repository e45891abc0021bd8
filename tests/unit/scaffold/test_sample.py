"""What is delivered when a folder is checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.spec import ModelSpec
from include.scaffold import draft, sample
from include.scaffold.guess import Wanted
from tests.unit.scaffold.files import customers, rentals, write


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path


def drafted(models: Path, frame: pd.DataFrame, **wanted: object) -> tuple[ModelSpec, str]:
    path = write(frame, models / "rows.csv")
    draft.write(draft.make("m", path, Wanted(**wanted), date(2026, 3, 1), models), models)  # type: ignore[arg-type]
    return catalogue.load("m", models), path


def test_the_newest_rows_are_those_that_are_tested_on(models: Path) -> None:
    frame = rentals()
    spec, path = drafted(models, frame)
    write(frame.sample(frac=1, random_state=1), models / "rows.csv")
    history, newest = sample.of(spec, path, (), models).parts.values()
    assert history["ride_no"].to_pylist() == [str(number) for number in range(1, 281)]
    assert newest["ride_no"].to_pylist() == [str(number) for number in range(281, 401)]


def test_rows_without_a_time_are_dealt_out_once(models: Path) -> None:
    frame = customers()
    spec, path = drafted(models, frame)
    parts = sample.of(spec, path, (), models).parts
    assert [key.key for key in parts] == ["2026-03-01", "2026-03-02"]
    dealt = [key for part in parts.values() for key in part["customer_id"].to_pylist()]
    assert sorted(dealt) == sorted(frame["customer_id"])
    assert dealt != list(frame["customer_id"])


def test_of_keys_that_come_again_the_newest_partitions_are_delivered_as_they_are(models: Path) -> None:
    weeks = pd.date_range("2025-01-06", periods=20, freq="7D").strftime("%Y-%m-%d")
    frame = pd.DataFrame([(store, week) for week in weeks for store in range(5)], columns=["store", "week"])
    frame["visitors"], frame["sales"] = np.random.default_rng(1).normal(size=(2, len(frame)))
    spec, path = drafted(models, frame, keys=("store",))
    parts = sample.of(spec, path, (), models).parts
    assert [key.key for key in parts] == [pd.Timestamp(week).strftime("%G-W%V") for week in weeks[-12:]]
    assert all(part["store"].to_pylist() == list("01234") for part in parts.values())


def test_the_first_model_is_checked_on_its_sample_with_numbered_rows(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOUSING_CSV", raising=False)
    found = sample.of(catalogue.load("california_housing"), "", (), models)
    numbers = [int(number) for part in found.parts.values() for number in part["listing_id"].to_pylist()]
    assert len(set(numbers)) == found.rows == sample.ROWS
    assert max(numbers) > sample.ROWS, "they are drawn from all rows"
