"""An incident is told once, its recovery once, and no flood of either."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.monitoring import incident

BAD = (Outcome.ALERT_ROOT_CAUSE, Reason.UPSTREAM_FAULT)
RETRAIN = (Outcome.REQUEST_RETRAINING, Reason.HARMFUL_DRIFT)
GOOD = (Outcome.NO_ACTION, Reason.PERFORMANCE_HOLDS)
DRIFT = (Outcome.RECORD_DRIFT, Reason.HARMLESS_DRIFT)
UNKNOWN = (Outcome.NO_ACTION, Reason.NO_LABELS_NO_DRIFT)
CHANCE = (Outcome.NO_ACTION, Reason.WORSE_BY_CHANCE)
INCIDENT, RECOVERY = Outcome.INCIDENT_TOLD, Outcome.RECOVERY_TOLD
LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    spec = catalogue.load("california_housing")
    return Run(spec, Settings(lakehouse_uri=str(tmp_path)), Lakehouse(str(tmp_path)), "first", spec.first_partition)


class Months:
    """Windows that come one after the other, each told as far as there is something to tell."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch, quiet: timedelta = timedelta()) -> None:
        monkeypatch.setattr(incident, "QUIET", quiet)
        self.run, self.numbers = run, count()

    def come(self, day: int, decided: tuple[Outcome, Reason], *, heard: bool = True) -> Outcome | None:
        partition: Partition = self.run.spec.first_partition.shift(day)
        run = replace(self.run, asked_for=partition, run_id=f"run {next(self.numbers)}")
        run.decide(Kind.RETRAINING_POLICY, decided[0], [decided[1]])
        found = incident.find(run)
        if found and heard:
            incident.record(run, found, ["slack_default"])
        return found


def test_an_incident_lasts_until_a_window_is_good_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    months = Months(run, monkeypatch)
    told = [months.come(day, decided) for day, decided in enumerate([GOOD, BAD, RETRAIN, UNKNOWN, CHANCE, GOOD, GOOD])]
    assert told == [None, INCIDENT, None, None, None, RECOVERY, None]
    assert [months.come(day, decided) for day, decided in ((8, RETRAIN), (9, DRIFT))] == [INCIDENT, RECOVERY]
    kept = decisions.history(run.lake, run.spec.name, Kind.INCIDENT_NOTICE)
    assert [item.inputs for item in kept] == [{"told_by": "slack_default"}] * 4


def test_what_nobody_has_heard_is_told_with_the_next_window(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    months = Months(run, monkeypatch)
    assert [months.come(1, BAD, heard=False), months.come(2, BAD), months.come(3, BAD)] == [INCIDENT, INCIDENT, None]
    assert [months.come(4, GOOD, heard=False), months.come(5, GOOD), months.come(6, GOOD)] == [RECOVERY] * 2 + [None]


def test_a_window_that_is_decided_on_again_is_no_second_incident(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    months = Months(run, monkeypatch)
    assert [months.come(1, BAD), months.come(1, BAD), months.come(1, GOOD)] == [INCIDENT, None, RECOVERY]


def test_windows_of_before_are_no_news(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month that is backfilled backwards."""
    months = Months(run, monkeypatch)
    assert months.come(9, BAD) == INCIDENT
    assert [months.come(day, decided) for day in range(8, 1, -1) for decided in (BAD, GOOD)] == [None] * 14


def test_incidents_that_come_and_go_are_told_an_hour_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    months = Months(run, monkeypatch, timedelta(hours=1))
    told = [months.come(day, decided) for day, decided in enumerate([BAD, GOOD] * 5)]
    assert told == [INCIDENT, RECOVERY] + [None] * 8
    last = Decision(
        "id", LONG_AGO, LONG_AGO, "m", Kind.INCIDENT_NOTICE, "2025-01-01", INCIDENT, [], {}, "policy", "", "run"
    )
    bad = replace(last, kind=Kind.RETRAINING_POLICY, subject="2025-01-05", outcome=BAD[0], reasons=[BAD[1]])
    over = replace(last, outcome=RECOVERY, subject="2025-01-02")
    assert incident.news([last, over], bad, LONG_AGO + timedelta(minutes=59)) is None
    assert incident.news([last, over], bad, LONG_AGO + timedelta(minutes=61)) == INCIDENT
