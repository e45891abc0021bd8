"""What the algorithms of scikit-learn share: threads, predictions, and a file that holds no code.

Models are stored by skops, which builds only objects of known types. The types beyond its own are listed here, and not
taken from the ``MLmodel`` file beside the model, which may name any.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from include.core.sections import Task
from include.evaluation.metrics import Floats

if TYPE_CHECKING:
    import pandas as pd

REQUIREMENTS = ("scikit-learn", "skops", "scipy")
TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # What passes the numbers beside categories. The function of a partial has to be trusted itself.
    *("functools.partial", "sklearn.utils.validation.check_array"),
)


def predict(model: Any, features: pd.DataFrame, task: Task) -> Floats:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # on busy cores several threads wait for each other longer than they help
        predicted = getattr(model, _function(task))(features)
    return np.asarray(predicted[:, 1] if task is Task.BINARY else predicted, dtype=np.float64)


def save(model: Any, task: Task, example: pd.DataFrame, folder: Path, **more: Any) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
        skops_trusted_types=list(TRUSTED),
        pyfunc_predict_fn=_function(task),
        signature=infer_signature(example, getattr(model, _function(task))(example)),
        input_example=example,
        **more,
    )


def load(folder: Path) -> Any:
    import skops.io

    return skops.io.load(folder / "model.skops", trusted=list(TRUSTED))


def _function(task: Task) -> str:
    return "predict_proba" if task is Task.BINARY else "predict"
