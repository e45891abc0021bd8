"""The question to a person which of the versions that served is to serve again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

NONE = "Leave production as it is"


class VersionChoiceOperator(HITLOperator):
    """Offers the versions that served, the one before first. No answer leaves production as it is: all after it is
    skipped.

    Which there are is looked up when the question is asked. Leaves who answered in the XCom ``chosen_by``.

    Returns:
        The version's number.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(options=[NONE], defaults=[NONE], **kwargs)

    def execute(self, context: Context) -> Any:
        from include.orchestration.runs import model_run_of
        from include.registry import steps

        self.params = ParamsDict()  # else the fields of the DAG's form are asked for again
        self.options = [*steps.offer_versions(model_run_of(context)), NONE]
        return super().execute(context)

    def validate_chosen_options(self, chosen_options: list[str]) -> None:
        """They are those of when it was asked: Airflow has held the answer against them."""

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        self.params = ParamsDict()
        chosen = super().execute_complete(context, event)["chosen_options"][0]
        user = event.get("responded_by_user") or {}
        context["ti"].xcom_push("chosen_by", user.get("name") or user.get("id"))
        named = re.match(r"version (\d+):", chosen)
        if named is None:
            raise AirflowSkipException("Nobody chose a version: production stays as it is")
        return named[1]
