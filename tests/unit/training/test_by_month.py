"""The model of bike hire, whose partitions are months: its whole life in one process, and what its folder refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.demo import replay
from include.features import steps as features
from include.ingestion import steps as ingestion
from include.lakehouse import windows
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, PREDICTIONS
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.monitoring import steps as monitoring
from include.registry import steps as registry
from include.scoring import steps as scoring
from include.training import steps as training
from tests.conftest import Postgres

pytestmark = pytest.mark.slow

NAME = "bike_demand"
HISTORY = ("2011-01", "2011-02", "2011-03")
LATER = ("2011-04", "2011-05")
MONTHS = (*HISTORY, *LATER)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> replay.SourceFile:
    """The generated sample: figures of the real file would not say more here."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("BIKE_CSV", raising=False)
        return replay.fetch(catalogue.load(NAME), tmp_path_factory.mktemp("sample"))


@pytest.fixture
def settings(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: None) -> Settings:
    database = postgres.create_database()
    places = {"FLIGHTLINE_LANDING_URI": str(tmp_path / "landing"), "FLIGHTLINE_LAKEHOUSE_URI": str(tmp_path / "lake")}
    stores = {"FLIGHTLINE_FEAST_REGISTRY": database, "FLIGHTLINE_FEAST_ONLINE_STORE": database}
    for name, value in {**places, **stores}.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


@pytest.fixture
def play(settings: Settings, source: replay.SourceFile) -> Callable[..., Run]:
    """Return a function that takes a month in, features included; it returns the run for it."""

    def play(spec: ModelSpec, key: str) -> Run:
        partition = Partition.parse(key, spec.grain)
        number = MONTHS.index(key)
        played = replay.Replay(spec, source, days=len(MONTHS) - replay.section(spec).history_partitions)
        played.deliver_batch(settings, number)
        played.deliver_labels(settings, number)
        run = Run(spec, settings, Lakehouse(settings.lakehouse_uri), f"of {key}", partition)
        assert ingestion.validate_batch(run).outcome.startswith("accept")
        ingestion.load_batch(run)
        ingestion.load_labels(run)
        features.compute_features(run)
        return run

    return play


def quick(folder: Path = catalogue.MODELS) -> ModelSpec:
    """The model with a short history and search, and a gate that versions of so few months pass."""
    spec = catalogue.load(NAME, folder)
    content = spec.model_dump(mode="json")
    content["training"]["search"] |= {"trials": 1, "start": {}}
    content["replay"]["time"]["history_partitions"] = len(HISTORY)
    (above,) = (item for item in content["gates"]["production"] if item["check"] == "above_threshold")
    above["params"]["threshold"] = 0.0
    made = ModelSpec.model_validate(content)
    made._folder = spec.folder
    return made


def test_months_flow_from_the_delivery_to_the_policy(play: Callable[..., Run]) -> None:
    spec = quick()
    runs = {key: play(spec, key) for key in MONTHS}
    newest = runs[HISTORY[-1]]
    for key in HISTORY:
        features.materialize_features(runs[key])
    skew = features.check_skew(newest)
    assert (skew.keys, skew.mismatches, skew.expired) == (spec.features.skew.keys, 0, 0)
    built = training.build_training_set(newest)
    assert (built.first_partition, built.last_partition, built.left_out > 600) == ("2011-01", "2011-03", True)
    assert built.test_rows == newest.lake.count(newest.table(CLEAN), where=within(newest.partition))
    assert built.suspected == ""
    baseline, tuned = training.fit_baseline(newest, built), training.fit_tuned(newest, built)
    kept = {"baseline": baseline, "tuned": tuned}[training.choose_candidate(newest, baseline, tuned)]
    version = registry.register_candidate(newest, kept, built)
    assert registry.check_staging(newest, version).passed
    registry.move_to_staging(newest, version)
    assert registry.check_production(newest, version).passed
    registry.approve(newest, version)
    registry.promote(newest, version)
    for number, key in enumerate(LATER, start=1):
        run = runs[key]
        scored = scoring.score_rows(run)
        assert scored.rows == run.lake.count(run.table(PREDICTIONS), where=within(run.partition)) > 600
        measured = monitoring.measure_window(run)
        assert measured.labelled_rows == scored.rows
        assert measured.metric is not None
        assert {"months_since_start", "temp"} <= {*measured.drifted_features}
        assert monitoring.decide(run).windows_labelled == number
    found = windows.read(spec, newest.lake, newest.partition, runs[LATER[-1]].partition)
    assert tuple(item.partition.key for item in found) == LATER


def test_parts_of_the_target_among_the_features_stop_the_training(play: Callable[..., Run], tmp_path: Path) -> None:
    shutil.copytree(catalogue.MODELS / NAME, tmp_path / "models" / NAME)
    sql = tmp_path / "models" / NAME / "features.sql"
    sql.write_text(sql.read_text().replace("    windspeed\n", "    windspeed,\n    casual,\n    registered\n"))
    spec = quick(tmp_path / "models")
    run = play(spec, HISTORY[0])
    features.materialize_features(run)
    with pytest.raises(
        DataError, match=r"bike_demand/features\.sql: .* casual and registered determine \(100\.0%\) cnt"
    ):
        training.build_training_set(run)
