"""Which version a person has chosen, and who it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from flightline.version_choice import NONE, VersionChoiceOperator

OFFERED = ["version 12: in production from 2026-11-01 10:00 to 2026-11-02 10:00 (the one before)", "version 2: ..."]


class Instance(dict):
    """A task instance, as far as the operator knows it."""

    id = "ti"

    def xcom_push(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture
def operator() -> VersionChoiceOperator:
    return VersionChoiceOperator(task_id="ask", subject="?", response_timeout=timedelta(days=1))


def answer(operator: VersionChoiceOperator, chosen: str, user: dict[str, str] | None) -> str:
    event = {
        "chosen_options": [chosen],
        "responded_at": datetime.now(UTC),
        "params_input": {},
        "responded_by_user": user,
    }
    return operator.execute_complete({"ti": Instance()}, event)  # type: ignore[typeddict-item]


def test_the_versions_are_looked_up_when_the_question_is_asked(
    operator: VersionChoiceOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("include.orchestration.runs.model_run_of", lambda context: "the run")
    monkeypatch.setattr("include.registry.steps.offer_versions", lambda run: OFFERED if run == "the run" else [])
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **detail: asked.update(detail)
    )
    context = {"task_instance": Instance(), "dag_run": SimpleNamespace(conf={"comment": "![x](http://a.test) {{ 7 }}"})}
    with pytest.raises(TaskAwaitingInput):
        operator.execute(context)  # type: ignore[arg-type]
    assert asked["body"].endswith(r"!\[x](http:⁠//a.test) {{ 7 }}")
    assert asked["options"] == [*OFFERED, NONE]
    assert asked["defaults"] == [NONE]


def test_who_has_chosen_which_is_recorded(operator: VersionChoiceOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[tuple[Any, ...]] = []
    monkeypatch.setattr("include.orchestration.runs.model_run_of", lambda context: "the run")
    monkeypatch.setattr("include.registry.steps.record_choice", lambda *told: chosen.append(told))
    assert answer(operator, OFFERED[0], {"id": "1", "name": "Ada"}) == "12"
    assert chosen == [("the run", "12", "Ada")]


def test_no_answer_skips_what_follows(operator: VersionChoiceOperator) -> None:
    with pytest.raises(AirflowSkipException, match="production stays as it is"):
        answer(operator, NONE, None)
