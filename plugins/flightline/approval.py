"""The question to a person whether a version goes into production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ApprovalBranchOperator(HITLBranchOperator):
    """Follows the branch of the answer, and leaves who gave it in the XCom ``answered_by``. No answer rejects."""

    def __init__(self, *, approved: str, rejected: str, **kwargs: Any) -> None:
        super().__init__(
            options=["Approve", "Reject"],
            options_mapping={"Approve": approved, "Reject": rejected},
            defaults=["Reject"],
            **kwargs,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        user = event.get("responded_by_user") or {}
        context["ti"].xcom_push("answered_by", user.get("name") or "nobody (timed out)")
        return super().execute_complete(context, event)
