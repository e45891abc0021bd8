from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.core.settings import Places
from include.lakehouse import decisions
from include.lakehouse.tables import Lakehouse

AT = datetime(2025, 1, 5, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(Places("dev", str(tmp_path), str(tmp_path / "lakehouse"), ""))


def decide(lake: Lakehouse, **changes: object) -> str:
    given: dict = {
        "model": "houses",
        "kind": "production_gate",
        "subject": "version 1",
        "outcome": "failed",
        "reasons": ["It's not above 0.8"],
        "inputs": {"value": np.float64(0.7), "nothing": float("nan"), "day": date(2025, 1, 4)},
        "decided_at": AT,
        "actor": "gate",
        "policy_hash": "h",
        "run_id": "run 'a'",
    }
    return decisions.record(lake, **(given | changes))


def test_a_retry_replaces_its_own_row_only(lake: Lakehouse) -> None:
    assert decisions.history(lake, "houses") == []
    first = decide(lake)
    other = decide(lake, run_id="b", decided_at=AT - timedelta(days=1), reasons=[])
    elsewhere = decide(lake, model="cars")
    assert decide(lake, outcome="passed") == first
    assert len({first, other, elsewhere}) == 3
    found = decisions.history(lake, "houses")
    assert [item.decision_id for item in found] == [other, first]
    assert found[-1].outcome == "passed"
    assert found[-1].inputs == {"value": 0.7, "nothing": None, "day": "2025-01-04"}
    assert found[-1].reasons == ["It's not above 0.8"]
    assert found[-1].decided_at == AT
    assert decisions.history(lake, "houses", "staging_gate") == []
    assert len(decisions.history(lake, "cars", "production_gate")) == 1


def test_a_time_without_zone_is_refused(lake: Lakehouse) -> None:
    with pytest.raises(DataError, match="time zone"):
        decide(lake, decided_at=datetime(2025, 1, 5))


def test_policy_hash_follows_the_policy_and_nothing_else() -> None:
    gates = catalogue.load("california_housing").gates
    changed = gates.model_copy(update={"production": gates.production.model_copy(update={"adjusted_r2": 0.81})})
    assert decisions.policy_hash(gates) == decisions.policy_hash(gates.model_copy(deep=True))
    assert decisions.policy_hash(gates) != decisions.policy_hash(changed)


def test_canonical_json_is_json_whatever_the_order() -> None:
    assert decisions.canonical_json({"b": (1, 2), "a": float("inf")}) == '{"a":null,"b":[1,2]}'
    assert json.loads(decisions.canonical_json({"set": {3, 1}})) == {"set": [1, 3]}
