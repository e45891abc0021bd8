"""What is told of the candidate that is kept, on its run in MLflow: plots, tables, its card, and its training set.

They are made once it is chosen, by a step of their own. Most of what is fitted is not kept, and nobody looks at
figures of it: its run has parameters, metrics and the model's files, by which the kept one is drawn.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.models import Model

from include.core.errors import DataError, TamperedError
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.features import fitted_categories
from include.lakehouse.tables import Lakehouse
from include.training import (
    algorithms,
    card,
    exploration,
    fitted_rows,
    floors,
    importance,
    learning_curve,
    plots,
    slice_metrics,
    stored_files,
    training_set,
)
from include.training.tracking import RunRef
from include.training.training_set import TrainingSetRef

log = logging.getLogger(__name__)

PUBLISHED = "evidence"
"""Tag of a run that has all of it."""


def publish(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, kept: RunRef) -> None:
    """Draw a candidate from its stored model, and put the figures, and its card, on its run.

    All of it is made before the first file is sent, and the tag is set after the last one: a repetition sends the same
    files again, or finds that nothing is left to do.

    Raises:
        TamperedError: a file of the model is not the one that was fitted.
        DataError: a feature is personal data.
    """
    client = MlflowClient()
    if client.get_run(kept.mlflow_run_id).data.tags.get(PUBLISHED) == kept.model_id:
        log.info("The run has its evidence already")
        return
    plots.refuse_personal(spec, ref.features)
    with TemporaryDirectory(prefix="flightline-") as name:
        scratch, made = Path(name), Path(name, "evidence")
        model = stored_files.fetch(kept.model_uri, kept.files, scratch, lambda file, how: _refused(spec, file, how))
        _make(spec, lake, ref, kept, model, made)
        client.log_artifacts(kept.mlflow_run_id, str(made))
    client.set_tag(kept.mlflow_run_id, PUBLISHED, kept.model_id)


def _make(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, kept: RunRef, model: Path, folder: Path) -> None:
    """Plots, tables, the page of the training set, and the card, into a folder.

    Args:
        model: where the model's files are.
    """
    fitted, frame = algorithms.of(spec).load(model), training_set.read(spec, lake, ref)
    test = frame[fitted_rows.judging(frame)]
    features, categories = test[list(ref.features)], fitted_categories.read(ref.categories)
    predicted = algorithms.of(spec).predict(fitted, features, spec.task)
    weights = importance.of(spec, fitted, features, test[spec.target])
    sliced = slice_metrics.of(spec, ref, test, predicted, weights.shares)
    drawn = plots.Drawn(
        *(spec, ref.features, test, predicted, fitted, kept.metrics, categories, weights.shares, weights.meaning),
        parts=[item.part for item in sliced],
    )
    (folder / "plots").mkdir(parents=True)
    for name, figure in plots.all_of(drawn):
        figure.savefig(folder / "plots" / f"{name}.png")
    params = (Model.load(str(model)).metadata or {})["params"]
    _learning_curve(spec, ref, frame, params, kept.metrics, folder)
    slice_metrics.table(spec, sliced).to_csv(folder / "slices.csv", index=False)
    (folder / exploration.FILE).write_text(exploration.render(spec, ref, frame), encoding="utf-8")
    shutil.copy(model / card.FILE, folder)


def _learning_curve(
    spec: ModelSpec,
    ref: TrainingSetRef,
    frame: pd.DataFrame,
    params: dict[str, Any],
    measured: Mapping[str, float],
    folder: Path,
) -> None:
    points, metric = learning_curve.of(spec, ref, frame, params, measured), metrics.of(spec)
    known = [
        (name.removeprefix(floors.PREFIX), value) for name, value in measured.items() if name.startswith(floors.PREFIX)
    ]
    figure = plots.learning_curve(points, metric.title, [(f"floor: {name}", value) for name, value in known])
    figure.savefig(folder / "plots" / "learning_curve.png")
    pd.DataFrame(points).to_csv(folder / "learning_curve.csv", index=False)


def _refused(spec: ModelSpec, file: str, how: str) -> DataError:
    return TamperedError(
        f"{file} of the model is {how}: it is not what was fitted",
        where=spec.name,
        fix="Nothing of it was loaded. Find out who wrote to MLflow's artifacts, and train again",
    )
