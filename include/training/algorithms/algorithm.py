"""What an algorithm is: functions that fit, predict, store and load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from include.core.sections import Task
from include.evaluation.metrics import Floats

if TYPE_CHECKING:
    import pandas as pd

Parameters = dict[str, Any]
Watch = Callable[[int, float], bool]
"""Told the validation loss after each round; whether to go on."""


@dataclass(frozen=True)
class Sample:
    """Rows to fit or to judge: features (rows x features, float64, nulls where unknown), target and weight (rows)."""

    features: pd.DataFrame
    target: Floats
    weight: Floats
    categories: tuple[str, ...] = ()
    """The features that are codes: their order says nothing, and a code may come that no row here has."""


@dataclass(frozen=True)
class Fitted:
    """A model in its library's own type, and the parameters that fit it again, those found on the way included."""

    model: Any
    params: Parameters


def named(features: str) -> list[str]:
    """The features that a hyperparameter names (`Algorithm.of_features`)."""
    return [name.strip() for name in features.split(",")]


@dataclass(frozen=True)
class Conditions:
    """How to fit, beside the hyperparameters."""

    task: Task
    seed: int
    threads: int
    """Most that may be used."""
    validation: Sample | None = None
    """Rows on which an algorithm that grows in rounds sees when to stop."""
    watch: Watch | None = None
    """Asked after each round on validation rows, where the library lets itself be asked."""


class Save(Protocol):
    def __call__(self, model: Any, task: Task, example: pd.DataFrame, folder: Path, **more: Any) -> None:
        """Store a model in a folder, which is made, by MLflow's own flavor.

        Args:
            example: rows of features, for the signature and as example of an input.
            more: for MLflow's ``save_model``.
        """


@dataclass(frozen=True)
class Algorithm:
    """One way to fit a model."""

    name: str
    title: str
    """In a sentence: ``LightGBM``."""
    parameters: Mapping[Task, Mapping[str, tuple[str, ...]]]
    """By the tasks that it is for: the hyperparameters of model.yaml, each with the texts that it may be; none where it
    is a number."""
    fit: Callable[[Sample, Parameters, Conditions], Fitted]
    """The same arguments give the same model."""
    predict: Callable[[Any, pd.DataFrame, Task], Floats]
    """From model and features to one value a row, as `evaluation.metrics` says."""
    save: Save
    load: Callable[[Path], Any]
    """From the folder that `save` made to the model. Reads the model's file alone, and runs no code that it names."""
    requirements: tuple[str, ...]
    """Packages that load it."""
    importance: Callable[[Any], Mapping[str, float]] | None = None
    """From a model to the weight of each feature; None where there is no such thing."""
    importance_is: str = ""
    """What that weight is, in a few words."""
    contributions: Callable[[Any, pd.DataFrame, Task], Floats | None] | None = None
    """From model and features (rows x features) to how much each value moved its row's prediction, in the same shape,
    on the model's own scale; of classes towards the predicted one. None, or no such function, where there is none."""
    most_codes: int | None = None
    """Of one category; None where there is no bound."""
    rounds: str = ""
    """The hyperparameter that validation rows give, by stopping early; empty where they cannot."""
    final: tuple[str, ...] = ()
    """Hyperparameters of the final fit alone: each costs several fits, and a search measures points without them."""
    of_features: tuple[str, ...] = ()
    """Hyperparameters that name features, as one text: ``longitude, latitude``."""
    wrong: Callable[[Parameters], str] | None = None
    """What of hyperparameters does not go together, in a sentence; empty where nothing."""
    fits_side_by_side: bool = False
    """Whether several threads of a process may fit at once: it keeps no setting of the process."""
