"""A person asks what a version is, and whether it is that still."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.jobs import release_show
from include.lakehouse.decisions import Kind
from include.registry import promotion
from tests.unit.registry import released
from tests.unit.registry.cases import decided
from tests.unit.registry.released import Place
from tests.unit.training.stage import Scene, mlflow_store, scene

__all__ = ["mlflow_store", "scene"]

pytestmark = pytest.mark.slow


@pytest.fixture
def at(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with released.place(scene, tmp_path, "shown", monkeypatch) as made:
        monkeypatch.setattr(release_show, "open_run", lambda model: made.run)
        yield made


def test_what_is_printed_of_a_version(at: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert release_show.main(["1"]) == 0
    before = capsys.readouterr().out
    assert "shown version 1: None\n\nnever in production\n\n" in before
    assert "no production gate has judged it" in before
    at.promote()
    assert release_show.main([""]) == 0, "that in production"
    said = capsys.readouterr().out
    digest = decided(at.run, Kind.PRODUCTION_GATE)[-1].inputs["release"]["digest"]
    assert "shown version 1: Production" in said
    assert re.search(r"in production from \S+ \S+ to now \(UTC\)", said)
    assert f"asked for by no person; approved as release {digest}" in said
    assert len(re.findall(r"^[\w ]+ [0-9a-f]{12} +the same$", said, re.M)) == 7
    assert re.search(r"^promised: adjusted R2 0\.\d{4}, ", said, re.M)
    assert re.search(r"approval: approved +policy +approved_by_policy$", said, re.M)
    promotion.put_in_production(at.spec, at.run.lake, "2", "d2")
    released.other_package(at)
    assert release_show.main(["1"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^environment lock +[0-9a-f]{12} +another: a-forest 1\.0, now 1\.1$", said, re.M)
    assert len(re.findall(r"the same$", said, re.M)) == 6


def test_a_file_that_is_not_what_was_registered_is_named(at: Place, capsys: pytest.CaptureFixture[str]) -> None:
    released.other_model_files(at)
    assert release_show.main(["1"]) == 1
    assert "not as it was registered: requirements.txt of version 1 is changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("99", "error: shown: there is no version 99. Look up its versions in MLflow"),
        ("three", "error: shown: there is no version three"),
        ("", "error: shown: no version is in production"),
    ],
)
def test_what_there_is_not(at: Place, capsys: pytest.CaptureFixture[str], asked: str, said: str) -> None:
    assert release_show.main([asked]) == 1
    assert said in capsys.readouterr().err


def test_a_stack_that_does_not_run(at: Place, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert release_show.main(["1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
