"""What a task makes of its run's partition key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from include.core import catalogue
from include.core.errors import DataError
from include.core.partition import EXAMPLES, Grain
from include.core.spec import ModelSpec
from include.orchestration import runs

MODEL = "california_housing"


def context(dag: str, key: str | None, asked: str | None = None) -> dict[str, Any]:
    return {
        "dag": SimpleNamespace(dag_id=f"{MODEL}.{dag}"),
        "dag_run": SimpleNamespace(partition_key=key, run_id="manual", conf={"partition": asked}),
    }


@pytest.mark.parametrize("key", ["tomorrow", "2025-13-01", "2025-W02", "2025-01", None])
def test_a_key_that_is_no_day_fails_at_once_and_says_what_one_looks_like(key: str | None) -> None:
    """Without a retry: it would be the same key."""
    with pytest.raises(
        AirflowFailException, match=f"build_features: the run's partition key is {key!r}, not a day"
    ) as it:
        runs.partition_of(context("build_features", key))
    assert isinstance(it.value, DataError)
    assert "2025-01-31" in str(it.value)


@pytest.mark.parametrize("key", ["2025-01-02", "three", None])
def test_a_key_that_is_no_version_fails_at_once(key: str | None) -> None:
    with pytest.raises(AirflowFailException, match=f"is {key!r}, not a version's number"):
        runs.version_of(context("promote_model", key))


def test_a_key_is_a_partition_or_a_version() -> None:
    assert runs.partition_of(context("build_features", "2025-01-02T00:00:00+00:00")).key == "2025-01-02"
    assert runs.version_of(context("promote_model", "3")) == "3"


def test_a_partition_can_be_asked_for_in_the_form() -> None:
    assert runs.partition_of(context("reprocess_quarantine", None, "2025-01-02")).key == "2025-01-02"
    assert runs.key_of(context("reprocess_quarantine", "2025-01-02", "2025-01-02")) == "2025-01-02"
    assert runs.key_of(context("reprocess_quarantine", None)) is None
    scheduled = context("build_features", "2025-01-02")
    scheduled["dag_run"].conf = None
    assert runs.key_of(scheduled) == "2025-01-02"
    with pytest.raises(AirflowFailException, match="key is '2025-01-02', its parameter partition '2025-01-03'"):
        runs.key_of(context("reprocess_quarantine", "2025-01-02", "2025-01-03"))


@pytest.mark.parametrize(("grain", "example"), EXAMPLES.items())
def test_the_form_takes_the_keys_of_the_grain_alone(grain: Grain, example: str) -> None:
    content = catalogue.load(MODEL).model_dump() | {"grain": grain}
    param = runs.partition_param(ModelSpec.model_validate(content), "Whose rows?")
    assert example in str(param.description)
    assert param.resolve() is None
    assert param.resolve(example) == example
    with pytest.raises(ParamValidationError):
        param.resolve("tomorrow")
