from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.training import algorithms, search
from include.training.algorithms import Sample
from include.training.trial import Trial

BOOSTING = {
    "learning_rate": {"kind": "log_uniform", "low": 0.05, "high": 0.3},
    "num_leaves": {"kind": "integer", "low": 4, "high": 16},
    "feature_fraction": {"kind": "uniform", "low": 0.5, "high": 1.0},
}


class Notebook:
    """A journal in memory, which may end the process after some trials."""

    def __init__(self, trials: int | None = None) -> None:
        self.trials: dict[int, Trial] = {}
        self.recorded: list[int] = []
        self._last = trials

    def known(self) -> dict[int, Trial]:
        return dict(self.trials)

    def record(self, trial: Trial) -> None:
        if len(self.recorded) == self._last:
            raise KeyboardInterrupt
        self.trials[trial.number] = trial
        self.recorded.append(trial.number)


def spec_of(
    trials: int,
    space: object,
    *,
    metric: str = "adjusted_r2",
    task: str = "regression",
    limits: dict | None = None,
    **more,
) -> ModelSpec:
    content = json.loads(catalogue.load("california_housing").model_dump_json())
    content |= {"task": task, "metric": metric}
    content["training"] |= {"algorithm": "lightgbm", "baseline": {}, **more}
    content["training"]["search"] = {"trials": trials, "seed": 3, "space": space, **(limits or {})}
    return ModelSpec.model_validate(content)


def samples(rows: int, *, classes: bool = False) -> Sample:
    rng = np.random.default_rng(rows)
    features = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
    target = 3 * features["a"] + np.sin(3 * features["b"]) + rng.normal(0, 0.3, rows)
    return Sample(features, ((target > 0) * 1.0 if classes else target).to_numpy(), np.ones(rows))


def test_is_reproducible_within_its_ranges_and_never_worse_than_the_baseline() -> None:
    spec = spec_of(8, BOOSTING)
    first, second = (search.tune(spec, [(samples(600), samples(301))]) for _ in range(2))
    assert first == second
    assert len(first.trials) == 9
    assert first.best.validation == min(trial.validation for trial in first.trials) <= first.trials[0].validation
    assert first.trials[0].params == {"n_estimators": 100}
    for trial in first.trials[1:]:
        assert 0.05 <= trial.params["learning_rate"] <= 0.3
        assert trial.params["num_leaves"] in range(4, 17)
        assert 0.5 <= trial.params["feature_fraction"] <= 1.0
        assert 0 < trial.params["n_estimators"] < 1000


def test_a_baseline_that_is_best_wins() -> None:
    hopeless = {"lambda_l2": {"kind": "uniform", "low": 1e8, "high": 1e9}}
    found = search.tune(spec_of(2, hopeless, baseline={"learning_rate": 0.1}), [(samples(600), samples(301))])
    assert found.best is found.trials[0]
    assert found.best.params == {"learning_rate": 0.1, "n_estimators": 100}


def test_what_is_measured_is_what_the_parameters_fit_again() -> None:
    """By the error in the target's unit where the metric is R2, each row as often as it weighs."""
    spec, train, validation = spec_of(2, BOOSTING, baseline={"n_estimators": 20}), samples(600), samples(301)
    validation = replace(validation, weight=np.where(np.arange(301) < 100, 10.0, 1.0))
    for trial in search.tune(spec, [(train, validation)]).trials:
        model = algorithms.fit(spec, train, dict(trial.params)).model
        errors = validation.target - algorithms.predict(spec, "lightgbm", model, validation.features)
        assert trial.validation == pytest.approx(np.sqrt(np.average(errors**2, weights=validation.weight)), rel=1e-6)


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_the_metric_decides_in_its_direction(metric: str) -> None:
    spec = spec_of(4, BOOSTING, metric=metric, task="binary", baseline={"learning_rate": 1e-4})
    found = search.tune(spec, [(samples(600, classes=True), samples(301, classes=True))])
    values = [trial.validation for trial in found.trials]
    assert found.best.validation == (max(values) if metrics.of(spec).higher_is_better else min(values))
    assert found.best.number > 0, "the baseline learns next to nothing"


def test_an_algorithm_that_cannot_stop_early_is_searched_alike() -> None:
    space = {"alpha": {"kind": "log_uniform", "low": 1e-3, "high": 1e6}}
    found = search.tune(spec_of(5, space, algorithm="linear", metric="mae"), [(samples(600), samples(301))])
    assert [sorted(trial.params) for trial in found.trials] == [[]] + [["alpha"]] * 5
    assert found.best.validation == min(trial.validation for trial in found.trials)


@pytest.mark.parametrize("cores", [1, 3])
def test_the_same_is_found_however_many_cores_there_are(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(7, BOOSTING, limits={"parallel": 3})
    expected = search.tune(spec, [(samples(600), samples(301))])
    monkeypatch.setattr(algorithms, "cores", lambda: cores)
    found = search.tune(spec, [(samples(600), samples(301))])
    # LightGBM adds up its own loss thread by thread: the last digit of a curve may be another one.
    assert [replace(trial, curve=()) for trial in found.trials] == [replace(item, curve=()) for item in expected.trials]


@pytest.mark.parametrize("done", [0, 1, 4, 8])
def test_a_search_that_was_ended_goes_on_from_its_last_trial(done: int) -> None:
    spec = spec_of(9, BOOSTING)
    expected = search.tune(spec, [(samples(600), samples(301))])
    first = Notebook(done)
    with pytest.raises(KeyboardInterrupt):
        search.tune(spec, [(samples(600), samples(301))], first)
    second = Notebook()
    second.trials = dict(first.trials)
    assert search.tune(spec, [(samples(600), samples(301))], second) == expected
    assert sorted(first.recorded + second.recorded) == list(range(10)), "each trial is fitted once"


def test_a_kept_trial_of_other_parameters_is_fitted_again() -> None:
    spec, kept = spec_of(2, BOOSTING), Notebook()
    expected = search.tune(spec, [(samples(600), samples(301))], kept)
    again = Notebook()
    again.trials = {**kept.trials, 1: replace(kept.trials[1], asked={"learning_rate": 0.2}, validation=0.0)}
    assert search.tune(spec, [(samples(600), samples(301))], again) == expected
    assert again.recorded == [1]


def test_a_kept_trial_that_says_more_than_it_is_worth_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes to MLflow may forge one: the baseline as a bad one, or any other one as the best."""
    spec, kept = spec_of(4, BOOSTING), Notebook()
    expected = search.tune(spec, [(samples(600), samples(301))], kept)
    better = 1e9 * metrics.for_search(spec).gain(1.0, 0.0)
    forged = {0: -better, 1: better, 3: better / 2}
    again = Notebook()
    again.trials = kept.trials | {place: replace(kept.trials[place], validation=said) for place, said in forged.items()}
    with caplog.at_level("WARNING"):
        assert search.tune(spec, [(samples(600), samples(301))], again).best == expected.best
    assert [record.args[0] for record in caplog.records if "was recorded with" in record.message] == [0, 1, 3]


def test_no_trial_begins_after_the_minutes() -> None:
    found = search.tune(spec_of(50, BOOSTING, limits={"minutes": 1e-9}), [(samples(600), samples(301))])
    assert (len(found.trials), found.ended_by) == (1, "minutes"), "the baseline is always tried"


def test_a_search_without_progress_ends() -> None:
    hopeless = {"lambda_l2": {"kind": "uniform", "low": 1e8, "high": 1e9}}
    found = search.tune(spec_of(50, hopeless, limits={"patience": 4}), [(samples(600), samples(301))])
    assert (len(found.trials), found.ended_by) == (5, "patience")


def test_a_hopeless_trial_is_given_up() -> None:
    """Random trials are good here; the last, which learns nothing, is worse than most after 100 trees."""
    space = {"learning_rate": {"kind": "log_uniform", "low": 1e-4, "high": 0.1}}
    limits = {"parallel": 1, "start": {"learning_rate": 0.03}}
    thorough = search.tune(spec_of(12, space, limits=limits), [(samples(600), samples(301))])
    quick = search.tune(spec_of(12, space, limits={**limits, "pruning": True}), [(samples(600), samples(301))])
    assert not any(trial.pruned for trial in thorough.trials)
    first = next(trial for trial in quick.trials if trial.pruned)
    same = thorough.trials[first.number]
    assert first.asked == same.asked, "up to there the two searches have drawn the same points"
    assert len(first.curve) < len(same.curve)
    assert first.curve == same.curve[: len(first.curve)]
    assert quick.best.validation < first.validation
    assert quick.best.validation == pytest.approx(thorough.best.validation, rel=0.02)


def several(count: int) -> list[tuple[Sample, Sample]]:
    return [(samples(400 + fold), samples(201 + 50 * fold)) for fold in range(count)]


def test_of_several_folds_the_mean_counts_by_their_rows() -> None:
    spec = spec_of(3, BOOSTING)
    found = search.tune(spec, several(3))
    assert found == search.tune(spec, several(3))
    alone = [search.tune(spec, [fold]) for fold in several(3)]
    rows = [len(validation.target) for _, validation in several(3)]
    for trial in found.trials[:2]:  # the first point is drawn before anything is told
        values = tuple(one.trials[trial.number].validation for one in alone)
        assert trial.folds == pytest.approx(values)
        assert trial.validation == pytest.approx(np.average(values, weights=rows))
        trees = [one.trials[trial.number].params["n_estimators"] for one in alone]
        assert trial.params["n_estimators"] == round(np.mean(trees))
    assert all(one.trials[1].folds == () for one in alone)


@pytest.mark.parametrize("done", [1, 4])
def test_a_search_on_folds_that_was_ended_goes_on_and_gives_up_alike(done: int) -> None:
    space = {"learning_rate": {"kind": "log_uniform", "low": 1e-4, "high": 0.1}}
    spec = spec_of(12, space, limits={"parallel": 1, "start": {"learning_rate": 0.03}, "pruning": True})
    expected = search.tune(spec, several(2))
    first = Notebook(done)
    with pytest.raises(KeyboardInterrupt):
        search.tune(spec, several(2), first)
    second = Notebook()
    second.trials = dict(first.trials)
    assert search.tune(spec, several(2), second) == expected
    given_up = next(trial for trial in expected.trials if trial.pruned)
    assert len(given_up.folds) == 1, "the other fold is not fitted"
    baseline = expected.trials[0]
    assert given_up.validation == baseline.validation + given_up.folds[0] - baseline.folds[0]
    assert expected.best.validation < given_up.validation


def test_a_fold_of_too_few_rows_is_named() -> None:
    few = [*several(1), (samples(400), samples(5))]
    with pytest.raises(DataError, match="fold 2 has 5 rows to measure on, fewer than"):
        search.tune(spec_of(3, BOOSTING), few)


def test_progress_is_told_for_each_trial(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "include.training.search"):
        found = search.tune(spec_of(3, BOOSTING), [(samples(600), samples(301))])
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in told[:-1]] == [f"Trial {number} of 3" for number in range(4)]
    assert "at most about 0 s left" in told[-2]
    assert told[-1] == f"4 trials, ended by trials: trial {found.best.number} is the best"
