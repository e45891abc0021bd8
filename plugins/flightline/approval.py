"""The question to a person whether a version goes into production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param

if TYPE_CHECKING:
    from airflow.sdk import Context


class ApprovalBranchOperator(HITLBranchOperator):
    """Follows the branch of the answer. No answer rejects.

    Leaves who answered in the XCom ``answered_by``, None where nobody did, and what they said in ``comment``.
    """

    def __init__(self, *, approved: str, rejected: str, **kwargs: Any) -> None:
        super().__init__(
            options=["Approve", "Reject"],
            options_mapping={"Approve": approved, "Reject": rejected},
            defaults=["Reject"],
            params={
                "comment": Param(
                    None, source="task", type=["null", "string"], description="Why; kept in the decisions."
                )
            },
            **kwargs,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        user = event.get("responded_by_user") or {}
        context["ti"].xcom_push("answered_by", user.get("name") or user.get("id"))
        context["ti"].xcom_push("comment", (event.get("params_input") or {}).get("comment") or "")
        return super().execute_complete(context, event)
