"""Deferrable sensors on deliveries and features."""

from __future__ import annotations

from datetime import timedelta
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, timezone
from airflow.sdk.exceptions import AirflowFailException

from flightline.triggers import ConditionTrigger
from include.core.errors import DeliveryError
from include.orchestration.runs import partition_of, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context


LOOK = timedelta(minutes=10)
"""Longer than any look takes."""


class MissedDeadline(DeliveryError, AirflowFailException):
    """What was waited for did not come. No retry: it would wait as long again."""


class ConditionSensor(BaseOperator):
    """Waits, without a worker slot, until a function of the model and the run's partition returns True.

    Args:
        condition: import path of ``(model: str, partition: str) -> bool``.
        expected: import path of ``(model: str, partition: str) -> str``, which names what is waited for, and where.
        deadline: how long to wait before the task fails, saying what was expected.
        poll_seconds: pause between two looks.
    """

    ui_color = "#e6f1f2"
    fix = "Ask the supplier for it, then clear this task"

    def __init__(
        self,
        *,
        model: str,
        condition: str,
        expected: str,
        deadline: timedelta,
        poll_seconds: float = 2,
        **kwargs: Any,
    ) -> None:
        # Counts from the start, also while the task waits without a slot: only the deadline says what was missing.
        super().__init__(**{"execution_timeout": deadline + LOOK} | kwargs)
        self.model = model
        self.condition = condition
        self.expected = expected
        self.deadline = deadline
        self.poll_seconds = poll_seconds

    def execute(self, context: Context) -> None:
        arguments = self._arguments(context)
        if resolve_name(self.condition)(**arguments):
            return
        self.log.info("Waiting for %s", resolve_name(self.expected)(**arguments))
        until = timezone.utcnow() + self.deadline
        trigger = ConditionTrigger(self.condition, arguments, until.isoformat(), self.poll_seconds)
        self.defer(trigger=trigger, method_name="finish")

    def finish(self, context: Context, event: dict[str, Any]) -> None:
        if "problem" in event:
            raise DeliveryError(event["problem"])
        if not event["met"]:
            expected = resolve_name(self.expected)(**self._arguments(context))
            raise MissedDeadline(
                f"not there after {self.deadline}: {expected}",
                fix=self.fix,
            )

    def _arguments(self, context: Context) -> dict[str, Any]:
        return {"model": self.model, "partition": partition_of(context).key}


class DeliverySensor(ConditionSensor):
    """Waits for the ``_SUCCESS`` marker of a delivery."""

    def __init__(self, *, kind: str, **kwargs: Any) -> None:
        super().__init__(
            condition=f"include.ingestion.delivery:{kind}_delivered",
            expected=f"include.ingestion.delivery:{kind}_marker",
            **kwargs,
        )
        self.kind = kind


class FeatureFreshnessSensor(ConditionSensor):
    """Waits until the features of the run's partition are in the table and, by Feast's registry, online."""

    fix = "Run build_features for that partition, then clear this task"

    def __init__(self, *, delivered: bool = False, poll_seconds: float = 5, **kwargs: Any) -> None:
        """
        Args:
            delivered: whether the batch has to be accepted already, so that a wrong key fails at once.
        """
        super().__init__(
            condition="include.features.freshness:is_fresh",
            expected="include.features.freshness:describe",
            poll_seconds=poll_seconds,
            **kwargs,
        )
        self.delivered = delivered

    def execute(self, context: Context) -> None:
        if self.delivered:
            run_of(context).require_accepted()
        super().execute(context)
