"""What the answer of a person leaves for the tasks after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flightline.approval import ApprovalBranchOperator

ADA = {"id": "1", "name": "Ada"}


class Pushed(dict):
    """A task instance, as far as the operator knows it."""

    def xcom_push(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.mark.parametrize(
    ("event", "left"),
    [
        ({"responded_by_user": ADA, "params_input": {"comment": "looks right"}}, ("Ada", "looks right")),
        ({"responded_by_user": {"id": "ada", "name": ""}, "params_input": {}}, ("ada", "")),
        ({"responded_by_user": None, "params_input": None}, (None, "")),  # nobody answered in time
    ],
)
def test_who_answered_and_what_they_said(
    event: dict[str, Any], left: tuple[str | None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = ApprovalBranchOperator(
        task_id="ask", subject="?", approved="promote", rejected="reject", response_timeout=timedelta(days=1)
    )
    assert list(operator.serialized_params) == ["comment"]
    followed: list[str] = []
    monkeypatch.setattr(
        operator, "do_branch", lambda context, branches_to_execute: followed.extend(branches_to_execute)
    )
    pushed = Pushed()
    answer = {"chosen_options": ["Reject"], "responded_at": datetime.now(UTC), **event}
    operator.execute_complete({"ti": pushed}, answer)  # type: ignore[arg-type]
    assert followed == ["reject"]
    assert (pushed["answered_by"], pushed["comment"]) == left
