"""A landing folder, a lakehouse, and the housing file: the real one where HOUSING_CSV names it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.demo import replay
from include.ingestion.delivery import Delivery
from include.lakehouse.tables import Lakehouse
from include.models.california_housing import sample
from tests.unit.ingestion.cases import ROWS, Rows, as_csv

DAY = date(2025, 1, 2)

Deliver = Callable[..., Delivery]


@pytest.fixture
def spec() -> ModelSpec:
    return catalogue.load("california_housing")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places("dev", str(tmp_path / "landing"), str(tmp_path / "lakehouse"), "http://localhost:5000")


@pytest.fixture
def lake(places: Places) -> Lakehouse:
    return Lakehouse(places)


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
def deliver(places: Places, spec: ModelSpec) -> Deliver:
    """Put bytes, or rows with their header, where the day's delivery is expected."""

    def put(content: bytes | Sequence[Sequence[str]], day: date = DAY, kind: str = "batches") -> Delivery:
        if not isinstance(content, bytes):
            content = as_csv(content)
        delivery = Delivery.expected(places, spec, kind, day)
        delivery.write("california_housing.csv", content)
        return delivery

    return put
