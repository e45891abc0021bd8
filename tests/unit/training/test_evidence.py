"""What the run of the kept candidate says, and that of the other one does not."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from include.core.errors import DataError, TamperedError
from include.training import candidate, card, evidence, exploration, manifest
from include.training.tracking import RunRef
from tests.unit.training.stage import Scene

pytestmark = pytest.mark.slow

PLOTS = {
    *("predicted_vs_actual", "residuals", "residuals_by_slice", "correlation_heatmap", "feature_importance"),
    *("shap_summary", "shap_dependence", "partial_dependence", "learning_curve"),
}
OTHERS = {"plots", card.FILE, exploration.FILE, "slices.csv", "learning_curve.csv"}


def files(run: RunRef, folder: str = "") -> list[str]:
    return [item.path for item in MlflowClient().list_artifacts(run.mlflow_run_id, folder)]


def publish(scene: Scene, run: RunRef) -> None:
    evidence.publish(scene.world.spec, scene.world.lake, scene.old_ref, run)


def fitted(scene: Scene, run_id: str) -> RunRef:
    return candidate.fit_baseline(scene.world.spec, scene.world.lake, scene.old_ref, run_id)


def test_the_kept_run_has_figures_and_the_card_of_its_model(scene: Scene) -> None:
    run = fitted(scene, "run-kept")
    assert files(run) == []
    publish(scene, run)
    assert set(files(run)) == OTHERS
    assert set(files(run, "plots")) == {f"plots/{name}.png" for name in PLOTS}
    told = mlflow.artifacts.load_text(f"runs:/{run.mlflow_run_id}/{card.FILE}")
    folder = mlflow.artifacts.download_artifacts(artifact_uri=run.model_uri)
    assert told == Path(folder, card.FILE).read_text(encoding="utf-8")
    slices = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run.mlflow_run_id}/slices.csv")))
    assert "ocean_proximity = INLAND" in set(slices["slice"])
    by_category = slices[slices["slice"].str.startswith("ocean_proximity = ")]
    assert by_category["rows"].sum() == scene.old_ref.test_rows


def test_a_repetition_draws_nothing_and_one_after_a_failure_draws_it_all(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, save = fitted(scene, "run-repeated"), Figure.savefig
    drawn: list[object] = []

    def cut_off(client: MlflowClient, run_id: str, folder: str) -> None:
        client.log_artifact(run_id, str(Path(folder, card.FILE)))
        raise ConnectionError("cut off")

    with monkeypatch.context() as changed:
        changed.setattr(MlflowClient, "log_artifacts", cut_off)
        with pytest.raises(ConnectionError):
            publish(scene, run)
    assert files(run) == [card.FILE]
    monkeypatch.setattr(Figure, "savefig", lambda *args, **named: (drawn.append(args[1]), save(*args, **named)))
    publish(scene, run)
    assert len(drawn) == len(PLOTS)
    publish(scene, run)
    assert len(drawn) == len(PLOTS)


def test_a_model_that_is_not_what_was_fitted_is_not_loaded(scene: Scene) -> None:
    run = fitted(scene, "run-changed")
    changed = {**run.files, "model.lgb": {**run.files["model.lgb"], "sha256": "0" * 64}}
    with pytest.raises(TamperedError, match=r"model\.lgb of the model is changed: it is not what was fitted"):
        publish(scene, replace(run, files=changed))
    left = {name: told for name, told in run.files.items() if name != card.FILE}
    with pytest.raises(TamperedError, match=r"model_card\.html of the model is additional"):
        publish(scene, replace(run, files=left))
    assert manifest.digest(run.files) != manifest.digest(left)
    assert files(run) == []


def test_a_feature_that_was_tagged_since_is_not_drawn(scene: Scene) -> None:
    run, spec = fitted(scene, "run-tagged-since"), scene.world.spec
    tagged = {"median_income": spec.columns["median_income"].model_copy(update={"pii": True})}
    personal = spec.model_copy(update={"columns": {**spec.columns, **tagged}})
    personal._folder = spec.folder
    with pytest.raises(DataError, match="features are personal data: median_income"):
        evidence.publish(personal, scene.world.lake, scene.old_ref, run)
    assert files(run) == []
