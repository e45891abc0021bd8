"""A process is killed (SIGKILL) at each request that a promotion, a rejection or a roll-back makes to MLflow, before
and after the server has done it: never none or two in production, and a repetition of the same run completes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.lakehouse import comparisons, decisions
from include.lakehouse.decisions import Kind
from include.registry import versions
from tests.unit.registry.failing_mlflow import Proxy
from tests.unit.registry.zygote import LENIENT, Zygote, gated, work
from tests.unit.training.serving import BAD, GOOD, Serving, serving

pytestmark = pytest.mark.slow

STRIDE = int(os.environ.get("KILL_STRIDE", "29"))
"""One request of 29, before and after in turn; with 1, which takes minutes, each of them (an odd number)."""
STRICT = [{"check": "better_than_production", "confidence": 0.95}, {"check": "above_threshold", "threshold": 1.5}]


@pytest.fixture
def behind(proxy: Proxy, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Both versions were in production, and one is: the good one where the other is to be rejected."""
    journey = request.node.callspec.id
    made = serving(f"killed_{journey}", tmp_path)
    made.promote(*((BAD, GOOD) if journey == "reject" else (GOOD, BAD)))
    proxy.stand_before_mlflow(monkeypatch)
    return made


@pytest.fixture
def zygote(behind: Serving, tmp_path: Path) -> Iterator[Zygote]:
    made = Zygote(tmp_path)
    yield made
    made.end()


def said(made: Serving, run_id: str) -> Counter[str]:
    """What a run has recorded, each kind as often as it did."""
    found = decisions.history(made.scene.world.lake, made.spec.name, run_id=run_id)
    return Counter(item.kind for item in found)


@pytest.mark.parametrize("journey", ["promote", "reject", "roll_back"])
def test_wherever_a_process_is_killed_one_version_is_in_production_and_a_repetition_completes(
    behind: Serving, proxy: Proxy, zygote: Zygote, journey: str
) -> None:
    spec = gated(behind, STRICT if journey == "reject" else LENIENT)
    at, killed, once = 1, 0, Counter[str]()
    while True:
        before = behind.periods()
        target = GOOD if before[-1] == BAD else BAD
        after = before if journey == "reject" else [*before, target]
        todo = work(behind, spec, f"run {at}", journey.replace("reject", "promote"), target)
        victim = zygote.fork(todo)
        proxy.strike_at(at, lambda victim=victim: os.kill(victim, signal.SIGKILL), hands_on=bool(at % 2))
        ended = zygote.go()
        proxy.heal()
        assert behind.periods() in (before, after)
        if ended == 0:
            break  # it has made all of its requests
        assert ended == -signal.SIGKILL
        killed += 1
        zygote.fork(todo)
        assert zygote.go() == 0
        assert behind.periods() == after
        assert versions.number_of(spec, versions.PRODUCTION) == after[-1]
        assert [version.version for version in versions.in_stage(spec, "Production")] == [after[-1]]
        recorded = said(behind, f"run {at}")
        once = once or recorded
        assert recorded == once, "a run that was killed says the same as another one that was"
        assert set(recorded.values()) == {1}, "nothing is said twice"
        at += STRIDE
    assert killed >= 20 / STRIDE
    assert said(behind, f"run {at}") == once, "and as one that was not"
    kind = {"promote": Kind.PROMOTION, "reject": Kind.REJECTION, "roll_back": Kind.ROLL_BACK}[journey]
    assert once[kind] == 1
    if journey == "reject":
        numbers = {item.number for item in comparisons.read(spec, behind.scene.world.lake, GOOD)}
        assert numbers == {1}, "one candidate, however often it is compared"
