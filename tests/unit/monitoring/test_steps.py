"""Measure, decide, alert on real tables and a real registry: what is recorded, and what the log says."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pytest

from include.core.errors import DataError, UsageError
from include.core.partition import Partition
from include.lakehouse import decisions, predictions, windows
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.schemas import FEATURES, METRICS, PARTITION
from include.monitoring import steps, window
from include.monitoring.steps import RootCauseAlert
from include.monitoring.window import Measured
from tests.tables import put
from tests.unit.monitoring.scene import DAY, NAMES, NEXT, ROWS, Scene, rows_of, trained

pytestmark = pytest.mark.slow


def play(
    scene: Scene, partition: Partition, *, noise: float, drifted: bool = False, seed: int = 1, **labels: float
) -> Outcome:
    """Deliver, label, measure and decide."""
    factor = 1.5 if drifted else 1.0
    predicted = scene.deliver(partition, seed=seed, change=lambda rows: rows.assign(income=rows["income"] * factor))
    scene.label(predicted, partition, noise=noise, **labels)
    scene.measure(partition)
    return steps.decide(scene.run(partition)).outcome


def test_each_branch_is_recorded_with_what_it_was_made_from(scene: Scene) -> None:
    assert play(scene, DAY, noise=20) is Outcome.NO_ACTION
    assert play(scene, NEXT, noise=20, drifted=True, seed=2) is Outcome.RECORD_DRIFT
    assert play(scene, NEXT.shift(1), noise=200, drifted=True, seed=3) is Outcome.RECORD_DRIFT
    assert play(scene, NEXT.shift(2), noise=200, drifted=True, seed=4) is Outcome.REQUEST_RETRAINING
    assert play(scene, NEXT.shift(3), noise=200, seed=5) is Outcome.ALERT_ROOT_CAUSE
    found = decisions.history(scene.lake, scene.spec.name, Kind.RETRAINING_POLICY)
    assert [(item.subject, item.outcome, *item.reasons) for item in found] == [
        ("2025-01-05", "no_action", Reason.PERFORMANCE_HOLDS),
        ("2025-01-06", "record_drift", Reason.HARMLESS_DRIFT),
        ("2025-01-07", "record_drift", Reason.WAITING_FOR_N_OF_M),
        ("2025-01-08", "request_retraining", Reason.HARMFUL_DRIFT),
        ("2025-01-09", "alert_root_cause", Reason.DEGRADED_WITHOUT_DRIFT),
    ]
    asked = found[3]
    assert asked.decided_at == NEXT.shift(2).labels_available_at(1)
    assert asked.inputs["window"]["partition"] == "2025-01-08"
    assert asked.inputs["window"]["drifted_features"] == ["income"]
    assert asked.inputs["verdict"]["windows_below"] == 2
    assert asked.policy_hash == decisions.policy_hash(scene.spec.monitoring)
    with pytest.raises(RootCauseAlert) as raised:
        steps.alert(scene.run(NEXT.shift(3)))
    said = str(raised.value)
    assert said.startswith(f"{scene.spec.name}, 2025-01-09, version 1: adjusted R2 is ")
    assert re.search(
        r"is -?\d\.\d{4}, below its threshold 0\.8000, on 300 rows, and no feature drifted; the predictions miss",
        said,
    )


def test_what_is_predicted_changes_while_the_features_stay(scene: Scene) -> None:
    """Prices rise by half: no feature says so, and a training on these days would learn it."""
    assert play(scene, DAY, noise=20, slope=1.5) is Outcome.RECORD_DRIFT
    assert play(scene, NEXT, noise=20, slope=1.5, seed=2) is Outcome.REQUEST_RETRAINING
    first, second = decisions.history(scene.lake, scene.spec.name, Kind.RETRAINING_POLICY)
    assert (first.reasons, second.reasons) == ([Reason.WAITING_FOR_N_OF_M], [Reason.CONCEPT_DRIFT])
    window = second.inputs["window"]
    assert (window["drifted_features"], window["concept_drifted"], window["residuals_drifted"]) == ([], True, True)


def test_where_features_drifted_they_explain_what_is_missed(scene: Scene) -> None:
    """The rows of before stay true: a version is to be judged by them, too."""
    predicted = scene.deliver(DAY, change=lambda rows: rows.assign(income=rows["income"] * 1.5))
    scene.label(predicted, slope=0.5)
    window = scene.measure(DAY)
    assert (window.drifted_features, window.residuals_drifted) == (("income",), True)
    assert not window.concept_drifted
    assert windows.drifted(scene.spec, scene.lake, DAY, DAY) == [DAY]
    assert windows.concept_drifts(scene.spec, scene.lake, DAY) == {"1": {DAY: False}}


def test_labels_of_other_rows_are_no_change_to_learn(scene: Scene) -> None:
    predicted = scene.deliver(DAY)
    scene.label(predicted.assign(prediction=predicted["prediction"].sample(frac=1, random_state=3).to_numpy()))
    window = scene.measure(DAY)
    assert window.residuals_drifted
    assert not window.concept_drifted
    assert steps.decide(scene.run()).outcome is Outcome.ALERT_ROOT_CAUSE


def test_a_window_that_may_be_worse_by_chance_is_no_alarm(scene: Scene) -> None:
    predicted = scene.deliver(DAY)
    scene.label(predicted, rows=40, noise=55)
    window = scene.measure(DAY)
    assert window.metric is not None
    assert window.best is not None
    assert window.metric < 0.8 < window.best
    verdict = steps.decide(scene.run())
    assert (verdict.outcome, verdict.reasons, verdict.windows_below) == (
        Outcome.NO_ACTION,
        (Reason.WORSE_BY_CHANCE,),
        0,
    )


def test_deciding_again_is_the_same_row(scene: Scene) -> None:
    for number, seed in ((0, 2), (1, 3)):
        play(scene, DAY.shift(number), noise=200, drifted=True, seed=seed)
    first = steps.decide(scene.run(NEXT))
    assert first.outcome is Outcome.REQUEST_RETRAINING
    assert steps.decide(scene.run(NEXT)) == first
    assert steps.decide(scene.run(NEXT, run_id="backfill")) == first
    assert len(decisions.history(scene.lake, scene.spec.name, Kind.RETRAINING_POLICY)) == 3


def test_a_window_stands_by_what_it_asked_for_once_that_has_replaced_its_version(scene: Scene) -> None:
    for number, seed in ((0, 2), (1, 3), (2, 4)):
        play(scene, DAY.shift(number), noise=200, drifted=True, seed=seed)
    asked = steps.decide(scene.run(NEXT))
    assert asked.outcome is Outcome.REQUEST_RETRAINING
    assert steps.request_retraining(scene.run(NEXT)) is None
    scene.promote(scene.train(trained(), training_set="2025-01-06"))
    assert steps.decide(scene.run(NEXT, run_id="again")) == asked
    assert steps.request_retraining(scene.run(NEXT, run_id="again")) == "run asked for this training: one is enough"
    assert steps.decide(scene.run(NEXT.shift(1), run_id="again")).reasons == (Reason.VERSION_REPLACED,)


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (2, 4, 0, 3, 1), (0, 1, 2, 4, 3)])
def test_in_whatever_order_days_come_they_are_decided_on_as_in_order(scene: Scene, order: tuple[int, ...]) -> None:
    for place in order:
        play(scene, DAY.shift(place), noise=(20, 200)[place % 2], seed=place + 1)
        waiting = [DAY.shift(place)]
        while waiting:  # what the asset `reopened` starts
            again = steps.find_outdated(scene.run(waiting.pop()))
            for key in again:
                waiting.append(Partition.parse(key, scene.spec.grain))
                steps.decide(scene.run(waiting[-1], run_id=f"{order} {place} {len(waiting)}"))
    found = said(scene)
    for place in range(5):
        steps.decide(scene.run(DAY.shift(place), run_id="in order"))
    assert said(scene) == found
    assert [steps.find_outdated(scene.run(DAY.shift(place))) for place in range(5)] == [[]] * 5


def said(scene: Scene) -> dict[str, tuple[object, ...]]:
    """The last word on each day."""
    found = decisions.history(scene.lake, scene.spec.name, Kind.RETRAINING_POLICY)
    found.sort(key=lambda item: item.recorded_at)
    return {item.subject: (item.outcome, item.reasons, item.inputs) for item in found}


def test_a_day_before_that_comes_while_one_is_decided_on_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever commits last sees the other one: the decision that is recorded last, or the run of the day before."""
    play(scene, DAY.shift(2), noise=20, seed=3)
    decide, came = steps._decide, []

    def overtaken(*given: object) -> object:
        verdict = decide(*given)  # type: ignore[arg-type]
        if not came:
            came.append(scene.label(scene.deliver(), noise=20))
            scene.measure()
        return verdict

    monkeypatch.setattr(steps, "_decide", overtaken)
    steps.decide(scene.run(DAY.shift(2)))
    assert [*said(scene)[DAY.shift(2).key][2]["looked_back"]] == [DAY.key]  # type: ignore[index]
    assert steps.find_outdated(scene.run()) == []


def test_a_window_that_changes_while_it_is_decided_on_is_decided_on_as_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of the predictions is overtaken by that of the labels, and by a withdrawal."""
    predicted = scene.deliver()
    scene.measure()
    decide, change = steps._decide, [lambda: scene.label(predicted, noise=200), lambda: withdraw(scene)]

    def overtaken(*given: object) -> object:
        verdict = decide(*given)  # type: ignore[arg-type]
        if change:
            change.pop(0)()
            scene.measure()
        return verdict

    monkeypatch.setattr(steps, "_decide", overtaken)
    assert steps.decide(scene.run()).reasons == (Reason.NOTHING_SCORED,)
    assert said(scene)[DAY.key][1] == ["nothing_scored"]
    assert not change


def withdraw(scene: Scene) -> None:
    predictions.withdraw(scene.spec, scene.lake, DAY)


@pytest.mark.parametrize("order", [range(9), range(8, -1, -1), (4, 0, 8, 2, 6, 1, 3, 5, 7)])
def test_no_more_trainings_are_asked_for_than_the_budget_has_in_whatever_order_days_come(
    scene: Scene, order: Sequence[int]
) -> None:
    """Nine days that are all drifted and degraded: the policy has four requests in thirty days, one a day."""
    words, asked = {}, []
    for place in order:
        partition = DAY.shift(place)
        play(scene, partition, noise=200, drifted=True, seed=place + 1)
        waiting = [partition.key, *steps.find_outdated(scene.run(partition))]
        for key in waiting:
            run = scene.run(Partition.parse(key, scene.spec.grain), run_id=f"{place} {key}")
            words[key] = steps.decide(run).outcome
            if words[key] is Outcome.REQUEST_RETRAINING and steps.request_retraining(run) is None:
                asked.append(run.partition)
    assert 1 <= len(asked) <= scene.spec.monitoring.retraining.budget_requests
    assert len(set(asked)) == len(asked)
    assert words.keys() == {DAY.shift(place).key for place in range(9)}


def test_days_that_looked_back_on_a_withdrawn_one_are_decided_on_again(scene: Scene) -> None:
    for place in range(5):
        play(scene, DAY.shift(place), noise=20, seed=place + 1)
    predictions.withdraw(scene.spec, scene.lake, NEXT)
    steps.withdraw_window(scene.run(NEXT))
    assert steps.find_outdated(scene.run(NEXT)) == [DAY.shift(2).key, DAY.shift(3).key]
    alone = scene.spec.monitoring.model_dump()
    alone["retraining"] |= {"of_windows": 1, "below_windows": 1}
    assert steps.find_outdated(scene.changed(monitoring=alone).run(NEXT)) == []


def test_a_withdrawn_window_counts_for_nothing(scene: Scene) -> None:
    for number, seed in ((0, 2), (1, 3)):
        play(scene, DAY.shift(number), noise=200, drifted=True, seed=seed)
    assert steps.decide(scene.run(NEXT)).windows_below == 2
    predictions.withdraw(scene.spec, scene.lake, DAY)
    for _ in range(2):
        found = steps.withdraw_window(scene.run(DAY))
        assert (found.rows, found.labelled, found.drifted_features) == (0, False, ())
    assert scene.measure(DAY) == found
    assert steps.decide(scene.run(NEXT)).windows_below == 1
    assert steps.decide(scene.run(DAY)).reasons == (Reason.NOTHING_SCORED,)


def test_scoring_an_old_partition_again_changes_no_decision(scene: Scene) -> None:
    predicted = scene.deliver()
    scene.label(predicted, noise=200)
    scene.measure()
    first = steps.decide(scene.run())
    assert first.outcome is Outcome.ALERT_ROOT_CAUSE
    known = rows_of(1, DAY).assign(**{"split": "train", scene.spec.target: 1.0, PARTITION: DAY.key})
    version = scene.train(pd.concat([trained(), known]), training_set="2025-01-06")
    scene.score(DAY, predicted, predicted["prediction"] - 10, version, served=False)
    scene.measure()
    assert steps.decide(scene.run()) == first


def test_a_corrected_batch_changes_nothing_of_what_was_measured_of_its_answers(scene: Scene) -> None:
    """What was served was served from the features of then: performance and drift are about those."""
    predicted = scene.deliver(change=lambda rows: rows.assign(income=rows["income"] * 1.5))
    scene.label(predicted, noise=200)
    before = scene.measure()
    assert before.drifted_features == ("income",)
    corrected = rows_of(1, DAY)
    put(scene.lake, FEATURES.of(scene.spec, dict.fromkeys(NAMES, pa.float64())), corrected.iloc[5:], DAY)
    assert scene.measure() == before


def test_features_of_then_are_those_of_now_where_then_is_kept_no_longer(scene: Scene) -> None:
    scene.deliver()
    put(scene.lake, FEATURES.of(scene.spec, dict.fromkeys(NAMES, pa.float64())), rows_of(1, DAY), DAY)
    opened = scene.lake.open(FEATURES.of(scene.spec))
    opened.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert scene.measure().rows == ROWS


def test_without_a_version_or_rows_nothing_is_done(scene: Scene) -> None:
    for step in (steps.measure_window, steps.decide):
        with pytest.raises(UsageError, match="there is nothing to do: no rows of 2025-01-05 are in"):
            step(scene.run())
    rows = rows_of(1, DAY).assign(prediction=1.0)
    scene.label(rows)
    scene.measure()
    assert steps.decide(scene.run()).reasons == (Reason.NOTHING_SCORED,)
    other = scene.changed(name=f"{scene.spec.name}_new")
    other.label(rows)
    assert steps.decide(other.run()).reasons == (Reason.NO_PRODUCTION_VERSION,)
    assert not scene.lake.exists(METRICS.of(other.spec))
    with pytest.raises(DataError, match="has no partition"):
        steps.measure_window(scene.run(None))  # type: ignore[arg-type]


def test_the_logs_are_tables_of_values_and_thresholds(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for number, seed in ((0, 2), (1, 3), (2, 4)):
        play(scene, DAY.shift(number), noise=200, drifted=True, seed=seed)
    window, verdict = [record.getMessage() for record in caplog.records if record.name == steps.__name__][-2:]
    assert window.splitlines()[0] == "Window 2025-01-07: 300 rows scored by version 1"
    assert re.search(r"^labelled rows +300$", window, re.M)
    assert re.search(r"^adjusted R2 +-?\d\.\d{4}  at least 0\.8000$", window, re.M)
    assert re.search(r"^income +0\.\d{4} +0\.1 +\S+ +0\.05  drifted$", window, re.M)
    assert re.search(r"^\d of 5 distributions drifted$", window, re.M)
    assert re.search(r"^drifted features +income$", verdict, re.M)
    assert verdict.splitlines()[0] == (
        "request_retraining because: Features have drifted, and adjusted R2 is below its threshold in enough windows."
    )
    assert re.search(r"^at best, by chance +0\.\d{4}  at least 0\.8000$", verdict, re.M)
    assert re.search(r"^upstream faults +none$", verdict, re.M)
    assert re.search(r"^drifted residuals +yes$", verdict, re.M)
    assert re.search(r"^drifted features +income$", verdict, re.M)
    assert re.search(r"^degraded of the last 3 windows +3 of 3 +at least 2$", verdict, re.M)
    assert re.search(r"^days since the last request +1 +at least 1$", verdict, re.M)
    assert re.search(r"^requests in 30 days +1 +fewer than 4$", verdict, re.M)
    assert len({len(line) for line in verdict.splitlines()[1:] if not line.endswith(("income", "none", "yes"))}) == 1


def test_a_window_measured_before_its_labels_came_does_not_replace_one_measured_with_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of one partition at once: of the predictions, and of the labels, which ends first."""
    predicted, measure = scene.deliver(), window.measure

    def overtaken(*arguments: object) -> Measured:
        monkeypatch.setattr(window, "measure", measure)
        before = measure(*arguments)
        scene.label(predicted)
        assert scene.measure().labelled
        return before

    monkeypatch.setattr(window, "measure", overtaken)
    assert scene.measure().labelled
    (kept,) = windows.read(scene.spec, scene.lake, DAY, DAY)
    assert kept.labelled


def test_one_training_answers_all_runs_that_ask_for_it_after_a_window(scene: Scene) -> None:
    rules = scene.spec.monitoring.retraining.model_copy(update={"drift_without_labels": "request_retraining"})
    monitoring = scene.spec.monitoring.model_copy(update={"retraining": rules})
    scene = scene.changed(monitoring=monitoring)
    scene.deliver(DAY, seed=4, change=lambda rows: rows.assign(income=rows["income"] * 1.5))
    scene.measure()
    once = "predictions asked for this training: one is enough"
    for run_id, why_not in (("predictions", None), ("labels", once), ("predictions", None)):
        run = scene.run(DAY, run_id)
        assert steps.decide(run).outcome is Outcome.REQUEST_RETRAINING
        assert steps.request_retraining(run) == why_not
    assert len(decisions.history(scene.lake, scene.spec.name, Kind.TRAINING_REQUEST)) == 1
    assert steps.request_retraining(scene.run(NEXT, "labels")) is None
