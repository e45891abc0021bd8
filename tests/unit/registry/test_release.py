"""What was approved is what goes into production: version, features, data, profile, rules, packages and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from include.core.errors import TamperedError, UsageError
from include.core.release import ReleasePart, ReleaseRule
from include.lakehouse import alias_history
from include.lakehouse.decisions import Kind
from include.registry import promotion, release, steps, versions
from include.registry.release import Release
from tests.unit.registry import released
from tests.unit.registry.cases import another, decided
from tests.unit.registry.released import CHANGES, Place
from tests.unit.training.stage import Scene

PARTS = st.dictionaries(
    st.sampled_from(list(ReleasePart)), st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
)


@pytest.fixture
def at(
    scene: Scene, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    name = re.sub(r"\W", "_", request.node.name)
    with released.place(scene, tmp_path, name, monkeypatch) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("part", CHANGES)
def test_a_part_that_is_another_one_than_at_the_gates_voids_the_approval_and_is_named(
    at: Place, part: ReleasePart
) -> None:
    change, said = CHANGES[part]
    at.through_the_gates()
    steps.approve(at.run, "1")
    change(at)
    with pytest.raises(UsageError, match=rf"version 1 is not as it was approved\. Others are: {said}.*\. Run "):
        steps.promote(at.run, "1")
    assert alias_history.current(at.run.lake, at.spec.name) is None
    (refused,) = decided(at.run, Kind.PROMOTION)
    assert (refused.outcome, refused.reasons) == ("refused", [f"release_changed:{part}"])
    again = replace(another(at.run, "again"))
    assert steps.check_staging(again, "1").passed
    assert steps.check_production(again, "1").passed
    assert steps.promote(again, "1").changed


@pytest.mark.slow
@pytest.mark.parametrize("part", CHANGES)
def test_a_part_that_may_differ_by_model_yaml_is_recorded(at: Place, part: ReleasePart) -> None:
    rule = ReleaseRule(at_promotion=tuple(other for other in ReleasePart if other != part))
    spec = at.spec.model_copy(update={"approval": at.spec.approval.model_copy(update={"release": rule})})
    spec._folder = at.spec.folder
    lenient = replace(at, run=replace(at.run, spec=spec))
    lenient.through_the_gates()
    change, said = CHANGES[part]
    change(lenient)
    moved = steps.promote(lenient.run, "1")
    assert moved.changed
    (changed,) = moved.release_changes
    assert re.match(said, changed)
    (promoted,) = decided(at.run, Kind.PROMOTION)
    assert promoted.inputs["release_changes"] == [changed]


@pytest.mark.slow
def test_a_file_of_the_model_that_changes_after_its_approval_is_named_and_the_refusal_recorded(at: Place) -> None:
    at.through_the_gates()
    steps.approve(at.run, "1")
    released.other_model_files(at)
    with pytest.raises(TamperedError, match=r"requirements\.txt of version 1 is changed"):
        steps.promote(at.run, "1")
    (refused,) = decided(at.run, Kind.PROMOTION)
    assert (refused.outcome, refused.reasons) == ("refused", ["release_changed:model_files"])


@pytest.mark.slow
def test_a_tag_that_changes_after_its_approval_is_named(at: Place) -> None:
    at.through_the_gates()
    MlflowClient().set_model_version_tag(at.spec.name, "1", "algorithm", "linear")
    with pytest.raises(TamperedError, match="tag algorithm of version 1 is not what was registered"):
        steps.promote(at.run, "1")
    assert [item.outcome for item in decided(at.run, Kind.PROMOTION)] == ["refused"]


@pytest.mark.slow
def test_a_retry_of_a_killed_promotion_asks_again_before_it_moves_and_never_after(
    at: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.through_the_gates()
    real = promotion.put_in_production

    class Killed(BaseException): ...

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "put_in_production", killed)
        with pytest.raises(Killed):
            steps.promote(at.run, "1")
    assert [item.outcome for item in decided(at.run, Kind.APPROVAL)] == ["approved"]
    released.other_expectations(at)
    with pytest.raises(UsageError, match="expectation suite"):
        steps.promote(at.run, "1")
    at.edit("expectations.yaml", "min_value: -125.5", "min_value: -124.5")

    def killed_after(*arguments: object, **named: object) -> None:
        real(*arguments, **named)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "put_in_production", killed_after)
        with pytest.raises(Killed):
            steps.promote(at.run, "1")
    released.other_expectations(at)
    assert steps.promote(at.run, "1").changed, "it was put there while all was as approved"


@pytest.mark.slow
@pytest.mark.parametrize("part", CHANGES)
def test_a_roll_back_takes_what_was_approved_and_what_changes_with_every_deployment(
    at: Place, part: ReleasePart
) -> None:
    at.promote()
    promotion.put_in_production(at.spec, at.run.lake, "2", "d2")
    change, said = CHANGES[part]
    change(at)
    back = another(at.run, "back")
    if part in at.spec.approval.release.at_scoring:
        with pytest.raises(UsageError, match=said):
            steps.roll_back(back, "1", comment="a test")
        (refused,) = decided(at.run, Kind.ROLL_BACK)
        assert (refused.outcome, refused.reasons) == ("refused", [f"release_changed:{part}"])
    else:
        moved = steps.roll_back(back, "1", comment="a test")
        assert (moved.version, moved.former) == ("1", "2")
        assert re.match(said, moved.release_changes[0])


@pytest.mark.slow
def test_what_a_team_does_every_day_is_no_other_feature_service_and_no_other_suite(at: Place) -> None:
    version = versions.get(at.spec, "1")
    before = release.of(at.spec, at.run.lake, version)
    at.edit("features.sql", "    ocean_proximity\n", "    ocean_proximity, -- a text\n    households AS new_feature\n")
    at.edit("features.sql", "-- One row", "-- A  row")
    at.edit("expectations.yaml", "# Great", "# great")
    (at.code / "include" / "models" / "other" / "model.yaml").write_text("name: other\ntask: binary\n")
    (at.code / "dags" / "__pycache__").mkdir()
    (at.code / "dags" / "__pycache__" / "score_batch.cpython-311.pyc").write_bytes(b"x")
    (at.code / "dags" / ".score_batch.py.swp").write_bytes(b"x")
    assert before.changes(release.of(at.spec, at.run.lake, version)) == []
    at.edit("features.sql", "FROM clean_", "FROM (SELECT * FROM clean_")
    at.edit("features.sql", "(SELECT * FROM clean_california_housing", "(SELECT * FROM clean_california_housing)")
    (change,) = before.changes(release.of(at.spec, at.run.lake, version))
    assert (change.part, change.names) == (ReleasePart.FEATURE_SERVICE, ["rows"])


def test_code_that_is_imported_is_part_of_the_bundle_wherever_it_lies(at: Place) -> None:
    before = release._code(at.spec)
    outside = at.code.parent / "outside"
    outside.mkdir()
    (outside / "helper.py").write_text("X = 1\n")
    (at.code / "include" / "linked").symlink_to(outside)
    (outside / "again").symlink_to(outside)
    (at.code / "include" / "core" / "__pycache__").mkdir()
    (at.code / "include" / "core" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"x")
    (at.code / "include" / "core" / "sourceless.pyc").write_bytes(b"x")
    linked = release._code(at.spec)
    assert {*linked} - {*before} == {"include/linked/helper.py", "include/core/sourceless.pyc"}
    (outside / "helper.py").write_text("X = 2\n")
    changed = [name for name, told in release._code(at.spec).items() if linked[name] != told]
    assert changed == ["include/linked/helper.py"]


@pytest.mark.parametrize("name", ["dags", "include", "plugins"])
def test_a_models_name_masks_no_file_of_the_package(at: Place, name: str) -> None:
    (at.spec.folder / "score_batch.py").write_text("OWN = 1\n")
    spec = at.spec.model_copy(update={"name": name})
    spec._folder = at.spec.folder
    before = release._code(spec)
    released.other_dag(at)
    assert [file for file, told in release._code(spec).items() if before[file] != told] == ["dags/score_batch.py"]


@pytest.mark.parametrize("file", ["sitecustomize.py", "x.pth", "lightgbm.py", "lightgbm.pyc", "lightgbm.abi3.so"])
def test_what_lies_beside_the_packages_is_part_of_the_environment(at: Place, file: str) -> None:
    before = release._packages()
    (at.packages / file).write_text("import os\n")
    there = release._packages()
    assert {name for name in there if before.get(name) != there[name]} == {file}
    (at.packages / file).write_text("import sys, os\n")
    assert {name for name, told in release._packages().items() if there[name] != told} == {file}


def test_other_categories_alone_are_a_named_part(at: Place) -> None:
    version = versions.get(at.spec, "1")
    before = release.of(at.spec, at.run.lake, version)
    spec = at.spec.model_copy(update={"features": at.spec.features.model_copy(update={"categories": {}})})
    spec._folder = at.spec.folder
    assert before.changes(release.of(spec, at.run.lake, version)), "a part is named"


@pytest.mark.slow
def test_the_profile_may_be_written_again_and_its_files_compacted(at: Place) -> None:
    version = versions.get(at.spec, "1")
    before = release.of(at.spec, at.run.lake, version)
    steps.record_profile(at.run, "1")
    assert before.changes(release.of(at.spec, at.run.lake, version)) == []


@pytest.mark.slow
def test_the_version_names_its_release_in_mlflow(at: Place) -> None:
    at.through_the_gates()
    (judged,) = decided(at.run, Kind.PRODUCTION_GATE)
    found = versions.get(at.spec, "1")
    assert found.tag("release") == judged.inputs["release"]["digest"]
    assert f"- **Release:** {found.tag('release')[:12]}, one digest over model files" in found.description


@given(PARTS, PARTS)
def test_the_digest_is_another_one_exactly_where_a_part_is(some: dict, others: dict) -> None:
    one, other = Release(some), Release(others)
    differing = [part for part in ReleasePart if some.get(part) != others.get(part)]
    assert [change.part for change in one.changes(other)] == differing
    assert (one.digest == other.digest) is (not differing)
    shuffled = Release(dict(sorted(some.items(), reverse=True)))
    assert shuffled.digest == one.digest
    assert release.read(_Recorded({"release": one.recorded()})) == one or not some  # type: ignore[arg-type]


class _Recorded:
    def __init__(self, inputs: dict) -> None:
        self.inputs = inputs
