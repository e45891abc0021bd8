"""Who can write to MLflow does not decide what is loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from include.core.errors import TamperedError
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.monitoring import reference
from include.registry import evidence, promotion, registration, steps, versions
from include.scoring import choice, feature_lookup
from include.training import manifest
from tests.unit.registry.cases import ask, decided, registered
from tests.unit.training.stage import DAYS, Scene, register

pytestmark = pytest.mark.slow

LOADS_CODE = "flavors:\n  python_function:\n    loader_module: evil\n    code: code\n"


@pytest.fixture
def run(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Run]:
    """Of a model of its own; what an attack did to the files is undone, for they are shared."""
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    opened = registered(scene, name)
    kept = {place: shutil.copytree(place, f"{place}.kept") for place in (folder(opened, "1"), folder(opened, "2"))}
    yield opened
    for place, copy in kept.items():
        shutil.rmtree(place)
        copy = Path(copy).rename(place)


def folder(run: Run, version: str) -> Path:
    return Path(urlsplit(MlflowClient().get_model_version_download_uri(run.spec.name, version)).path)


def names_code(files: Path) -> None:
    (files / "MLmodel").write_text(LOADS_CODE)


def other_model_of_the_same_size(files: Path) -> None:
    file = files / "model.lgb"
    file.write_bytes(file.read_bytes().replace(b"leaf_value=", b"leaf_valux=", 1))


def brings_a_file(files: Path) -> None:
    (files / "sitecustomize.py").write_text("raise SystemExit")


def brings_a_folder(files: Path) -> None:
    (files / "code").mkdir()
    (files / "code" / "evil.py").write_text("raise SystemExit")


def takes_a_file(files: Path) -> None:
    (files / "requirements.txt").unlink()


def puts_a_pipe(files: Path) -> None:
    (files / "model.lgb").unlink()
    os.mkfifo(files / "model.lgb")


def takes_all(files: Path) -> None:
    shutil.rmtree(files)
    files.mkdir()


ATTACKS: dict[Callable[[Path], None], str] = {
    names_code: "MLmodel of version 1 is changed",
    other_model_of_the_same_size: "model.lgb of version 1 is changed",
    brings_a_file: "sitecustomize.py of version 1 is additional",
    brings_a_folder: "code of version 1 is additional",
    takes_a_file: "requirements.txt of version 1 is missing",
    puts_a_pipe: "model.lgb of version 1 is changed",
    takes_all: "MLmodel of version 1 is missing",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_is_not_what_was_registered_is_loaded_nowhere(run: Run, attack: Callable[[Path], None]) -> None:
    promotion.put_in_production(run.spec, run.lake, "2", "d1")
    promotion.put_in_production(run.spec, run.lake, "1", "d2")
    promotion.put_in_production(run.spec, run.lake, "2", "d3")
    said = f"{ATTACKS[attack]}: it is not what was registered"
    attack(folder(run, "1"))
    version = versions.get(run.spec, "1")
    for load in (
        lambda: registration.predictor(run.spec, run.lake, version),
        lambda: feature_lookup.load(run.spec, run.lake, None, "1"),  # scoring
        lambda: steps.smoke_score(run, "1"),
        lambda: steps.roll_back(run, "1", "a test"),
        lambda: steps.check_drift(run, "1"),  # what rejects it is green
        lambda: evidence.Evidence(run.spec, run.lake, version, None).predict(None),
    ):
        with pytest.raises(TamperedError, match=said):
            load()
    assert promotion.in_production(run.spec, run.lake).version == "2"
    assert decided(run, Kind.ROLL_BACK) == []
    for gate in ("staging", "production"):
        (check,) = ask(run.spec, run.lake, gate, "1").checks
        assert (check.name, check.passed) == ("as_registered", False)
        assert said in check.detail


def test_the_version_in_production_is_held_against_its_record_where_a_candidate_is_compared_with_it(run: Run) -> None:
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    names_code(folder(run, "1"))
    failed = ask(run.spec, run.lake, "production", "2").failed
    assert [check.name for check in failed] == ["better_than_production", "no_slice_worse_than_production"]
    assert all("MLmodel of version 1 is changed" in check.detail for check in failed)


@pytest.mark.parametrize("tag", ["features", "algorithm", "split", "training_set", "feature_service"])
def test_a_tag_that_says_how_a_version_is_loaded_is_held_against_its_record(run: Run, tag: str) -> None:
    MlflowClient().set_model_version_tag(run.spec.name, "1", tag, "[]")
    promotion.put_in_production(run.spec, run.lake, "2", "d1")
    alias_history.begin(run.lake, run.spec, "1", model_time=DAYS[0].end, decision_id="d2")
    for use in (
        lambda: feature_lookup.load(run.spec, run.lake, None, "1"),
        lambda: choice.choose(run.spec, run.lake, DAYS[0], None),
        lambda: reference.load(run.spec, run.lake, "1"),  # monitoring
    ):
        with pytest.raises(TamperedError, match=f"tag {tag} of version 1 is not what was registered"):
            use()


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("details", "[1]"),
        ("details", '{"split": {}, "features": 1}'),
        ("details", "[" * 4000),
        ("details", "no JSON"),
        ("known_at", "soon"),
        ("known_at", "2025-01-02"),
        ("known_at", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_tag_that_cannot_be_read_is_one_that_was_not_registered(run: Run, tag: str, value: str) -> None:
    promotion.put_in_production(run.spec, run.lake, "1", "d1")
    MlflowClient().set_model_version_tag(run.spec.name, "1", tag, value)
    with pytest.raises(TamperedError, match=r"tag \S+ of version 1 is not what was registered"):
        promotion.in_production(run.spec, run.lake)
    MlflowClient().set_model_version_tag(run.spec.name, "2", tag, value)
    alias_history.begin(run.lake, run.spec, "3", model_time=DAYS[0].end, decision_id="d2")  # there is none to compare
    assert [check.name for check in steps.check_staging(run, "2").failed] == ["as_registered"]
    assert steps.reject(run, "2") == ["check:as_registered"]


def test_a_registration_that_is_repeated_does_not_ask_mlflow_what_it_knew(run: Run, scene: Scene) -> None:
    recorded = decisions.history(run.lake, run.spec.name, Kind.REGISTRATION)
    MlflowClient().set_model_version_tag(run.spec.name, "1", "known_at", "2030-01-01T00:00:00+00:00")
    register(run.spec, run.lake, scene.old, scene.old_ref)
    again = decisions.history(run.lake, run.spec.name, Kind.REGISTRATION)
    assert [item.decided_at for item in again] == [item.decided_at for item in recorded]


def test_another_source_is_another_model(run: Run, scene: Scene) -> None:
    """A version's source cannot be changed; one that names another model's files is registered by hand."""
    bare = MlflowClient().create_model_version(
        run.spec.name, scene.new.model_uri, tags=dict(versions.get(run.spec, "2").tags)
    )
    with pytest.raises(TamperedError, match=f"what the files of version {bare.version} have to be is not recorded"):
        registration.predictor(run.spec, run.lake, versions.get(run.spec, bare.version))


def test_a_registration_names_every_file_and_is_made_of_what_the_training_had(run: Run, scene: Scene) -> None:
    version = versions.get(run.spec, "1")
    found = registration.of(run.spec, run.lake, version)
    lying = manifest.of(folder(run, "1"))
    lying.pop(REGISTERED_MODEL_META_FILE_NAME, None)  # MLflow's note, where another test has loaded it by MLflow itself
    assert found.files == scene.old.files == lying
    assert {"MLmodel", "model.lgb", "requirements.txt", "input_example.json"} <= set(found.files)
    assert found.digest == manifest.digest(scene.old.files)
    assert found.tags["features"] == version.tag("features")
    names_code(folder(run, "1"))  # between training and registration, or before a repetition of it
    again = registration.register(run, scene.old, scene.old_ref)
    assert again.version == "1"
    assert registration.of(run.spec, run.lake, again) == found
    with pytest.raises(TamperedError, match="MLmodel of version 1 is changed"):
        registration.require(run.spec, run.lake, again)


def test_only_we_can_enter_where_a_version_is_held_against_its_record(run: Run, monkeypatch) -> None:
    seen: list[tuple[int, set[str]]] = []
    real = versions.predictor

    def looking(spec, version, files: Path):
        seen.append((files.parent.stat().st_mode & 0o777, set(manifest.of(files))))
        return real(spec, version, files)

    monkeypatch.setattr(versions, "predictor", looking)
    found = versions.get(run.spec, "1")
    registration.predictor(run.spec, run.lake, found)
    assert seen == [(0o700, set(registration.of(run.spec, run.lake, found).files))]


def test_what_no_training_has_recorded_is_not_registered(scene: Scene) -> None:
    """A task was handed another model, or other files, than were fitted."""
    run = registered(scene, "forged")
    file = next(iter(scene.new.files))
    forged = {**scene.new.files, file: {**scene.new.files[file], "sha256": "0" * 64}}
    for candidate in (replace(scene.new, files=forged), replace(scene.new, model_id="m-forged")):
        with pytest.raises(TamperedError, match="is not one that a training has recorded with these files"):
            registration.register(run, candidate, scene.new_ref)
