"""What is drawn of a model, rendered as text: no personal data is in it, nor in what else a training leaves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import matplotlib as mpl
import mlflow
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from include.core import catalogue
from include.core.category import Category
from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.evaluation.slices import Slice
from include.training import algorithms, candidate, evidence, plots, training_set
from include.training.algorithms import Conditions, Sample
from include.training.algorithms.lightgbm import LIGHTGBM
from include.training.plots import Drawn, features
from tests.unit.training import world
from tests.unit.training.stage import Scene
from tests.unit.training.world import World

SECRETS = ("@example.com", "person", "4155550", "contact", "phone")


def of(
    spec: ModelSpec,
    names: Sequence[str],
    rows: pd.DataFrame,
    predicted: Floats,
    model: Any,
    measured: Mapping[str, float],
    categories: Mapping[str, Category] | None = None,
) -> Drawn:
    """With two slices of the rows, and every feature as important as the others."""
    half = np.arange(len(rows)) < len(rows) / 2
    parts = [Slice("first half", half), Slice("second half", ~half)]
    shares = dict.fromkeys(names, 1 / len(names))
    return Drawn(spec, names, rows, predicted, model, measured, categories or {}, shares, "as in a test", parts)


def as_text(figure: Figure) -> str:
    """The figure as SVG, whose labels are text."""
    svg = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(svg, format="svg")
    return svg.getvalue()


@pytest.fixture
def personal(mlflow_store: None, tmp_path: Path) -> World:
    """A world whose rows have an address, a phone number that is tagged, and remarks with addresses that is not."""
    made = world.make(tmp_path)
    content = made.spec.model_dump()
    content["columns"] |= {
        "contact": {"type": "text", "description": "Who to ask", "pii": True},
        "phone": {"type": "number", "description": "Where", "pii": True},
        "remark": {"type": "text", "description": "Free text"},
    }
    made.spec = ModelSpec.model_validate(content)
    made.spec._folder = world.quick_spec(4).folder
    people = [f"person.{n}@example.com" for n in range(len(made.rows))]
    made.rows = made.rows.assign(contact=people, phone=4155550000.0 + np.arange(len(people)), remark=people)
    made.deliver(world.HISTORY, 2000)
    return made


def test_a_training_leaves_no_personal_value_in_plots_or_artifacts(personal: World, tmp_path: Path) -> None:
    ref = training_set.build(personal.spec, personal.lake, personal.store(), world.HISTORY.shift(1))
    run = candidate.fit_baseline(personal.spec, personal.lake, ref, "run-private")
    evidence.publish(personal.spec, personal.lake, ref, run)
    client = MlflowClient()
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    client.download_artifacts(run.mlflow_run_id, "", str(artifacts))
    mlflow.artifacts.download_artifacts(artifact_uri=run.model_uri, dst_path=str(artifacts))
    files = [file for file in artifacts.rglob("*") if file.is_file()]
    assert {"MLmodel", "input_example.json", "correlation_heatmap.png"} <= {file.name for file in files}
    left = {str(file): file.read_bytes().decode(errors="replace") for file in files if file.suffix != ".png"}
    left["run"] = repr(client.get_run(run.mlflow_run_id).to_dictionary())

    frame = training_set.read(personal.spec, personal.lake, ref)
    booster = lgb.Booster(model_file=str(next(artifacts.rglob("model.lgb"))))
    predicted = np.asarray(booster.predict(frame[list(ref.features)]))
    drawn = dict(plots.all_of(of(personal.spec, ref.features, frame, predicted, booster, run.metrics)))
    left |= {name: as_text(figure) for name, figure in drawn.items()}
    assert {"shap_summary", "shap_dependence", "partial_dependence", "residuals_by_slice"} <= set(left)
    assert "median_income" in left["correlation_heatmap"], "labels are text, so that they are found"
    for where, text in left.items():
        for secret in SECRETS:
            assert secret not in text, where


def test_a_personal_column_that_were_drawn_would_be_found() -> None:
    rows = pd.DataFrame({"phone": [4155550001.0, 4155550002.0, 4155550009.0], "price": [1.0, 2.0, 4.0]})
    assert "phone" in as_text(features.correlation_heatmap(rows))


def test_a_feature_that_was_tagged_since_is_neither_drawn_nor_logged(scene: Scene) -> None:
    spec, ref = scene.world.spec, scene.old_ref
    tagged = {"median_income": spec.columns["median_income"].model_copy(update={"pii": True})}
    personal = spec.model_copy(update={"columns": {**spec.columns, **tagged}})
    personal._folder = spec.folder
    frame = training_set.read(spec, scene.world.lake, ref)
    message = r"features are personal data: median_income \(has pii: true\)\. Leave them out of features\.sql"
    with pytest.raises(DataError, match=message):
        next(plots.all_of(of(personal, ref.features, frame, np.zeros(len(frame)), None, {})))
    client = MlflowClient()
    experiment = client.get_experiment_by_name(f"{spec.name}/training").experiment_id
    before = len(client.search_runs([experiment]))
    with pytest.raises(DataError, match=message):
        candidate.fit_baseline(personal, scene.world.lake, ref, "run-tagged")
    assert len(client.search_runs([experiment])) == before


def test_codes_correlate_with_nothing() -> None:
    rng = np.random.default_rng(1)
    spec = catalogue.load("california_housing")
    names = ["a", "place", spec.target]
    rows = pd.DataFrame(rng.integers(0, 9, (500, 3)), columns=names).astype(float)
    fitted = LIGHTGBM.fit(
        Sample(rows[["a", "place"]], rows["a"].to_numpy(), np.ones(500)), {}, Conditions(spec.task, 1, 1)
    )
    known = {spec.metric: 0.5}
    place = {"place": Category(values=tuple("pqrstuvw"), unseen="other")}
    drawn = dict(plots.all_of(of(spec, ["a", "place"], rows, rows["a"].to_numpy(), fitted.model, known, place)))
    assert "place" not in as_text(drawn["correlation_heatmap"])
    assert "place" in as_text(drawn["feature_importance"])


def test_a_binary_model_is_drawn_by_its_probabilities() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.random(500)
    rows = pd.DataFrame({"a": rng.normal(size=500), "churned": (rng.random(500) < predicted) * 1.0})
    content = catalogue.load("california_housing").model_dump()
    content["training"] |= {"algorithm": "hist_gradient_boosting", "baseline": {}}
    content["training"]["search"] |= {"start": {}, "space": {"max_iter": {"kind": "integer", "low": 1, "high": 9}}}
    spec = ModelSpec.model_validate(content | {"task": "binary", "metric": "auc", "target": "churned"})
    fitted = algorithms.fit(spec, Sample(rows[["a"]], rows["churned"].to_numpy(), np.ones(500)), {"max_iter": 5})
    drawn = dict(plots.all_of(of(spec, ["a"], rows, predicted, fitted.model, {"auc": 0.8312})))
    others = {"residuals_by_slice", "correlation_heatmap", "feature_importance", "partial_dependence"}
    assert set(drawn) == {"calibration", "roc"} | others, "the algorithm tells no contributions"
    for name in ("calibration", "roc", "residuals_by_slice"):
        assert "500 test rows · area under the ROC curve 0.8312" in as_text(drawn[name])
    assert "mean predicted probability of churned" in as_text(drawn["partial_dependence"])


def test_classes_are_drawn_as_they_are_taken_for_others() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"a": rng.normal(size=300), "kind": rng.integers(0, 3, 300).astype(float)})
    content = catalogue.load("california_housing").model_dump()
    content["training"] |= {"baseline": {}}
    spec = ModelSpec.model_validate(content | {"task": "multiclass", "metric": "accuracy", "target": "kind"})
    fitted = algorithms.fit(spec, Sample(rows[["a"]], rows["kind"].to_numpy(), np.ones(300)), {"n_estimators": 5})
    drawn = dict(plots.all_of(of(spec, ["a"], rows, rows["kind"].to_numpy(), fitted.model, {"accuracy": 1.0})))
    assert {"confusion", "residuals_by_slice", "shap_summary", "shap_dependence"} <= set(drawn)
    assert "partial_dependence" not in drawn, "the mean of classes says nothing"
    counts = rows["kind"].value_counts()
    text = as_text(drawn["confusion"])
    assert all(f">{count}<" in text for count in counts)


def test_of_features_that_do_not_vary_or_are_unknown_nothing_is_claimed() -> None:
    rng = np.random.default_rng(1)
    spec = catalogue.load("california_housing")
    rows = pd.DataFrame({"a": rng.normal(size=200), "same": 1.0, "unknown": np.nan, "infinite": np.inf})
    rows[spec.target] = rows["a"]
    names = ["a", "same", "unknown", "infinite"]
    fitted = LIGHTGBM.fit(Sample(rows[names], rows["a"].to_numpy(), np.ones(200)), {}, Conditions(spec.task, 1, 1))
    drawn = dict(plots.all_of(of(spec, names, rows, rows["a"].to_numpy(), fitted.model, {spec.metric: 0.5})))
    told = as_text(drawn["partial_dependence"])
    assert ">a<" in told
    assert not any(f">{name}<" in told for name in names[1:])


def test_of_many_features_the_heatmap_has_those_that_go_with_the_target() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(0, 1, (200, 100)), columns=[f"x{n}" for n in range(100)])
    frame["target"] = frame["x7"] + rng.normal(0, 0.1, 200)
    (axes, *_) = features.correlation_heatmap(frame).axes
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert (len(shown), shown[-1], "x7" in shown) == (features.MOST_IN_HEATMAP, "target", True)
