"""What a person reads of a model before they let it into production."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import mlflow
import numpy as np
import pytest

from include.core.spec import ModelSpec
from include.evaluation import interval, metrics
from include.training import algorithms, card, training_set
from include.training.card import Evidence
from include.training.tracking import RunRef
from tests.unit.training.stage import DAYS, Scene

pytestmark = pytest.mark.slow

HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(1)>{{ 7 * 7 }}"""


def logged(run: RunRef) -> str:
    folder = mlflow.artifacts.download_artifacts(artifact_uri=run.model_uri)
    return Path(folder, card.FILE).read_text(encoding="utf-8")


def told(page: str) -> str:
    """As a person reads it."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])))


def test_the_card_of_a_tuned_candidate_says_all_of_it(scene: Scene) -> None:
    page, ref = logged(scene.tuned), scene.old_ref
    assert card.missing(page) == []
    said = told(page)
    assert f"california_housing, tuned of {ref.training_set}" in said
    assert scene.world.spec.description in said
    assert f"training_sets_california_housing@{ref.table_version}" in said
    assert ref.data_version in said
    assert f"{ref.train_rows + ref.validation_rows:,}" in said
    for name in ref.features:
        assert name in said
    assert (
        f"Adjusted R2 {metrics.of(scene.world.spec).shown(scene.tuned.metrics['adjusted_r2'])}".lower() in said.lower()
    )
    assert f"MLflow run {scene.tuned.mlflow_run_id}" in said
    assert "Airflow run run-old" in said
    assert re.search(r"The best of \d+ trials on the validation rows is trial \d+", said)
    assert re.search(r"median_income [\d.]+ to [\d.]+ \d", said)
    assert f"It knows nothing of after {ref.last_partition}" in said
    assert "lightgbm 4." in said
    assert re.search(r"the mean label -?0\.\d+ 0\.\d+ better", said)
    assert re.search(r"a linear model of the same features 0\.\d+ 0\.\d+ better", said)
    assert re.search(r"ocean_proximity = INLAND \d+ 0\.\d+ 0\.\d+ to 0\.\d+ -?[\d,.]+", said)
    assert f"whose source run is {scene.tuned.mlflow_run_id}" in said


def test_the_card_of_a_baseline_says_that_nothing_was_searched_and_which_windows_drifted(scene: Scene) -> None:
    said = told(logged(scene.new))
    assert "nothing was searched" in said
    assert f"These drifted, and weigh more: {', '.join(day.key for day in DAYS)}." in said


def test_it_is_one_of_the_models_files_and_of_what_was_recorded(scene: Scene) -> None:
    assert card.FILE in scene.old.files


def test_what_others_wrote_is_text(scene: Scene) -> None:
    spec, ref = scene.world.spec, scene.old_ref
    content = spec.model_dump(mode="json")
    content["description"] = content["owner"] = content["entity"]["description"] = HOSTILE
    content["columns"]["median_income"]["description"] = HOSTILE
    hostile = ModelSpec.model_validate(content)
    hostile._folder = spec.folder
    frame = training_set.read(spec, scene.world.lake, ref)
    test = frame[frame["split"] == "test"]
    rows = frame[list(ref.features)], frame[spec.target].to_numpy(), np.ones(len(frame))
    fitted = algorithms.fit(spec, algorithms.Sample(*rows, ()), {"n_estimators": 5})
    known = Evidence(
        HOSTILE,
        replace(fitted, params={HOSTILE: HOSTILE}),
        None,
        frame,
        test,
        algorithms.of(spec).predict(fitted.model, test[list(ref.features)], spec.task),
        scene.old.metrics,
        {"data.origin": HOSTILE, "git.sha": HOSTILE},
        "run",
    )
    page = card.render(hostile, replace(ref, suspected=HOSTILE, concept_drifts=(HOSTILE,)), known)
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    assert "{{ 7 * 7 }}" in page
    assert "http" not in page.replace(HOSTILE, "")
    assert card.missing(page) == []


@pytest.mark.parametrize("page", ["", "<html>", "<h3>Purpose</h3>", "\0\0<<<h3", "<style>Purpose</style>"])
def test_an_empty_card_has_no_part(page: str) -> None:
    assert card.missing(page) == list(card.SECTIONS)


def test_a_card_whose_part_is_empty_lacks_it(scene: Scene) -> None:
    page = logged(scene.old)
    gone = re.sub(r"(<h3>Limits</h3>).*?(</section>)", r"\1 <p> </p>\2", page, flags=re.S)
    assert card.missing(gone) == ["Limits"]


def test_bounds_hold_the_value_and_are_those_of_both_sides(scene: Scene) -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=500)
    p = y + rng.normal(scale=0.5, size=500)
    metric = metrics.METRICS["rmse"]
    low, high = interval.bounds(metric, y, p, 0, 0.9) or (0.0, 0.0)
    value = metric.measure(y, p, 0)
    assert low < value < high
    assert low == pytest.approx(interval.best_bound(metric, y, p, 0, 0.95))
    assert value - low == pytest.approx(high - value)
