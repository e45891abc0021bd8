"""Decisions of the retraining policy, taken again from nothing but what they recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.core.partition import Partition
from include.core.sections import Monitoring
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.lakehouse.decisions import Decision, canonical_json
from include.lakehouse.windows import WindowMetrics
from include.monitoring import policy
from include.monitoring.policy import Request, Verdict


@dataclass(frozen=True)
class Replayed:
    """One decision, taken again."""

    decision: Decision
    again: Verdict
    """By the policy that it followed."""
    now: Verdict
    """By the policy of today's model.yaml."""

    @property
    def is_same(self) -> bool:
        """Whether it says the same again, to the byte."""
        return canonical_json(self.again) == canonical_json(self.decision.inputs["verdict"])

    @property
    def differs_today(self) -> bool:
        """Whether another branch would be taken, or for other reasons."""
        return (self.now.outcome, list(self.now.reasons)) != (self.decision.outcome, list(self.decision.reasons))


def recorded(
    spec: ModelSpec,
    *,
    window: WindowMetrics | None,
    looked_back: Mapping[str, float | None],
    production: str | None,
    requests: list[Request],
    verdict: Verdict,
) -> dict[str, Any]:
    """All that the policy took, and what it said: the inputs of its decision."""
    return {
        "window": window,
        "looked_back": looked_back,
        "production": production,
        "requests": requests,
        "metric": spec.metric,
        "policy": spec.monitoring.model_dump(mode="json"),
        "verdict": verdict,
    }


def replay(spec: ModelSpec, decision: Decision) -> Replayed | None:
    """Take a decision again; None of one that was recorded without all that it took.

    Raises:
        ConfigError: the metric that it was about is a user's own, and not there any more.
    """
    if "policy" not in decision.inputs:
        return None
    followed = Monitoring.model_validate(decision.inputs["policy"])
    return Replayed(decision, *(_decide(spec, rules, decision) for rules in (followed, spec.monitoring)))


def _decide(spec: ModelSpec, rules: Monitoring, decision: Decision) -> Verdict:
    took = decision.inputs
    window = took["window"]
    return policy.decide(
        rules,
        metrics.of(spec.model_copy(update={"metric": took["metric"]})),
        window and WindowMetrics(**window | {"partition": _partition(spec, window["partition"])}),
        production=took["production"],
        history=[_seen(_partition(spec, key), metric) for key, metric in took["looked_back"].items()],
        requests=[
            Request(_partition(spec, item["partition"]), datetime.fromisoformat(item["at"]))
            for item in took["requests"]
        ],
        at=decision.decided_at,
    )


def _partition(spec: ModelSpec, key: str) -> Partition:
    return Partition.parse(key, spec.grain)


def _seen(partition: Partition, metric: float | None) -> WindowMetrics:
    """What the policy sees of a window before its own."""
    return WindowMetrics(
        partition=partition,
        version=None,
        rows=0,
        labelled_rows=0,
        metric=metric,
        values={},
        drifted_features=(),
        prediction_drifted=None,
    )
