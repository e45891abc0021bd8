"""What is told of the candidate that is kept: figures and its card, on its run in MLflow.

They are made once it is chosen, by a step of their own. Most of what is fitted is not kept, and nobody looks at
figures of it: its run has parameters, metrics and the model's files, by which the kept one is drawn.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mlflow import MlflowClient

from include.core.errors import DataError, TamperedError
from include.core.spec import ModelSpec
from include.features import fitted_categories
from include.lakehouse.tables import Lakehouse
from include.training import algorithms, card, fitted_rows, plots, stored_files, training_set
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
        _draw(spec, lake, ref, kept, model, made / "plots")
        shutil.copy(model / card.FILE, made)
        client.log_artifacts(kept.mlflow_run_id, str(made))
    client.set_tag(kept.mlflow_run_id, PUBLISHED, kept.model_id)


def _draw(spec: ModelSpec, lake: Lakehouse, ref: TrainingSetRef, kept: RunRef, folder: Path, drawn_into: Path) -> None:
    """Every plot as ``<name>.png``."""
    model = algorithms.of(spec).load(folder)
    frame = training_set.read(spec, lake, ref)
    test = frame[fitted_rows.judging(frame)]
    predicted = algorithms.of(spec).predict(model, test[list(ref.features)], spec.task)
    categories = fitted_categories.read(ref.categories)
    drawn_into.mkdir(parents=True)
    drawn = plots.all_of(spec, ref.features, test, np.asarray(predicted), model, kept.metrics, categories)
    for name, figure in drawn.items():
        figure.savefig(drawn_into / f"{name}.png")


def _refused(spec: ModelSpec, file: str, how: str) -> DataError:
    return TamperedError(
        f"{file} of the model is {how}: it is not what was fitted",
        where=spec.name,
        fix="Nothing of it was loaded. Find out who wrote to MLflow's artifacts, and train again",
    )
