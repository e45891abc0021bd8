from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse import alias_history
from include.lakehouse.tables import Lakehouse

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
DATA = datetime(2025, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
PROCESSES = 8
OVERTAKEN = 3


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path))


def named(name: str) -> ModelSpec:
    return catalogue.load("california_housing").model_copy(update={"name": name})


HOUSES = named("houses")


def begin(lake: Lakehouse, version: str, days: int, *, at: datetime = AT, spec: ModelSpec = HOUSES) -> None:
    alias_history.begin(lake, spec, version, model_time=DATA + days * DAY, decision_id=f"d{version}", at=at)


def versions(lake: Lakehouse) -> list[str]:
    return [period.version for period in alias_history.periods(lake, "houses")]


def test_periods_follow_each_other_by_the_clock(lake: Lakehouse) -> None:
    assert alias_history.current(lake, "houses") is None
    begin(lake, "1", 0)
    begin(lake, "7", 0, spec=named("cars"))
    begin(lake, "2", 1, at=AT + DAY)
    begin(lake, "2", 1, at=AT + 2 * DAY)  # a repetition
    begin(lake, "1", 0, at=AT + 3 * DAY)
    found = alias_history.periods(lake, "houses")
    assert [(period.version, period.valid_from) for period in found] == [
        ("1", AT),
        ("2", AT + DAY),
        ("1", AT + 3 * DAY),
    ]
    assert [period.valid_to for period in found] == [AT + DAY, AT + 3 * DAY, None]
    running = alias_history.current(lake, "cars")
    assert running is not None
    assert (running.version, running.valid_to) == ("7", None)


def test_a_partition_of_the_past_is_answered_in_the_time_of_the_data(lake: Lakehouse) -> None:
    begin(lake, "1", 0)
    begin(lake, "2", 4, at=AT + timedelta(minutes=10))

    def then(days: int) -> str | None:
        found = alias_history.as_of(lake, "houses", DATA + days * DAY)
        return found and found.version

    assert [then(days) for days in (-1, 0, 3, 4, 9)] == [None, "1", "1", "2", "2"]
    begin(lake, "1", 0, at=AT + timedelta(minutes=20))  # rolled back: version 2 is no answer any more
    assert [then(days) for days in (-1, 0, 4, 9)] == [None, "1", "1", "1"]


def test_a_version_that_knew_less_can_follow_and_so_can_one_of_a_slow_clock(lake: Lakehouse) -> None:
    begin(lake, "1", 4)
    begin(lake, "2", 1, at=AT + DAY)
    begin(lake, "3", 9, at=AT)  # the clock of another machine
    first, second, third = alias_history.periods(lake, "houses")
    assert (first.valid_to, second.valid_to, third.valid_to) == (second.valid_from, third.valid_from, None)
    assert second.valid_from < third.valid_from
    found = alias_history.as_of(lake, "houses", DATA + 5 * DAY)
    assert found is not None
    assert found.version == "2"


@pytest.mark.parametrize("moments", [(datetime(2025, 1, 6), AT), (DATA, datetime(2026, 3, 1))])
def test_a_time_without_a_zone_is_refused(lake: Lakehouse, moments: tuple[datetime, datetime]) -> None:
    with pytest.raises(DataError, match="time zone"):
        alias_history.begin(lake, HOUSES, "2", model_time=moments[0], decision_id="d", at=moments[1])


def _begin(folder: str, number: int, gate) -> None:
    gate.wait()
    begin(Lakehouse(folder), str(number), number, at=AT + number * DAY)


def _at_once(folder: Path, begins: Callable[..., None]) -> tuple[list[alias_history.AliasPeriod], list[int | None]]:
    """The periods that so many processes leave, and how each of them ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once
    gate = context.Barrier(PROCESSES)
    processes = [context.Process(target=begins, args=(str(folder), n, gate)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return alias_history.periods(Lakehouse(str(folder)), "houses"), [process.exitcode for process in processes]


def test_of_eight_processes_that_begin_at_once_and_make_the_table_none_is_lost(tmp_path: Path) -> None:
    found, exits = _at_once(tmp_path, _begin)
    assert exits == [0] * PROCESSES
    assert {period.version for period in found} == {str(number) for number in range(PROCESSES)}
    assert [period.valid_to for period in found] == [*(period.valid_from for period in found[1:]), None]


def _begin_first(folder: str, number: int, gate) -> None:
    def require(running: alias_history.AliasPeriod | None) -> None:
        if running:
            sys.exit(OVERTAKEN)

    gate.wait()
    lake = Lakehouse(folder)
    alias_history.begin(lake, HOUSES, str(number), model_time=DATA, decision_id=str(number), require=require)


def test_of_eight_processes_that_would_all_replace_the_same_version_one_does(tmp_path: Path) -> None:
    found, exits = _at_once(tmp_path, _begin_first)
    assert sorted(exits) == [0] + [OVERTAKEN] * (PROCESSES - 1)
    assert [period.version for period in found] == [str(exits.index(0))]


@pytest.mark.parametrize(
    ("moves", "former"),
    [
        ("", None),
        ("p1", None),
        ("p1 p2", "1"),
        ("p1 p2 p3 r2", "1"),  # not 3, which was rolled back from
        ("p1 p2 p3 r1", None),  # nor 2, which was gone past
        ("p1 p2 r1 p3", "1"),
        ("p1 p2 r1 p2", "1"),
        ("p1 p2 p1", "2"),
        ("p1 p2 r1 r2", "1"),  # and forward again
    ],
)
def test_a_roll_back_goes_to_the_last_version_that_nobody_has_rolled_back_from(
    tmp_path: Path, moves: str, former: str | None
) -> None:
    lake, kinds = Lakehouse(str(tmp_path)), {"p": "promotion", "r": "roll_back"}
    for number, move in enumerate(moves.split()):
        alias_history.begin(
            lake,
            HOUSES,
            move[1:],
            model_time=DATA,
            decision_id=str(number),
            kind=kinds[move[0]],
            actor="ada",
            at=DATA + number * DAY,
        )
    found = alias_history.former(lake, HOUSES.name)
    assert (found.version if found else None) == former
    assert all(period.actor == "ada" for period in alias_history.periods(lake, HOUSES.name))
