"""The question to a person whether a version goes into production."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.configuration import conf
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param, timezone
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import TaskAwaitingInput

from flightline.notices import Notice, page_of
from include.core.notification import Occasion
from include.orchestration.runs import model_run_of, version_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.core.approval import Approval

Branch = Literal["approved", "more", "rejected"]

SPARE = timedelta(days=1)
"""Airflow ends the task that much after the time to answer is over."""


class ApprovalBranchOperator(HITLBranchOperator):
    """Asks until an answer counts, and follows its branch. No answer rejects.

    Whether an answer counts is decided by `registry.steps.answer`, whatever page or call it came by: of one that does
    not, the same is asked again, for as long as is left. So nobody who may not decide can end the question.

    Args:
        approval: the model's policy.
        approved: the task that follows when enough persons have approved.
        rejected: the task that follows a no, or no answer.
        more: the task that asks the next person, where one is missing.
    """

    def __init__(self, *, approval: Approval, approved: str, rejected: str, more: str = "", **kwargs: Any) -> None:
        super().__init__(
            options=["Approve", "Reject"],
            defaults=["Reject"],
            response_timeout=approval.times_out_after,
            execution_timeout=approval.times_out_after + SPARE,  # it waits for a person
            params={
                **kwargs.pop("params", {}),  # the DAG's
                "comment": Param(
                    None,
                    source="task",
                    type=["null", "string"],
                    maxLength=1000,
                    description="Why; kept in the decisions.",
                ),
            },
            **kwargs,
        )
        self.branches: dict[Branch, str] = {"approved": approved, "more": more or approved, "rejected": rejected}
        self.reminds_after = approval.reminds_after
        self.approvers = approval.approvers

    def execute(self, context: Context) -> None:
        from include.registry import steps

        self._ask_for_a_comment_alone()
        now = timezone.utcnow()
        # Not templates: what is in them was written by others.
        self.body = steps.describe_question(model_run_of(context), version_of(context)) + _links(context)
        if self.approvers and _ids_are_names():
            self.assigned_users = [{"id": name, "name": name} for name in self.approvers]
        assert self.response_timeout is not None
        self._tell_when_asked(Occasion.ASKED, self.subject)
        self._ask(context, until=now + self.response_timeout, remind_at=now + self.reminds_after)

    def execute_complete(
        self, context: Context, event: dict[str, Any], until: str = "", remind_at: str | None = None
    ) -> Any:
        """Take an answer, or that there is none yet.

        Args:
            until: when the time to answer is over, ISO 8601.
            remind_at: when to remind; None when that was done.
        """
        self._ask_for_a_comment_alone()
        end = datetime.fromisoformat(until)
        remind = datetime.fromisoformat(remind_at) if remind_at else None
        branch: Branch | None = "rejected"
        if user := event.get("responded_by_user"):
            branch = self._taken(context, event, user)
        elif remind and timezone.utcnow() < end:
            left = f"Nobody has answered yet, and no answer until {end:%Y-%m-%d %H:%M} UTC is a no."
            self._tell_when_asked(Occasion.REMINDED, f"{self.subject} {left}")
            branch, remind = None, None
        if branch is None:
            self._ask(context, until=end, remind_at=remind)
        return self.do_branch(context, self.branches[branch])

    def _taken(self, context: Context, event: dict[str, Any], user: dict[str, str]) -> Branch | None:
        """The branch that follows an answer; None where it does not count."""
        from include.lakehouse.decisions import Outcome
        from include.registry import steps
        from include.registry.approval import Answer

        try:
            # What is not among the options, or no comment, is refused by Airflow's own rules.
            super(HITLBranchOperator, self).execute_complete(context, event)
        except ValueError as error:
            self.log.warning("The answer cannot be taken, and is asked for again: %s", error)
            return None
        comment = (event.get("params_input") or {}).get("comment") or ""
        given = Answer(
            user.get("name") or user["id"], event["chosen_options"] == ["Approve"], comment, event["responded_at"]
        )
        answered = steps.answer(model_run_of(context), version_of(context), given)
        if answered.outcome is Outcome.REFUSED:
            self._tell_when_asked(Occasion.ASKED, f"{self.subject} The answer does not count: {answered.why}.")
            return None
        if answered.outcome is Outcome.REJECTED:
            return "rejected"
        return "more" if answered.missing else "approved"

    def _ask(self, context: Context, *, until: datetime, remind_at: datetime | None) -> NoReturn:
        """Wait for an answer, or for the time to remind of it."""
        leg = min(filter(None, (until, remind_at))) - timezone.utcnow()
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            raise TaskAwaitingInput(
                method_name=waiting.method_name,
                kwargs={"until": until.isoformat(), "remind_at": remind_at.isoformat() if remind_at else None},
                timeout=max(leg, timedelta(seconds=1)),
            ) from None
        raise AssertionError("Airflow waits for an answer")

    def _ask_for_a_comment_alone(self) -> None:
        """Airflow gives a task that runs the fields of its DAG's form, too, and wants them in the answer."""
        self.params = ParamsDict({"comment": self.params.get_param("comment")})

    def _tell_when_asked(self, occasion: Occasion, what: str) -> None:
        """Airflow tells it once the question can be answered, and takes an answer while it does."""
        self.notifiers = [Notice(occasion, what, page=f"tasks/{self.task_id}/required_actions")]


def _ids_are_names() -> bool:
    """Whether the auth manager knows users by the names that model.yaml has.

    Others have ids of their own: assigned to names, a question could be answered by nobody. Whether an answer counts
    is decided after it, in any case.
    """
    return "SimpleAuthManager" in conf.get("core", "auth_manager", fallback="")


def _links(context: Context) -> str:
    model, version = context["dag"].dag_id.partition(".")[0], version_of(context)
    links = [f"[Report of this run]({page_of(context, 'plugin/report')})"]
    if mlflow := os.environ.get("FLIGHTLINE_MLFLOW_UI_URL"):
        links.append(f"[Version {version} in MLflow]({mlflow}/#/models/{model}/versions/{version})")
    return "\n\n" + " · ".join(links)
