"""MLflow fails at each request of a promotion and a roll-back in turn: one version stays, and a repetition completes.

A proxy before the server answers 500, cuts the line, or answers after the client's patience.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from include.core.errors import FlightlineError
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind
from include.orchestration.defaults import NOT_RETRIED
from include.registry import promotion, steps, versions
from tests.unit.registry.failing_mlflow import Failure, Proxy
from tests.unit.registry.zygote import JOURNEYS, LENIENT, gated
from tests.unit.training.serving import BAD, GOOD, Serving, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def behind(proxy: Proxy, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """The good version was in production, and the bad one is; MLflow is reached through the proxy."""
    made = serving(f"fails_{abs(hash(request.node.name))}", tmp_path)
    made.promote(GOOD, BAD)
    proxy.stand_before_mlflow(monkeypatch)
    return made


def go_there(made: Serving, number: int) -> tuple[str, Callable[[], Any]]:
    """A roll-back, or a promotion's last step, to the version that is not in production."""
    target = GOOD if made.periods()[-1] == BAD else BAD
    run = made.run(run_id=f"run {number}")
    if number % 2:
        identity = decisions.identity(run.spec.name, Kind.PROMOTION, f"version {target}", run.run_id)
        return target, lambda: promotion.put_in_production(run.spec, run.lake, target, identity)
    return target, lambda: steps.roll_back(run, target, "MLflow fails")


@pytest.mark.parametrize(("how", "stride"), [("500", 1), ("down", 5), ("slow", 9)])
def test_wherever_mlflow_fails_one_version_is_in_production_and_a_repetition_completes(
    behind: Serving, proxy: Proxy, how: Failure, stride: int
) -> None:
    number, failed = 0, 0
    for kind in (0, 1):
        at = 1
        while True:
            number += 2
            target, go = go_there(behind, number + kind)
            before = behind.periods()
            proxy.fail_from(at, how)
            fails = False
            try:
                go()
            except (MlflowException, FlightlineError):
                fails = True
            finally:
                proxy.heal()
            assert behind.periods() in (before, [*before, target])
            if not fails:
                break  # it has made all of its requests
            failed += 1
            go()
            assert behind.periods() == [*before, target]
            assert versions.number_of(behind.spec, versions.PRODUCTION) == target
            tagged = [version.version for version in versions.in_stage(behind.spec, "Production")]
            assert tagged == [target]
            at += stride
    assert failed >= 20 / stride


def test_wherever_mlflow_fails_in_a_gate_nothing_is_promoted_that_it_has_not_let_pass(
    behind: Serving, proxy: Proxy
) -> None:
    """The same run, once it answers again, comes to its end."""
    spec, at, ended = gated(behind, LENIENT), 1, set[str]()
    while True:
        before = behind.periods()
        target = GOOD if before[-1] == BAD else BAD
        run = replace(behind.run(run_id=f"whole {at}"), spec=spec)
        proxy.fail_from(at, "500")
        try:
            JOURNEYS["promote"](run, target)
            came_to = "promoted" if behind.periods() == [*before, target] else "rejected"
        except (MlflowException, FlightlineError):
            came_to = "error"
        finally:
            proxy.heal()
        kinds = (Kind.STAGING_GATE, Kind.PRODUCTION_GATE)
        made = [item for item in decisions.history(run.lake, spec.name, run_id=run.run_id) if item.kind in kinds]
        if behind.periods() != before:
            assert sorted(item.outcome for item in made) == ["passed", "passed"]
        ended.add(came_to)
        if came_to == "promoted":
            break  # it has made all of its requests
        JOURNEYS["promote"](run, target)
        assert behind.periods() == [*before, target]
        assert versions.number_of(spec, versions.PRODUCTION) == target
        at += 15
    assert ended >= {"error", "promoted"}


def test_what_fails_is_no_mistake_that_a_retry_would_repeat(behind: Serving, proxy: Proxy) -> None:
    """Airflow tries it again: it is none of the errors that end a run at once."""
    _, go = go_there(behind, 2)
    proxy.fail_from(1, "500")
    with pytest.raises(MlflowException, match="too many 500 error responses") as raised:
        go()
    proxy.heal()
    assert not isinstance(raised.value, (*NOT_RETRIED, FlightlineError))
