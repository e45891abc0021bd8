"""What a run records of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse


@pytest.fixture
def run(tmp_path: Path) -> Run:
    spec = catalogue.load("california_housing")
    return Run(spec, Settings(), Lakehouse(str(tmp_path)), "a run", Partition.parse("2025-01-03", spec.grain))


@pytest.mark.parametrize(("person", "recorded"), [(Actor.PERSON, "person"), ("ada", "ada")])
def test_a_person_is_recorded_by_name_where_it_is_known_and_a_policy_as_one(
    run: Run, person: str, recorded: str
) -> None:
    started = replace(run, person=person)
    started.decide(Kind.BATCH_WITHDRAWAL, Outcome.WITHDRAWN, [], actor=Actor.PERSON)
    started.decide(Kind.BATCH_VERDICT, Outcome.ACCEPT_BATCH, [])
    found = {item.kind: item.actor for item in decisions.history(run.lake, run.spec.name)}
    assert found == {Kind.BATCH_WITHDRAWAL: recorded, Kind.BATCH_VERDICT: "policy"}
