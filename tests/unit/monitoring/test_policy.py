"""The retraining policy: every row of its table, what holds a request back, and properties of the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue
from include.core.partition import Grain, Partition
from include.core.sections import Monitoring, Retraining
from include.evaluation.metrics import METRICS, Metric
from include.lakehouse.decisions import Outcome, Reason
from include.lakehouse.windows import WindowMetrics
from include.monitoring.policy import EXPLANATIONS, Request, Verdict, decide

NOW = datetime(2025, 1, 10, tzinfo=UTC)
TODAY = Partition.of(NOW, Grain.DAY)
THRESHOLD = 0.8
R2, LOSS = METRICS["r2"], METRICS["log_loss"]
POLICY = Retraining(
    below_windows=2,
    of_windows=3,
    cooldown_days=2,
    budget_requests=2,
    budget_days=10,
    drift_without_labels="record_drift",
)


def policy(**changes: Any) -> Retraining:
    return Retraining.model_validate(POLICY.model_dump() | changes)


def monitoring(rules: Retraining) -> Monitoring:
    known = catalogue.load("california_housing").monitoring
    performance = known.performance.model_copy(update={"threshold": THRESHOLD})
    return known.model_copy(update={"performance": performance, "retraining": rules})


def window(days_ago: int, value: float | None, *drifted: str, rows: int = 400) -> WindowMetrics:
    return WindowMetrics(
        partition=TODAY.shift(-days_ago),
        version="1",
        rows=rows,
        labelled_rows=0 if value is None else rows,
        metric=value,
        values={},
        drifted_features=drifted,
        prediction_drifted=None,
    )


def request(days_ago: int) -> Request:
    return Request(TODAY.shift(-days_ago - 5), NOW - timedelta(days=days_ago))


def run(
    current: WindowMetrics | None,
    history: tuple[WindowMetrics, ...] = (),
    requests: tuple[Request, ...] = (),
    rules: Retraining = POLICY,
    production: str | None = "1",
    metric: Metric = R2,
) -> Verdict:
    return decide(monitoring(rules), metric, current, production=production, history=history, requests=requests, at=NOW)


BELOW_BEFORE = (window(2, 0.6, "income"),)
RECORD, REQUEST = policy(), policy(drift_without_labels="request_retraining")


@pytest.mark.parametrize(
    ("value", "drifted", "rules", "outcome", "reason"),
    [
        (0.85, (), RECORD, Outcome.NO_ACTION, Reason.PERFORMANCE_HOLDS),
        (0.80, (), RECORD, Outcome.NO_ACTION, Reason.PERFORMANCE_HOLDS),
        (0.80, ("income",), RECORD, Outcome.RECORD_DRIFT, Reason.HARMLESS_DRIFT),
        (0.79, ("income",), RECORD, Outcome.REQUEST_RETRAINING, Reason.HARMFUL_DRIFT),
        (0.79, (), RECORD, Outcome.ALERT_ROOT_CAUSE, Reason.DEGRADED_WITHOUT_DRIFT),
        (None, (), RECORD, Outcome.NO_ACTION, Reason.NO_LABELS_NO_DRIFT),
        (None, (), REQUEST, Outcome.NO_ACTION, Reason.NO_LABELS_NO_DRIFT),
        (None, ("income",), RECORD, Outcome.RECORD_DRIFT, Reason.UNLABELLED_DRIFT_RECORDED),
        (None, ("income",), REQUEST, Outcome.REQUEST_RETRAINING, Reason.UNLABELLED_DRIFT_REQUESTED),
        (0.85, ("income",), REQUEST, Outcome.RECORD_DRIFT, Reason.HARMLESS_DRIFT),
    ],
)
def test_each_row_of_the_table(
    value: float | None, drifted: tuple[str, ...], rules: Retraining, outcome: Outcome, reason: Reason
) -> None:
    verdict = run(window(1, value, *drifted), BELOW_BEFORE, rules=rules)
    assert (verdict.outcome, verdict.reasons) == (outcome, (reason,))


@pytest.mark.parametrize(
    ("drifted", "rules", "outcome", "reason"),
    [
        ((), RECORD, Outcome.NO_ACTION, Reason.METRIC_UNDEFINED),
        (("income",), RECORD, Outcome.RECORD_DRIFT, Reason.METRIC_UNDEFINED),
        (("income",), REQUEST, Outcome.REQUEST_RETRAINING, Reason.UNLABELLED_DRIFT_REQUESTED),
    ],
)
def test_a_metric_that_is_undefined_on_enough_labels_is_not_called_a_lack_of_labels(
    drifted: tuple[str, ...], rules: Retraining, outcome: Outcome, reason: Reason
) -> None:
    verdict = run(replace(window(1, None, *drifted), labelled_rows=400, metric_undefined=400), rules=rules)
    assert (verdict.outcome, verdict.reasons) == (outcome, (reason,))


def test_before_production_and_without_rows_nothing_is_done() -> None:
    nothing = Verdict(Outcome.NO_ACTION, (Reason.NO_PRODUCTION_VERSION,))
    assert run(None, production=None) == run(window(1, 0.5, "income"), production=None) == nothing
    assert run(None) == Verdict(Outcome.NO_ACTION, (Reason.NOTHING_SCORED,))
    assert run(window(1, None, rows=0)) == Verdict(Outcome.NO_ACTION, (Reason.NOTHING_SCORED,))


BAD = window(1, 0.5, "income")


@pytest.mark.parametrize(
    ("history", "below"),
    [
        ((), 1),
        ((window(2, 0.9),), 1),
        ((window(2, 0.9), window(3, 0.9), window(4, 0.5)), 1),  # the fourth last is out of the three
        ((window(2, 0.9), window(3, 0.5), window(4, 0.5)), 2),
        ((window(2, None), window(3, None), window(4, 0.5)), 2),  # windows without labels are not counted
        ((window(4, 0.5), window(2, 0.9), window(3, 0.9)), 1),  # in any order
        ((BAD, window(0, 0.5)), 1),  # itself is counted once, later windows not at all
        ((window(2, 0.5), window(3, 0.5)), 3),
    ],
)
def test_n_of_the_last_m_labelled_windows(history: tuple[WindowMetrics, ...], below: int) -> None:
    verdict = run(BAD, history)
    assert verdict.windows_below == below
    if below >= POLICY.below_windows:
        assert verdict.outcome is Outcome.REQUEST_RETRAINING
    else:
        assert (verdict.outcome, verdict.reasons) == (Outcome.RECORD_DRIFT, (Reason.WAITING_FOR_N_OF_M,))


@pytest.mark.parametrize(
    ("days_ago", "reasons"),
    [
        ((), (Reason.HARMFUL_DRIFT,)),
        ((1,), (Reason.COOLING_DOWN,)),
        ((2,), (Reason.HARMFUL_DRIFT,)),
        ((0,), (Reason.COOLING_DOWN,)),
        ((-1,), (Reason.HARMFUL_DRIFT,)),  # a backfill does not see what was asked for later
        ((2, 9), (Reason.BUDGET_SPENT,)),
        ((2, 10), (Reason.HARMFUL_DRIFT,)),
        ((1, 9), (Reason.COOLING_DOWN, Reason.BUDGET_SPENT)),
    ],
)
def test_cooldown_and_budget(days_ago: tuple[int, ...], reasons: tuple[Reason, ...]) -> None:
    verdict = run(BAD, BELOW_BEFORE, tuple(request(days) for days in days_ago))
    assert verdict.reasons == reasons
    expected = Outcome.REQUEST_RETRAINING if reasons == (Reason.HARMFUL_DRIFT,) else Outcome.RECORD_DRIFT
    assert verdict.outcome is expected


def test_a_window_that_a_replaced_version_scored_asks_for_nothing() -> None:
    verdict = run(BAD, BELOW_BEFORE, production="2")
    assert (verdict.outcome, verdict.reasons) == (Outcome.RECORD_DRIFT, (Reason.VERSION_REPLACED,))


def test_all_that_holds_a_request_back_is_named() -> None:
    assert run(BAD, (), (request(1), request(5))).reasons == (
        Reason.WAITING_FOR_N_OF_M,
        Reason.COOLING_DOWN,
        Reason.BUDGET_SPENT,
    )


def test_deciding_again_gives_the_same_although_the_request_is_on_record() -> None:
    first = run(BAD, BELOW_BEFORE)
    assert first.outcome is Outcome.REQUEST_RETRAINING
    assert run(BAD, BELOW_BEFORE, (Request(BAD.partition, NOW),)) == first
    # The same window decided on another day (its labels came later) is another verdict.
    earlier = Request(BAD.partition, NOW - timedelta(days=1))
    assert run(BAD, BELOW_BEFORE, (earlier,)).reasons == (Reason.COOLING_DOWN,)


def test_drift_without_labels_is_held_back_by_cooldown_and_budget_but_not_by_n_of_m() -> None:
    unlabelled = window(1, None, "income")
    assert run(unlabelled, rules=REQUEST).outcome is Outcome.REQUEST_RETRAINING
    assert run(unlabelled, (), (request(1),), REQUEST).reasons == (Reason.COOLING_DOWN,)
    assert run(unlabelled, (), (request(3), request(4)), REQUEST).reasons == (Reason.BUDGET_SPENT,)


def test_a_lower_value_is_better_where_the_metric_says_so() -> None:
    """A loss: above 0.8 is degraded, at 0.8 it holds."""
    before = (window(2, 0.9, "income"), window(3, 0.7))
    verdict = run(window(1, 0.9, "income"), before, metric=LOSS)
    assert (verdict.outcome, verdict.windows_below, verdict.windows_labelled) == (Outcome.REQUEST_RETRAINING, 2, 3)
    assert run(window(1, 0.9), metric=LOSS).outcome is Outcome.ALERT_ROOT_CAUSE
    assert run(window(1, 0.8, "income"), metric=LOSS).reasons == (Reason.HARMLESS_DRIFT,)
    assert run(window(1, 0.5), metric=LOSS).outcome is Outcome.NO_ACTION
    assert verdict.explain(LOSS) == "Features have drifted, and log loss is above its threshold in enough windows."


def test_cool_down_and_budget_are_days_whatever_a_partition_is() -> None:
    """Of hourly partitions, 47 hours are not two days, and 48 are."""
    hours = [replace(item, partition=Partition.of(item.partition.start, Grain.HOUR)) for item in (BAD, *BELOW_BEFORE)]
    for ago, reason in ((47, Reason.COOLING_DOWN), (48, Reason.HARMFUL_DRIFT)):
        asked = Request(Partition.of(NOW, Grain.HOUR), NOW - timedelta(hours=ago))
        assert run(hours[0], (hours[1],), (asked,)).reasons == (reason,)


def test_every_reason_has_one_sentence() -> None:
    for sentence in EXPLANATIONS.values():
        assert sentence.endswith(".")
        assert sentence.count(". ") == 0
    assert run(BAD, (), (request(1),)).explain(METRICS["adjusted_r2"]) == (
        "Drift, with adjusted R2 below its threshold in too few windows yet. "
        "Drift that asks for retraining, but the last request is too recent."
    )


scores = st.none() | st.floats(0, 1)
drifts = st.sampled_from([(), ("income",)])
rules_drawn = st.builds(
    lambda n, extra, cooldown, budget, days, unlabelled: policy(
        below_windows=n,
        of_windows=n + extra,
        cooldown_days=cooldown,
        budget_requests=budget,
        budget_days=days,
        drift_without_labels=unlabelled,
    ),
    *(st.integers(1, 4), st.integers(0, 3), st.integers(0, 4), st.integers(0, 3), st.integers(1, 12)),
    st.sampled_from(["record_drift", "request_retraining"]),
)
pasts = st.lists(scores, max_size=6).map(lambda r2s: tuple(window(2 + i, r2, "income") for i, r2 in enumerate(r2s)))
asked = st.lists(st.integers(0, 15), max_size=5).map(lambda days: tuple(request(day) for day in days))


@dataclass(frozen=True)
class Case:
    """A window, what was before it, and the rules."""

    score: float | None
    drifted: tuple[str, ...]
    history: tuple[WindowMetrics, ...]
    requests: tuple[Request, ...]
    rules: Retraining


cases = st.builds(Case, scores, drifts, pasts, asked, rules_drawn)


@given(cases)
def test_a_request_is_made_only_within_all_limits(case: Case) -> None:
    verdict = run(window(1, case.score, *case.drifted), case.history, case.requests, case.rules)
    assert verdict.explain(R2)
    ages = [(NOW - item.at).days for item in case.requests]
    labelled = [case.score, *(item.metric for item in case.history)]
    last = [value for value in labelled if value is not None][: case.rules.of_windows]
    wanted = bool(case.drifted) and (
        case.rules.drift_without_labels == "request_retraining"
        if case.score is None
        else case.score < THRESHOLD and sum(value < THRESHOLD for value in last) >= case.rules.below_windows
    )
    allowed = (
        sum(age < case.rules.budget_days for age in ages) < case.rules.budget_requests
        and min(ages, default=99) >= case.rules.cooldown_days
    )
    assert (verdict.outcome is Outcome.REQUEST_RETRAINING) == (wanted and allowed)
    assert (verdict.outcome is Outcome.ALERT_ROOT_CAUSE) == (
        case.score is not None and case.score < THRESHOLD and not case.drifted
    )
    assert (verdict.outcome is Outcome.NO_ACTION) == (
        not case.drifted and (case.score is None or case.score >= THRESHOLD)
    )


@given(cases)
def test_a_fault_asks_a_person_whatever_else_is_seen(case: Case) -> None:
    rows, unit = {"rows:times_10:income": (0.05, 0.03, 0.08)}, {"unit:feet:age": (0.02, None, None)}
    for faults, reasons in (
        (rows, (Reason.UPSTREAM_FAULT,)),
        (unit, (Reason.CHANGE_OF_UNIT,)),
        (rows | unit, (Reason.CHANGE_OF_UNIT, Reason.UPSTREAM_FAULT)),
    ):
        verdict = run(
            replace(window(1, case.score, *case.drifted), faults=faults), case.history, case.requests, case.rules
        )
        assert (verdict.outcome, verdict.reasons) == (Outcome.ALERT_ROOT_CAUSE, reasons)


@given(cases)
def test_a_looser_rule_never_takes_a_request_back(case: Case) -> None:
    current = window(1, case.score, *case.drifted)
    if run(current, case.history, case.requests, case.rules).outcome is not Outcome.REQUEST_RETRAINING:
        return
    looser = case.rules.model_dump() | {
        "below_windows": max(1, case.rules.below_windows - 1),
        "cooldown_days": max(0, case.rules.cooldown_days - 1),
        "budget_requests": case.rules.budget_requests + 1,
    }
    for key in ("below_windows", "cooldown_days", "budget_requests"):
        changed = policy(**(case.rules.model_dump() | {key: looser[key]}))
        assert run(current, case.history, case.requests, changed).outcome is Outcome.REQUEST_RETRAINING
    assert run(current, case.history, case.requests[1:], case.rules).outcome is Outcome.REQUEST_RETRAINING
    assert run(current, case.history, case.requests, policy(**looser)).outcome is Outcome.REQUEST_RETRAINING
