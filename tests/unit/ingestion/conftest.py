"""A landing folder, a lakehouse, and the housing file: the real one where HOUSING_CSV names it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.demo import replay
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.models.california_housing import sample
from tests.unit.ingestion.cases import DAY, ROWS, Rows, as_csv, in_chunks

Deliver = Callable[..., Run]


@pytest.fixture
def spec() -> ModelSpec:
    return catalogue.load("california_housing")


@pytest.fixture
def places(tmp_path: Path) -> Settings:
    return Settings(
        landing_uri=str(tmp_path / "landing"),
        lakehouse_uri=str(tmp_path / "lakehouse"),
        mlflow_uri="http://localhost:5000",
    )


@pytest.fixture
def lake(places: Settings) -> Lakehouse:
    return Lakehouse(places.lakehouse_uri)


@pytest.fixture
def run(spec: ModelSpec, places: Settings, lake: Lakehouse) -> Run:
    return Run(spec, places, lake, "run", DAY)


@pytest.fixture(scope="session")
def housing_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("HOUSING_CSV")
    if named:
        return Path(named)
    path = tmp_path_factory.mktemp("sample") / "housing.csv"
    sample.generate().to_csv(path, index=False)
    return path


@pytest.fixture
def housing(housing_path: Path, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> replay.SourceFile:
    monkeypatch.setenv("HOUSING_CSV", str(housing_path))
    return replay.fetch(spec, tmp_path / "cache")


@pytest.fixture(scope="session")
def real(housing_path: Path) -> Rows:
    """Header and 400 complete rows as a batch has them: with the key, without the target."""
    with housing_path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    target = header.index("median_house_value")
    complete = [row for row in rows if all(row)][:ROWS]
    keyed = [["listing_id", *header], *([str(n), *row] for n, row in enumerate(complete, start=1))]
    return [row[: target + 1] + row[target + 2 :] for row in keyed]


@pytest.fixture(scope="session")
def good_rows(real: Rows) -> Rows:
    """Header and the first 40 of them."""
    return real[:41]


@pytest.fixture
def deliver(run: Run) -> Deliver:
    """Put bytes, or rows with their header, where the delivery of a partition is expected; returns the run for it."""

    def put(
        content: bytes | Sequence[Sequence[str]],
        partition: Partition = DAY,
        kind: str = "batches",
        *,
        file: str = "california_housing.csv",
        of: Run = run,
    ) -> Run:
        if not isinstance(content, bytes):
            content = as_csv(content)
        Delivery.expected(of.settings, of.spec, kind, partition).write(file, content)
        return replace(of, asked_for=partition)

    return put


@pytest.fixture(params=["at once", "in chunks"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways that a delivery is validated: small ones at once, large ones in chunks."""
    if request.param == "in chunks":
        in_chunks(monkeypatch, block_bytes=5_000)
