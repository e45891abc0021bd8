"""What is predicted without a model, beside the obvious way to find it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.training import floors

SPEC = catalogue.load("california_housing")


def rows_of(told: list[tuple[int, int, float]]) -> pd.DataFrame:
    """From (key, month, label)."""
    frame = pd.DataFrame(told, columns=["listing_id", "month", SPEC.target]).astype({SPEC.target: float})
    frame["partition_key"] = [f"2025-{month:02}" for month in frame.pop("month")]
    return frame.assign(event_timestamp=pd.to_datetime(frame["partition_key"], utc=True), weight=1.0)


def as_task(task: Task, metric: str) -> ModelSpec:
    return ModelSpec.model_validate(
        SPEC.model_dump() | {"task": task, "metric": metric, "training": {**SPEC.training.model_dump(), "baseline": {}}}
    )


HISTORY = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(0, 9).map(float)),
    min_size=1,
    max_size=40,
    unique_by=lambda told: told[:2],
)


@settings(max_examples=60)
@given(HISTORY, st.lists(st.integers(1, 8), min_size=1, max_size=8))
def test_the_last_value_is_the_newest_of_the_key_or_of_all(
    told: list[tuple[int, int, float]], asked: list[int]
) -> None:
    newest = max(month for _, month, _ in told)
    typical = np.mean([label for _, month, label in told if month == newest])

    def expected(key: int) -> float:
        own = {month: label for name, month, label in told if name == key}
        return own[max(own)] if own else float(typical)

    found = floors.last(SPEC, rows_of(told), pd.DataFrame({"listing_id": asked}))
    assert found.tolist() == pytest.approx([expected(key) for key in asked])


def test_of_probabilities_it_is_the_newest_share_and_of_classes_the_class() -> None:
    history = rows_of([(1, 1, 0.0), (2, 1, 0.0), (1, 2, 1.0), (2, 2, 1.0), (3, 2, 0.0), (4, 2, 0.0)])
    asked = pd.DataFrame({"listing_id": [1, 9]})
    assert floors.last(as_task(Task.BINARY, "auc"), history, asked).tolist() == [0.5, 0.5]
    assert floors.last(as_task(Task.MULTICLASS, "accuracy"), history, asked).tolist() == [1.0, 0.0]


def test_a_linear_floor_takes_nulls_infinite_values_and_one_label() -> None:
    rng = np.random.default_rng(1)
    history = rows_of([(key, 1, float(key)) for key in range(200)])
    history = history.assign(a=history["listing_id"] * 2.0, b=rng.normal(size=200), nothing=np.nan)
    history.loc[3, "b"], history.loc[5, "b"] = np.inf, np.nan
    found = floors.linear(SPEC, history, history, ["a", "b", "nothing"], ())
    assert np.abs(found - history[SPEC.target]).max() < 1e-6
    one = history.assign(**{SPEC.target: 1.0})
    for spec in (SPEC, as_task(Task.BINARY, "auc"), as_task(Task.MULTICLASS, "accuracy")):
        assert set(floors.linear(spec, one, one, ["a", "b"], ())) == {1.0}
