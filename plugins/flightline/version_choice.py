"""The question to a person which of the versions that served is to serve again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException

from include.core.text import in_markdown

if TYPE_CHECKING:
    from airflow.sdk import Context

NONE = "Leave production as it is"


class VersionChoiceOperator(HITLOperator):
    """Offers the versions that served, the one before first. No answer leaves production as it is: all after it is
    skipped.

    Which there are is looked up when the question is asked. Who has chosen which is recorded in `decisions`.

    Returns:
        The version's number.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(options=[NONE], defaults=[NONE], **kwargs)

    def execute(self, context: Context) -> Any:
        from include.orchestration.runs import model_run_of
        from include.registry import steps

        comment = (context["dag_run"].conf or {}).get("comment") or ""
        self.body = f"Now in production, and before it, are listed in the log of choose_target. {in_markdown(comment)}"
        self.params = ParamsDict()  # else the fields of the DAG's form are asked for again
        self.options = [*steps.offer_versions(model_run_of(context)), NONE]
        return super().execute(context)

    def validate_chosen_options(self, chosen_options: list[str]) -> None:
        """They are those of when it was asked: Airflow has held the answer against them."""

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        from include.orchestration.runs import model_run_of
        from include.registry import steps

        self.params = ParamsDict()
        chosen = super().execute_complete(context, event)["chosen_options"][0]
        user = event.get("responded_by_user") or {}
        named = re.match(r"version (\d+):", chosen)
        if named is None:
            raise AirflowSkipException("Nobody chose a version: production stays as it is")
        steps.record_choice(model_run_of(context), named[1], user.get("name") or user["id"])
        return named[1]
