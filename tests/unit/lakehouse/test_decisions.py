from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import DataError
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.schemas import DECISIONS
from include.lakehouse.tables import Lakehouse
from tests.tables import day

AT = datetime(2025, 1, 5, tzinfo=UTC)
SPEC = catalogue.load("california_housing")
HOUSES, CARS = (SPEC.model_copy(update={"name": name}) for name in ("houses", "cars"))


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path))


def decide(lake: Lakehouse, spec=HOUSES, **changes: object) -> str:
    made: dict = {
        "kind": Kind.PRODUCTION_GATE,
        "subject": "version 1",
        "outcome": Outcome.FAILED,
        "reasons": [Reason.CHECK.about("it's_own")],
        "inputs": {"value": np.float64(0.7), "nothing": float("nan"), "day": date(2025, 1, 4), "of": day("2025-01-04")},
        "decided_at": AT,
        "actor": "gate",
        "policy_hash": "h",
        "run_id": "run 'a'",
    }
    return decisions.record(lake, spec, **(made | changes))


def test_a_retry_replaces_its_own_row_only(lake: Lakehouse) -> None:
    assert decisions.history(lake, "houses") == []
    first = decide(lake)
    other = decide(lake, run_id="b", decided_at=AT - timedelta(days=1), reasons=[])
    elsewhere = decide(lake, CARS)
    assert decide(lake, outcome=Outcome.PASSED) == first
    assert len({first, other, elsewhere}) == 3
    found = decisions.history(lake, "houses")
    assert [item.decision_id for item in found] == [other, first]
    assert found[-1].outcome == "passed"
    assert found[-1].inputs == {"value": 0.7, "nothing": None, "day": "2025-01-04", "of": "2025-01-04"}
    assert found[-1].reasons == ["check:it's_own"]
    assert found[-1].decided_at == AT
    assert found[-1].recorded_at > AT
    assert decisions.history(lake, "houses", Kind.STAGING_GATE) == []
    assert len(decisions.history(lake, "cars", Kind.PRODUCTION_GATE)) == 1


def test_only_what_is_new_enough_is_read(lake: Lakehouse) -> None:
    for months in range(6):
        decide(lake, run_id=str(months), decided_at=AT + timedelta(days=30 * months))
    since = AT + timedelta(days=90)
    assert [item.run_id for item in decisions.history(lake, "houses", since=since)] == ["3", "4", "5"]
    for file in Path(lake.uri("decisions")).rglob("month=2025-01/*.parquet"):
        file.unlink()
    assert len(decisions.history(lake, "houses", since=since)) == 3


def test_a_run_that_decides_again_in_another_month_replaces_its_own_row(lake: Lakehouse) -> None:
    """A promotion takes the time of the newest data, which has gone on when its task is cleared."""
    later = AT + timedelta(days=40)
    decide(lake, about=AT, run_id="other")
    for decided_at in (AT, later, AT + timedelta(days=80), later):
        decide(lake, about=AT, decided_at=decided_at)
        assert [item.decided_at for item in decisions.history(lake, "houses")] == [AT, decided_at]
    assert [item.run_id for item in decisions.history(lake, "houses", since=later)] == ["run 'a'"]
    assert decisions.history(lake, "houses", since=later + timedelta(microseconds=1)) == []
    assert decisions.history(lake, "houses", since=later + timedelta(days=400)) == []


def test_a_month_of_decisions_is_one_file(lake: Lakehouse) -> None:
    for number in range(12):
        decide(lake, run_id=str(number))
    assert len(lake.open(DECISIONS.layer).file_uris()) == 1
    assert len(decisions.history(lake, "houses")) == 12


@pytest.mark.parametrize(
    "changes",
    [{"kind": "mood"}, {"outcome": "perhaps"}, {"reasons": ["felt_like_it"]}, {"reasons": ["felt:like it"]}],
    ids=str,
)
def test_words_that_are_not_of_the_closed_sets_are_refused(lake: Lakehouse, changes: dict) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        decide(lake, **changes)
    assert decisions.history(lake, "houses") == []


def test_a_time_without_zone_is_refused(lake: Lakehouse) -> None:
    with pytest.raises(DataError, match="time zone"):
        decide(lake, decided_at=datetime(2025, 1, 5))


def test_policy_hash_follows_the_policy_and_nothing_else() -> None:
    gates = SPEC.gates
    changed = gates.model_copy(update={"production": gates.production[:1]})
    assert decisions.policy_hash(gates) == decisions.policy_hash(gates.model_copy(deep=True))
    assert decisions.policy_hash(gates) != decisions.policy_hash(changed)


@given(st.dictionaries(st.text(max_size=4), st.integers() | st.floats() | st.text(max_size=4), max_size=5))
def test_canonical_json_is_json_whatever_the_order(content: dict) -> None:
    turned = dict(reversed(content.items()))
    assert decisions.canonical_json(content) == decisions.canonical_json(turned)
    assert set(json.loads(decisions.canonical_json(content))) == set(content)


def test_canonical_json_of_what_json_lacks() -> None:
    assert decisions.canonical_json({"b": (1, 2), "a": float("inf")}) == '{"a":null,"b":[1,2]}'
    assert json.loads(decisions.canonical_json({"set": {3, 1}})) == {"set": [1, 3]}
