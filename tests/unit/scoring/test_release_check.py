"""What scores is what was approved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from include.core.errors import TamperedError, UsageError
from include.core.release import ReleasePart
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import PREDICTIONS
from include.orchestration import notes
from include.registry import promotion
from include.registry import steps as registry
from include.scoring import release_check, steps
from tests.unit.registry import released
from tests.unit.registry.cases import another
from tests.unit.registry.released import CHANGES, Place
from tests.unit.training.stage import DAYS, Scene

pytestmark = pytest.mark.slow


@pytest.fixture
def at(
    scene: Scene, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Version 1 is in production, and may score the first drifted day."""
    name = re.sub(r"\W", "_", request.node.name)
    with released.place(scene, tmp_path, name, monkeypatch) as made:
        store = made.world.store()
        monkeypatch.setattr("include.features.store.open_store", lambda: store)
        yield made


def scoring(at: Place, run_id: str = "scoring") -> Run:
    return replace(at.run, run_id=run_id, asked_for=DAYS[0])


def refused(at: Place) -> list[decisions.Decision]:
    return decisions.history(at.run.lake, at.spec.name, Kind.RELEASE_CHECK)


@pytest.mark.parametrize("part", CHANGES)
def test_a_part_that_changes_under_a_served_version_stops_it_or_is_said_by_the_rule(
    at: Place, part: ReleasePart
) -> None:
    at.promote()
    assert steps.score_rows(scoring(at)).changed == ()
    change, said = CHANGES[part]
    change(at)
    run = scoring(at, "later")
    if part in at.spec.approval.release.at_scoring:
        for step in (steps.choose_version, steps.score_rows):
            with pytest.raises(UsageError, match=rf"version 1 is not as it was approved\. Others are: {said}\. Put"):
                step(run)
        (decision,) = refused(at)
        assert (decision.subject, decision.outcome) == ("version 1", "refused")
        assert decision.reasons == [f"release_changed:{part}"]
        assert decision.inputs["partition"] == DAYS[0].key
    else:
        scored = steps.score_rows(run)
        (told,) = scored.changed
        assert re.fullmatch(said, told)
        assert notes.of_scoring(scored).endswith(f"; other than at its approval: {told}")
        (recorded,) = [
            item for item in decisions.history(run.lake, run.spec.name, Kind.SCORING) if item.run_id == "later"
        ]
        assert recorded.inputs["changed"] == [told]
        assert refused(at) == []


def test_a_file_of_the_model_that_changes_under_it_stops_it_and_is_recorded(at: Place) -> None:
    at.promote()
    released.other_model_files(at)
    with pytest.raises(TamperedError, match=r"requirements\.txt of version 1 is changed"):
        steps.score_rows(scoring(at))
    (decision,) = refused(at)
    assert decision.reasons == ["release_changed:model_files"]
    assert at.run.lake.count(PREDICTIONS.of(at.spec)) == 0


def test_what_was_judged_and_approved_anew_scores_again(at: Place) -> None:
    at.promote()
    released.other_profile(at)
    with pytest.raises(UsageError, match="promote_model with 1 as partition key"):
        steps.choose_version(scoring(at))
    anew = another(at.run, "anew")
    assert registry.check_staging(anew, "1").passed
    assert registry.check_production(anew, "1").passed
    assert not registry.promote(anew, "1").changed
    assert steps.score_rows(scoring(at)).version == "1"


def test_a_gate_that_concludes_again_takes_nothing_from_what_was_approved(at: Place) -> None:
    """A person clears a check of the run that promoted, after a deployment."""
    at.promote()
    (at.code / "dags" / "score_batch.py").write_text("RENEWED = True")
    registry.check_production(at.run, "1")
    at.edit("features.sql", "total_rooms / households", "total_rooms / (households + 1)")
    with pytest.raises(UsageError, match="feature service"):
        release_check.require(replace(another(at.run, "scoring"), asked_for=DAYS[0]), "1")


def test_a_part_that_changes_between_the_choice_and_the_scoring_is_seen(at: Place) -> None:
    at.promote()
    assert steps.choose_version(scoring(at)) is not None
    released.other_features(at)
    with pytest.raises(UsageError, match="feature service"):
        steps.score_rows(scoring(at))


def test_a_version_of_before_releases_were_recorded_scores(at: Place) -> None:
    promotion.put_in_production(at.spec, at.run.lake, "1", "d1")
    released.other_features(at)
    assert steps.score_rows(scoring(at)).version == "1"
