"""A version's first labelled windows: who is rolled back, when, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from include.core.errors import DataError
from include.core.partition import Partition
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.schemas import LABELS, PARTITION
from include.monitoring import probation, steps
from include.registry import promotion, versions
from include.registry import steps as registry
from tests.tables import put
from tests.unit.training.serving import BAD, DAYS, GOOD, ROWS, Serving, serving

pytestmark = pytest.mark.slow

RULE = {"windows": 3, "roll_back": True}


@pytest.fixture
def made(mlflow_store: None, tmp_path: Path, request: pytest.FixtureRequest) -> Serving:
    """Both versions are registered, and have a profile; none is in production."""
    return serving(request.node.name, tmp_path)


def measured(made: Serving, partition: Partition, version: str, **rule: object) -> str:
    """Serve a day, measure it, and ask what follows; each in a run of its own."""
    made.serve(partition, version)
    return judged(made, partition, f"monitor {partition}", **rule)


def judged(made: Serving, partition: Partition, run_id: str, **rule: object) -> str:
    run = made.run(partition, run_id, **{**RULE, **rule})
    steps.measure_window(run)
    return steps.judge_probation(run).branch


def production(made: Serving) -> list[str]:
    return [period.version for period in alias_history.periods(made.scene.world.lake, made.spec.name)]


def said(made: Serving, kind: Kind = Kind.PROBATION) -> list[Decision]:
    found = decisions.history(made.scene.world.lake, made.spec.name, kind)
    return sorted(found, key=lambda item: item.recorded_at)


@pytest.mark.parametrize("killed_in", ["follow_history", "record"])
def test_a_roll_back_that_was_killed_is_completed_and_recorded(
    made: Serving, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    made.promote(GOOD, BAD)
    assert measured(made, DAYS[0], BAD) == "roll_back_version"
    run = made.run(DAYS[0], f"monitor {DAYS[0]}", **RULE)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if killed_in == "record":
            patch.setattr("include.registry.steps.rolling_back.record_move", killed)
        else:
            patch.setattr(promotion, "follow_history", killed)
        with pytest.raises(KeyboardInterrupt):
            steps.end_probation(run)
    assert said(made, Kind.ROLL_BACK) == []
    assert steps.end_probation(run) == promotion.Transition(GOOD, BAD, changed=True)
    assert production(made) == [GOOD, BAD, GOOD]
    assert versions.number_of(made.spec, "production") == GOOD
    (row,) = said(made, Kind.ROLL_BACK)
    assert row.outcome == "rolled_back"


def test_a_version_that_is_worse_is_rolled_back_once_and_the_policy_leaves_its_window(made: Serving) -> None:
    made.promote(GOOD, BAD)
    assert measured(made, DAYS[0], BAD) == "roll_back_version"
    first, second = (made.run(DAYS[0], run_id, **RULE) for run_id in (f"monitor {DAYS[0]}", "another monitor"))
    assert steps.judge_probation(second).branch == "roll_back_version", "the first run may have died since"
    moved = steps.end_probation(first)
    assert moved == promotion.Transition(GOOD, BAD, changed=True)
    assert steps.end_probation(first) == moved, "a repetition finds what it has done"
    assert steps.end_probation(second) is None
    assert production(made) == [GOOD, BAD, GOOD]
    assert versions.number_of(made.spec, "production") == GOOD
    (look,) = said(made)
    assert (look.subject, look.outcome, look.reasons) == (f"version {BAD}", "failed", ["surely_worse"])
    (back,) = said(made, Kind.ROLL_BACK)
    assert (back.actor, back.reasons) == ("policy", ["surely_worse"])
    assert back.inputs["comment"].startswith(f"probation: version {BAD} gains -")
    # Late labels, a backfill, and the policy itself.
    assert judged(made, DAYS[0], "backfill") == "leave_to_probation"
    assert measured(made, DAYS[1], BAD) == "decide"
    assert production(made) == [GOOD, BAD, GOOD]


def test_what_was_delivered_is_a_row_and_a_number_on_the_version(made: Serving) -> None:
    made.promote(GOOD, BAD)
    measured(made, DAYS[0], BAD)
    (look,) = said(made)
    told = look.inputs["delivered"]
    assert told["rows"] == ROWS
    assert told["lower_bound"] < told["gain"] < told["upper_bound"] < 0
    found = versions.get(made.spec, BAD)
    assert float(found.tag("gain.delivered")) == pytest.approx(told["gain"], rel=1e-5)
    assert "- **Probation:** version 2 gains -" in found.description


def test_a_rule_that_only_records_rolls_nothing_back(made: Serving) -> None:
    made.promote(GOOD, BAD)
    assert measured(made, DAYS[0], BAD, roll_back=False) == "decide"
    run = made.run(DAYS[0], f"monitor {DAYS[0]}", **RULE)
    assert steps.end_probation(run) is None, "the rule of then counts"
    assert production(made) == [GOOD, BAD]
    assert [item.outcome for item in said(made)] == ["failed"]


def test_a_version_that_is_better_stays_and_is_looked_at_once_a_window(made: Serving) -> None:
    made.promote(BAD, GOOD)
    branches = [measured(made, partition, GOOD) for partition in DAYS[:4]]
    assert branches == ["decide"] * 4
    assert [judged(made, partition, "again") for partition in DAYS[:4]] == ["decide"] * 4
    looks = said(made)
    assert [item.outcome for item in looks] == ["no_action", "no_action", "passed"]
    assert [len(item.inputs["windows"]) for item in looks] == [1, 2, 3]
    assert looks[-1].inputs["delivered"]["gain"] > 0
    assert "gain.delivered" in versions.get(made.spec, GOOD).tags


def test_windows_whose_labels_come_together_are_one_look(made: Serving) -> None:
    made.promote(BAD, GOOD)
    for partition in DAYS[:3]:
        made.serve(partition, GOOD)
        steps.measure_window(made.run(partition))
    assert judged(made, DAYS[2], "labels") == "decide"
    (look,) = said(made)
    assert (look.outcome, len(look.inputs["windows"])) == ("passed", 3)


def test_a_look_that_could_compare_nothing_is_taken_again_once_a_label_is_corrected(
    made: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.promote(BAD, GOOD)

    def cannot(*_: object) -> None:
        raise DataError("a label is 1e308")

    with monkeypatch.context() as patch:
        patch.setattr(probation, "_sides", cannot)
        for partition in DAYS[:3]:
            measured(made, partition, GOOD)
    assert [item.outcome for item in said(made)] == ["nothing_to_compare"] * 3
    judged(made, DAYS[2], "nothing has changed")
    assert len(said(made)) == 3
    lake, table = made.scene.world.lake, LABELS.of(made.spec)
    labels = lake.read(table, where=[(PARTITION, "=", DAYS[2].key)]).to_pandas()
    labels.loc[0, made.spec.target] += 1000.0
    put(lake, table, labels.drop(columns=[PARTITION]), DAYS[2])
    judged(made, DAYS[2], "a label is corrected")
    assert said(made)[-1].outcome == "passed"


def test_who_is_put_back_or_the_first_one_is_on_no_probation(made: Serving) -> None:
    made.promote(BAD)
    assert measured(made, DAYS[0], BAD) == "decide"
    made.promote(GOOD)
    registry.roll_back(made.run(run_id="a person"), BAD, comment="I know better")
    assert measured(made, DAYS[1], BAD) == "decide"
    assert said(made) == []


def test_a_version_that_a_person_promotes_again_is_judged_by_new_windows(made: Serving) -> None:
    made.promote(GOOD, BAD)
    measured(made, DAYS[0], BAD)
    assert steps.end_probation(made.run(DAYS[0], "monitor", **RULE)) is not None
    promotion.put_in_production(made.spec, made.scene.world.lake, BAD, "promoted again")
    assert judged(made, DAYS[0], "backfill") == "leave_to_probation"
    assert len(said(made)) == 1
    assert measured(made, DAYS[1], BAD) == "roll_back_version"
    assert said(made)[-1].inputs["windows"] == [DAYS[1].key]


def test_where_the_version_before_is_gone_nothing_is_rolled_back(made: Serving) -> None:
    made.promote(GOOD, BAD)
    MlflowClient().delete_model_version(made.spec.name, GOOD)
    assert measured(made, DAYS[0], BAD) == "decide"
    (look,) = said(made)
    assert (look.outcome, look.reasons) == ("nothing_to_compare", ["not_comparable"])


def test_where_it_goes_between_the_verdict_and_the_act_production_stays(made: Serving) -> None:
    made.promote(GOOD, BAD)
    assert measured(made, DAYS[0], BAD) == "roll_back_version"
    MlflowClient().delete_model_version(made.spec.name, GOOD)
    with pytest.raises(DataError, match=f"there is no version {GOOD}"):
        steps.end_probation(made.run(DAYS[0], f"monitor {DAYS[0]}", **RULE))
    assert production(made) == [GOOD, BAD]


def test_a_promotion_that_comes_first_is_not_undone(made: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    made.promote(GOOD, BAD)
    assert measured(made, DAYS[0], BAD) == "roll_back_version"
    real = registry.go_back

    def overtaken(*args: object, **more: object) -> promotion.Transition:
        lake = made.scene.world.lake
        promotion.put_in_production(made.spec, lake, GOOD, "d3")
        promotion.put_in_production(made.spec, lake, BAD, "d4")
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(registry, "go_back", overtaken)
    assert steps.end_probation(made.run(DAYS[0], f"monitor {DAYS[0]}", **RULE)) is None
    assert production(made) == [GOOD, BAD, GOOD, BAD]


def test_after_a_roll_back_windows_are_of_the_version_that_served_them(made: Serving) -> None:
    """Also their reference: the good version's days have not drifted from what it was trained on."""
    made.promote(GOOD, BAD)
    registry.roll_back(made.run(run_id="a person"), GOOD, comment="bad prices")
    made.serve(DAYS[2], GOOD)
    made.serve(DAYS[3], BAD)
    after, before = (steps.measure_window(made.run(partition)) for partition in (DAYS[2], DAYS[3]))
    assert (after.version, before.version) == (GOOD, BAD)
    assert after.prediction_drifted is False
    assert after.residuals_drifted is False
    assert before.residuals_drifted
    assert after.metric is not None
    assert before.metric is not None
    assert after.metric > before.metric


def test_without_probation_nothing_is_looked_at(made: Serving) -> None:
    made.promote(GOOD, BAD)
    assert measured(made, DAYS[0], BAD, windows=0) == "decide"
    assert said(made) == []
