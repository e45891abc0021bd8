"""The retraining policy: every row of its table, what holds a request back, and properties of the whole."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core.spec import Retraining
from include.monitoring.policy import EXPLANATIONS, Branch, Decision, Reason, Request, decide
from include.monitoring.window import WindowMetrics

TODAY = date(2025, 1, 10)
THRESHOLD = 0.8
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


def window(days_ago: int, adjusted_r2: float | None, *drifted: str, rows: int = 400) -> WindowMetrics:
    return WindowMetrics(
        window=TODAY - timedelta(days=days_ago),
        version="1",
        rows=rows,
        labelled_rows=0 if adjusted_r2 is None else rows,
        adjusted_r2=adjusted_r2,
        rmse=None,
        mae=None,
        bias=None,
        drifted_features=drifted,
        prediction_drifted=None,
    )


def request(days_ago: int) -> Request:
    return Request(window=TODAY - timedelta(days=days_ago + 5), day=TODAY - timedelta(days=days_ago))


def run(
    current: WindowMetrics | None,
    history: tuple[WindowMetrics, ...] = (),
    requests: tuple[Request, ...] = (),
    rules: Retraining = POLICY,
    production: str | None = "1",
) -> Decision:
    return decide(rules, THRESHOLD, current, production=production, history=history, requests=requests, today=TODAY)


BELOW_BEFORE = (window(2, 0.6, "income"),)
RECORD, REQUEST = policy(), policy(drift_without_labels="request_retraining")


@pytest.mark.parametrize(
    ("adjusted_r2", "drifted", "rules", "branch", "reason"),
    [
        (0.85, (), RECORD, Branch.NO_ACTION, Reason.PERFORMANCE_HOLDS),
        (0.80, (), RECORD, Branch.NO_ACTION, Reason.PERFORMANCE_HOLDS),
        (0.80, ("income",), RECORD, Branch.RECORD_DRIFT, Reason.HARMLESS_DRIFT),
        (0.79, ("income",), RECORD, Branch.REQUEST_RETRAINING, Reason.HARMFUL_DRIFT),
        (0.79, (), RECORD, Branch.ALERT_ROOT_CAUSE, Reason.DEGRADED_WITHOUT_DRIFT),
        (None, (), RECORD, Branch.NO_ACTION, Reason.NO_LABELS_NO_DRIFT),
        (None, (), REQUEST, Branch.NO_ACTION, Reason.NO_LABELS_NO_DRIFT),
        (None, ("income",), RECORD, Branch.RECORD_DRIFT, Reason.UNLABELLED_DRIFT_RECORDED),
        (None, ("income",), REQUEST, Branch.REQUEST_RETRAINING, Reason.UNLABELLED_DRIFT_REQUESTED),
        (0.85, ("income",), REQUEST, Branch.RECORD_DRIFT, Reason.HARMLESS_DRIFT),
    ],
)
def test_each_row_of_the_table(
    adjusted_r2: float | None, drifted: tuple[str, ...], rules: Retraining, branch: Branch, reason: Reason
) -> None:
    decision = run(window(1, adjusted_r2, *drifted), BELOW_BEFORE, rules=rules)
    assert (decision.branch, decision.reasons) == (branch, (reason,))


def test_before_production_and_without_rows_nothing_is_done() -> None:
    nothing = Decision(Branch.NO_ACTION, (Reason.NO_PRODUCTION_VERSION,))
    assert run(None, production=None) == run(window(1, 0.5, "income"), production=None) == nothing
    assert run(None) == Decision(Branch.NO_ACTION, (Reason.NOTHING_SCORED,))
    assert run(window(1, None, rows=0)) == Decision(Branch.NO_ACTION, (Reason.NOTHING_SCORED,))


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
    decision = run(BAD, history)
    assert decision.windows_below == below
    if below >= POLICY.below_windows:
        assert decision.branch is Branch.REQUEST_RETRAINING
    else:
        assert (decision.branch, decision.reasons) == (Branch.RECORD_DRIFT, (Reason.WAITING_FOR_N_OF_M,))


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
    decision = run(BAD, BELOW_BEFORE, tuple(request(days) for days in days_ago))
    assert decision.reasons == reasons
    expected = Branch.REQUEST_RETRAINING if reasons == (Reason.HARMFUL_DRIFT,) else Branch.RECORD_DRIFT
    assert decision.branch is expected


def test_a_window_that_a_replaced_version_scored_asks_for_nothing() -> None:
    decision = run(BAD, BELOW_BEFORE, production="2")
    assert (decision.branch, decision.reasons) == (Branch.RECORD_DRIFT, (Reason.VERSION_REPLACED,))


def test_all_that_holds_a_request_back_is_named() -> None:
    assert run(BAD, (), (request(1), request(5))).reasons == (
        Reason.WAITING_FOR_N_OF_M,
        Reason.COOLING_DOWN,
        Reason.BUDGET_SPENT,
    )


def test_deciding_again_gives_the_same_although_the_request_is_on_record() -> None:
    first = run(BAD, BELOW_BEFORE)
    assert first.branch is Branch.REQUEST_RETRAINING
    assert run(BAD, BELOW_BEFORE, (Request(window=BAD.window, day=TODAY),)) == first
    # The same window decided on another day (its labels came later) is another decision.
    earlier = Request(window=BAD.window, day=TODAY - timedelta(days=1))
    assert run(BAD, BELOW_BEFORE, (earlier,)).reasons == (Reason.COOLING_DOWN,)


def test_drift_without_labels_is_held_back_by_cooldown_and_budget_but_not_by_n_of_m() -> None:
    unlabelled = window(1, None, "income")
    assert run(unlabelled, rules=REQUEST).branch is Branch.REQUEST_RETRAINING
    assert run(unlabelled, (), (request(1),), REQUEST).reasons == (Reason.COOLING_DOWN,)
    assert run(unlabelled, (), (request(3), request(4)), REQUEST).reasons == (Reason.BUDGET_SPENT,)


def test_every_reason_has_one_sentence() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    for sentence in EXPLANATIONS.values():
        assert sentence.endswith(".")
        assert sentence.count(". ") == 0
    assert run(BAD, (), (request(1),)).explain() == (
        EXPLANATIONS[Reason.WAITING_FOR_N_OF_M] + " " + EXPLANATIONS[Reason.COOLING_DOWN]
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
cases = (scores, drifts, pasts, asked, rules_drawn)


@given(*cases)
def test_a_request_is_made_only_within_all_limits(
    score: float | None,
    drifted: tuple[str, ...],
    history: tuple[WindowMetrics, ...],
    requests: tuple[Request, ...],
    rules: Retraining,
) -> None:
    decision = run(window(1, score, *drifted), history, requests, rules)
    assert decision.reasons
    ages = [(TODAY - item.day).days for item in requests]
    labelled = [score, *(item.adjusted_r2 for item in history)]
    last = [value for value in labelled if value is not None][: rules.of_windows]
    wanted = bool(drifted) and (
        rules.drift_without_labels == "request_retraining"
        if score is None
        else score < THRESHOLD and sum(value < THRESHOLD for value in last) >= rules.below_windows
    )
    allowed = (
        sum(age < rules.budget_days for age in ages) < rules.budget_requests
        and min(ages, default=99) >= rules.cooldown_days
    )
    assert (decision.branch is Branch.REQUEST_RETRAINING) == (wanted and allowed)
    assert (decision.branch is Branch.ALERT_ROOT_CAUSE) == (score is not None and score < THRESHOLD and not drifted)
    assert (decision.branch is Branch.NO_ACTION) == (not drifted and (score is None or score >= THRESHOLD))


@given(*cases)
def test_a_looser_rule_never_takes_a_request_back(
    score: float | None,
    drifted: tuple[str, ...],
    history: tuple[WindowMetrics, ...],
    requests: tuple[Request, ...],
    rules: Retraining,
) -> None:
    current = window(1, score, *drifted)
    if run(current, history, requests, rules).branch is not Branch.REQUEST_RETRAINING:
        return
    looser = rules.model_dump() | {
        "below_windows": max(1, rules.below_windows - 1),
        "cooldown_days": max(0, rules.cooldown_days - 1),
        "budget_requests": rules.budget_requests + 1,
    }
    for key in ("below_windows", "cooldown_days", "budget_requests"):
        changed = policy(**(rules.model_dump() | {key: looser[key]}))
        assert run(current, history, requests, changed).branch is Branch.REQUEST_RETRAINING
    assert run(current, history, requests[1:], rules).branch is Branch.REQUEST_RETRAINING
    assert run(current, history, requests, policy(**looser)).branch is Branch.REQUEST_RETRAINING
