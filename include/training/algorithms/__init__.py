"""The algorithms that a model can be fitted by: one entry each in `ALGORITHMS`, one file each.

The libraries are imported where they are used: model.yaml is checked in processes that fit nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.core.errors import ConfigError
from include.core.registry import choose, recorded
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.training.algorithms.algorithm import Algorithm, Conditions, Fitted, Parameters, Sample, Watch, named
from include.training.algorithms.hist_gradient_boosting import HIST_GRADIENT_BOOSTING
from include.training.algorithms.lightgbm import LIGHTGBM
from include.training.algorithms.linear import LINEAR

if TYPE_CHECKING:
    import pandas as pd

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm for algorithm in (LIGHTGBM, HIST_GRADIENT_BOOSTING, LINEAR)
}

MOST_THREADS = 4
"""More do not pay on tens of thousands of rows."""
SPARE_CORES = 1
"""Left to the rest of the machine: threads that share a tree wait for each other actively after every split, so on busy
cores two of them take several times as long as one."""


def of(spec: ModelSpec, features: Collection[str] | None = None) -> Algorithm:
    """The algorithm that a model is fitted by, its hyperparameters in model.yaml checked.

    Args:
        features: names of the model's features, to check what names some of them.

    Raises:
        ConfigError: there is none of that name, it is for other tasks or fewer categories, or a hyperparameter is not
            one of its own, names no feature, or does not go with another one.
    """
    where = f"{spec.file()}: training"
    algorithm = choose(ALGORITHMS, spec.training.algorithm, f"{where}.algorithm")
    known = algorithm.parameters.get(spec.task)
    if known is None:
        raise ConfigError(
            f"{algorithm.name} is for {', '.join(algorithm.parameters)}, and the task is {spec.task}",
            where=f"{where}.algorithm",
        )
    for name, value in spec.training.baseline.items():
        _check(algorithm, known, name, value, f"{where}.baseline")
    for name in spec.training.search.space:
        _check(algorithm, known, name, 0.0, f"{where}.search.space")
        if name in algorithm.final:
            raise ConfigError(
                f"{name} is of the final fit: a search measures points without it",
                where=f"{where}.search.space",
                fix="Name it in training.baseline",
            )
    _check_together(algorithm, spec.training.baseline, features, f"{where}.baseline")
    for name, category in spec.features.coded.items():
        if algorithm.most_codes is not None and len(category.texts) > algorithm.most_codes:
            raise ConfigError(
                f"{name} has {len(category.values)} values, and {algorithm.name} takes {algorithm.most_codes - 1}",
                where=f"{spec.file()}: features.categories.{name}",
                fix="Name the most frequent ones, with unseen: other, or take another training.algorithm",
            )
    return algorithm


def get(spec: ModelSpec, name: str) -> Algorithm:
    """The algorithm that a version was fitted by.

    Args:
        name: the version's tag ``algorithm``.

    Raises:
        ConfigError: there is none of that name, or it is a user's own, and model.yaml names it no longer.
    """
    return recorded(ALGORITHMS, name, spec.training.algorithm, f"{spec.name}, tag algorithm")


def load(spec: ModelSpec, name: str, folder: Path) -> Any:
    """The model that `Algorithm.save` stored in a folder, in its library's own type, for `predict`.

    Args:
        name: as for `get`, with its errors.
        folder: local, and nobody else's: what is loaded is what lies there.
    """
    return get(spec, name).load(folder)


def fit(
    spec: ModelSpec,
    sample: Sample,
    params: Parameters,
    validation: Sample | None = None,
    *,
    threads: int | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """Fit a model of the specification's algorithm; arguments as `algorithm.Conditions`.

    Args:
        threads: as many as pay, by default.
    """
    most = most_threads() if threads is None else threads
    return of(spec).fit(sample, params, Conditions(spec.task, spec.training.seed, most, validation, watch))


def predict(spec: ModelSpec, name: str, model: Any, features: pd.DataFrame) -> Floats:
    """One value a row, as `evaluation.metrics` says.

    Args:
        name: as for `get`, with its errors.
        model: of `fit` or `load`.
        features: the columns that it was fitted to, in their order.
    """
    return get(spec, name).predict(model, features, spec.task)


def most_threads() -> int:
    """For one model: the cores but for `SPARE_CORES`, from 1 to `MOST_THREADS`."""
    return max(1, min(cores() - SPARE_CORES, MOST_THREADS))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_together(algorithm: Algorithm, params: Parameters, features: Collection[str] | None, where: str) -> None:
    if algorithm.wrong and (said := algorithm.wrong(params)):
        raise ConfigError(said, where=where)
    for name in {*algorithm.of_features} & {*params}:
        if features is not None and (strangers := sorted({*named(str(params[name]))} - {*features})):
            raise ConfigError(f"features.sql selects no {', '.join(strangers)}", where=f"{where}.{name}")


def _check(
    algorithm: Algorithm, known: Mapping[str, tuple[str, ...]], name: str, value: float | str, where: str
) -> None:
    if name not in known:
        like = get_close_matches(name, known, 3) or sorted(known)
        raise ConfigError(
            f"{algorithm.name} has no parameter {name!r}", where=where, fix=f"It has e.g. {', '.join(like)}"
        )
    texts = known[name]
    is_text = isinstance(value, str)
    if not is_text if name in algorithm.of_features else (value not in texts) if texts else is_text:
        allowed = (
            "a text: feature, feature"
            if name in algorithm.of_features
            else f"one of {', '.join(texts)}" if texts
            else "a number"
        )  # fmt: skip
        raise ConfigError(f"{name} is {value!r}", where=where, fix=f"Make it {allowed}")


__all__ = ["ALGORITHMS", "Algorithm", "Conditions", "Fitted", "Parameters", "Sample"]
