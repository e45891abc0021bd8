"""What a person learns of a delivery before it is delivered is what happens then; and nothing is written for it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from include.jobs import check_delivery
from include.lakehouse.run import Run
from tests.unit.ingestion.cases import CASES, DAY, Rows, ingest

Deliver = Callable[..., Run]


@pytest.fixture(autouse=True)
def environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", run.settings.lakehouse_uri)


def written(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", ["byte order mark", "duplicate key", "missing column", "UTF-16", "1 row"])
def test_it_says_what_would_happen(
    run: Run, deliver: Deliver, real: Rows, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = CASES[case]
    for days in range(1, broken.days_before + 1):
        ingest(deliver(real, DAY.shift(-days)))
    file = tmp_path / "tomorrow.csv"
    file.write_bytes(broken.content(real))
    before = written(tmp_path)
    code = check_delivery.main([str(file), "--partition", DAY.key])
    said = capsys.readouterr().out
    assert written(tmp_path) == before

    verdict, counts = ingest(deliver(file.read_bytes()))
    assert code == (1 if verdict.outcome == "reject_batch" else 0)
    told = dict(line.strip().split(maxsplit=1) for line in said.splitlines() if " " in line)
    assert told["verdict"] == verdict.outcome
    assert {"accepted": str(counts.accepted), "quarantined": str(counts.quarantined)}.items() <= told.items()
    assert {reason: str(count) for reason, count in verdict.reasons.items()}.items() <= told.items()
    assert all(reason in said for reason in verdict.batch_reasons)
    assert said.splitlines()[-1] == "Nothing was written."


def test_without_a_partition_it_is_the_one_after_the_last_batch(
    deliver: Deliver, real: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(deliver(real))
    folder = Path(deliver(real, DAY.shift(5)).settings.landing_uri) / "california_housing" / "batches"
    assert check_delivery.main([str(folder / f"batch_date={DAY.shift(5)}" / "california_housing.csv")]) == 0
    assert f"batch of {DAY.shift(1)}: " in capsys.readouterr().out


def test_a_file_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_delivery.main(["nowhere.csv"]) == 1
    assert "error: nowhere.csv: there is no such file" in capsys.readouterr().err


def test_without_a_file_nothing_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "not_yours.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    assert check_delivery.main([""]) == 1
    assert capsys.readouterr().err == "error: no file is named. make check-delivery FILE=<file or folder>\n"


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_device_is_not_copied(tmp_path: Path, in_folder: bool, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "endless.csv").symlink_to("/dev/zero")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        code = check_delivery.main([str(tmp_path / "named") if in_folder else "/dev/zero"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert "error: /dev/zero: is no plain file. Name plain files" in capsys.readouterr().err
