"""The task that asks: until an answer counts, somebody is reminded once, or the time is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import TaskAwaitingInput
from flightline import approval
from flightline.approval import ApprovalBranchOperator

from include.core.notification import Occasion
from include.lakehouse.run import Run
from include.registry import steps
from tests.unit.registry.cases import registered, with_approval
from tests.unit.training.stage import Scene

pytestmark = pytest.mark.slow

LONG = timedelta(days=3)


class Asking:
    """The task of a run, and what Airflow would do for it: keep the question, notify, wait."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(approval, "model_run_of", lambda context: run)
        monkeypatch.setattr(approval, "version_of", lambda context: "1")
        monkeypatch.setattr(approval, "_links", lambda context: "")
        module = "airflow.providers.standard.operators.hitl.upsert_hitl_detail"
        monkeypatch.setattr(module, lambda **question: self.asked.append(question))
        monkeypatch.setattr(approval.Notice, "__call__", lambda notice, context: self.told.append(notice.occasion))
        self.asked: list[dict[str, Any]] = []
        self.told: list[Occasion] = []
        self.operator = ApprovalBranchOperator(
            task_id="ask",
            subject="Put it into production?",
            approval=run.spec.approval,
            approved="promote",
            more="ask_another",
            rejected="reject",
        )
        monkeypatch.setattr(
            self.operator, "do_branch", lambda context, branches_to_execute: branches_to_execute, raising=True
        )
        # As Airflow has it where the task runs.
        self.operator.params = ParamsDict(
            {"version": Param(None), "target": Param("Production")} | dict_of(self.operator)
        )
        self.context: Any = {"task_instance": SimpleNamespace(id="x")}

    def begin(self) -> TaskAwaitingInput:
        with pytest.raises(TaskAwaitingInput) as waiting:
            self.operator.execute(self.context)
        return waiting.value

    def resume(self, waiting: TaskAwaitingInput, person: str | None, option: str, **more: Any) -> Any:
        """What the task returns, or what it waits for now."""
        event = {
            "chosen_options": [option],
            "params_input": more,
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": person, "name": person} if person else None,
        }
        try:
            return self.operator.execute_complete(self.context, event, **(waiting.kwargs or {}))
        except TaskAwaitingInput as again:
            return again


def dict_of(operator: ApprovalBranchOperator) -> dict[str, Param]:
    return {name: operator.params.get_param(name) for name in operator.params}


def gated(scene: Scene, name: str, **rules: Any) -> Run:
    run = replace(with_approval(registered(scene, name, "prod"), **rules), person="rita")
    steps.check_staging(run, "1")
    steps.move_to_staging(run, "1")
    steps.check_production(run, "1")
    return run


def test_an_answer_that_does_not_count_asks_again_for_the_time_that_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = Asking(gated(scene, "asks_again", persons=2), monkeypatch)
    waiting = asking.begin()
    assert "**Checks**" in asking.asked[0]["body"]
    assert asking.asked[0]["defaults"] == ["Reject"]
    again = asking.resume(waiting, "rita", "Approve", comment="mine")
    assert isinstance(again, TaskAwaitingInput)
    assert again.kwargs == waiting.kwargs, "no second is won"
    assert again.timeout < waiting.timeout <= LONG / 2
    assert asking.resume(again, "ada", "Approve", comment="good") == "ask_another"
    assert isinstance(asking.resume(again, "ada", "Approve"), TaskAwaitingInput)
    assert asking.resume(again, "grace", "Approve") == "promote"
    assert asking.told == [Occasion.ASKED] * 3


def test_a_no_ends_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Asking(gated(scene, "a_no"), monkeypatch)
    assert asking.resume(asking.begin(), "ada", "Reject", comment="not on a Friday") == "reject"


def test_one_is_reminded_once_and_no_answer_is_a_no(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Asking(gated(scene, "reminds", remind_after=timedelta(hours=1)), monkeypatch)
    waiting = asking.begin()
    assert timedelta(minutes=59) < waiting.timeout <= timedelta(hours=1)
    reminded = asking.resume(waiting, None, "Reject")
    assert reminded.kwargs == waiting.kwargs | {"remind_at": None}
    assert reminded.timeout > LONG - timedelta(hours=1)
    assert asking.told == [Occasion.ASKED, Occasion.REMINDED]
    assert asking.resume(reminded, None, "Reject") == "reject"
    assert asking.told == [Occasion.ASKED, Occasion.REMINDED]


def test_where_the_time_was_over_before_anybody_looked_nobody_is_reminded(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler was down over both."""
    asking = Asking(gated(scene, "too_late"), monkeypatch)
    waiting = asking.begin()
    passed = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    waiting.kwargs = {"until": passed, "remind_at": passed}
    assert asking.resume(waiting, None, "Reject") == "reject"
    assert asking.told == [Occasion.ASKED]


@pytest.mark.parametrize(
    ("option", "more"), [("Perhaps", {}), ("Approve", {"comment": "x" * 1001}), ("Approve", {"y": 1})]
)
def test_an_answer_that_no_form_sends_is_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, option: str, more: dict[str, Any]
) -> None:
    asking = Asking(gated(scene, f"no_form_{option}_{len(more)}_{len(str(more))}".lower()), monkeypatch)
    assert isinstance(asking.resume(asking.begin(), "ada", option, **more), TaskAwaitingInput)


@pytest.mark.parametrize(
    ("manager", "assigned"),
    [
        (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            [{"id": "ada", "name": "ada"}],
        ),
        ("airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager", None),  # its ids are numbers
    ],
)
def test_users_are_assigned_where_their_ids_are_names(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, manager: str, assigned: object
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    asking = Asking(gated(scene, f"assigned_{assigned is None}".lower(), approvers=("ada",)), monkeypatch)
    asking.begin()
    assert asking.asked[0]["assigned_users"] == assigned
