"""A withdrawn partition leaves nothing: table and online store are as if only what is accepted now had ever come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.core.errors import UsageError
from include.core.settings import Settings
from include.features import freshness, query, steps
from include.features import store as feature_store
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import FEATURES
from include.lakehouse.selection import within
from tests.tables import day
from tests.unit.features.test_store import online_income

pytestmark = pytest.mark.slow

DAYS = tuple(day("2025-01-02").shift(number) for number in range(4))
KEYS = range(1, 6)
batches = st.dictionaries(st.sampled_from(KEYS), st.integers(1, 99).map(float), min_size=1)
changes = st.lists(st.tuples(st.sampled_from(DAYS), st.none() | batches), min_size=1, max_size=8)
"""A day is accepted with an income for each of some keys, or rejected."""


@pytest.fixture
def run(store: Any, spec: Any, lake: Any) -> Run:
    feature_store.apply(store, spec)
    return Run(spec, Settings.load(), lake, "run", DAYS[0])


def income_by_key(run: Run, of: Any) -> dict[int, float]:
    rows = run.lake.read(FEATURES.of(run.spec), where=within(of)).to_pylist()
    return {row["listing_id"]: row["median_income"] for row in rows}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=changes)
def test_after_any_changes_all_is_as_if_only_what_is_accepted_now_had_ever_come(run, store, put_clean, changes):
    accepted: dict[Any, dict[int, float]] = {}
    for of, incomes in [*((of, None) for of in DAYS), *changes]:
        own = replace(run, asked_for=of)
        put_clean(run.spec, list(incomes or {}), of, median_income=list((incomes or {}).values()))
        if incomes is None:
            accepted.pop(of, None)
            steps.withdraw_features(own)
        else:
            accepted[of] = incomes
            query.write(run.spec, run.lake, of)
            feature_store.materialize(store, run.spec, of)
    expected: dict[int, float] = {}
    for of in sorted(accepted):
        expected |= accepted[of]
    assert online_income(store, list(KEYS)) == [expected.get(key) for key in KEYS]
    if run.lake.exists(FEATURES.of(run.spec)):
        assert {of: income_by_key(run, of) for of in DAYS} == {of: accepted.get(of, {}) for of in DAYS}
    assert [freshness.missing(replace(run, asked_for=of)) is None for of in DAYS] == [of in accepted for of in DAYS]


def test_features_of_an_accepted_batch_are_not_withdrawn(run, build):
    build(DAYS[0], [1], 5.0)
    with pytest.raises(UsageError, match=r"is accepted\. Withdraw it first"):
        steps.withdraw_features(run)


def test_who_waits_for_features_of_a_withdrawn_batch_is_told(run, put_clean, monkeypatch):
    monkeypatch.setattr(freshness, "open_run", lambda model, partition: run)
    assert not freshness.is_fresh(run.spec.name, DAYS[0].key)
    run.decide(Kind.BATCH_VERDICT, Outcome.REJECT_BATCH, ["no_rows"])
    with pytest.raises(UsageError, match=r"the batch of 2025-01-02 is rejected \(no_rows\)"):
        freshness.is_fresh(run.spec.name, DAYS[0].key)
    run.decide(Kind.BATCH_WITHDRAWAL, Outcome.WITHDRAWN, ["withdrawn"], inputs={"comment": "wrong currency"})
    with pytest.raises(UsageError, match=r"is withdrawn \(wrong currency\)"):
        steps.compute_features(run)
    run.decide(Kind.QUARANTINE_REPROCESSING, Outcome.LEAVE_ROWS, [])
    with pytest.raises(UsageError, match="is withdrawn"):
        freshness.is_fresh(run.spec.name, DAYS[0].key)
    run.decide(Kind.QUARANTINE_REPROCESSING, Outcome.TAKE_ROWS_BACK, [])
    assert not freshness.is_fresh(run.spec.name, DAYS[0].key)


def test_a_batch_that_is_withdrawn_while_its_features_are_computed_leaves_none(
    run, build, store, put_clean, monkeypatch
):
    build(DAYS[0], [1], 5.0)
    of_rows = query.of_rows

    def withdrawn_meanwhile(*given: Any) -> Any:
        found = of_rows(*given)
        put_clean(run.spec, [], DAYS[0])
        monkeypatch.setattr(query, "of_rows", of_rows)
        return found

    monkeypatch.setattr(query, "of_rows", withdrawn_meanwhile)
    monkeypatch.setattr(run.__class__, "require_not_refused", lambda self: None)
    with pytest.raises(UsageError):
        steps.compute_features(run)
    assert income_by_key(run, DAYS[0]) == {}
    assert online_income(store, [1]) == [None]


def test_a_withdrawal_is_a_decision(run, build, put_clean):
    build(DAYS[0], [1, 2], 5.0)
    put_clean(run.spec, [], DAYS[0])
    assert steps.withdraw_features(run) == feature_store.Withdrawn(2, 2)
    (decided,) = decisions.history(run.lake, run.spec.name, Kind.FEATURE_WITHDRAWAL)
    assert (decided.outcome, decided.subject, decided.inputs) == ("withdrawn", DAYS[0].key, {"rows": 2, "keys": 2})
