"""Refuses features that are the label in another form: one that equals or determines it, or several that do together.

One feature: the rows are ordered by it, and the rank of each label is compared with its neighbour's (von Neumann's
ratio: the mean square of successive differences over twice the variance). It is about 1 for a feature that says
nothing, 1 - R2 for one that predicts well, and near 0 where the label is a function of the feature, rising, falling or
neither. Where a feature has few values (classes), the variance of the label within them says the same.

Several: what small models leave open of the label, in rows whose keys they were not fitted to. A linear fit finds parts
that add up; one of the logarithms, factors and ratios; trees, on the rank of the label, the rest. They leave a few per
cent open of what they can only approximate, such as a sum of products: that is a suspicion, for a person.

Source: J. von Neumann, Distribution of the ratio of the mean square successive difference to the variance (1941).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.core.errors import ConfigError, DataError
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.training import algorithms

log = logging.getLogger(__name__)

UNEXPLAINED = 0.01
"""Share of the label's variance below which features are taken to determine it. In honest data the best single feature
leaves about half."""
SUSPICIOUS = 0.02
"""Below which several features are suspected to, together."""
LEAST_ROWS, MOST_ROWS = 30, 20_000
"""Of more rows so many are drawn: that a label follows from a feature shows in them as well."""
SEED = 20640
FOLDS = 2
ROUNDS = 50
TREES = {"num_leaves": 31, "learning_rate": 0.2, "min_child_samples": 10}

Columns = Sequence[int]
Folds = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Finding:
    """Features that determine the label, or are suspected to."""

    names: tuple[str, ...]
    left: float
    """The share of the label's variance that they leave open."""

    def __str__(self) -> str:
        return f"{' and '.join(self.names)} ({1 - self.left:.1%})"


@dataclass(frozen=True)
class _Explainer:
    """One kind of small model, on the columns that it can take."""

    columns: Columns
    left: Callable[[Columns], float]
    """From some of the columns to the share of the label's variance that they leave open."""
    weights: Callable[[], Floats]
    """How much each column counts where all are there."""


def known(spec: ModelSpec, features: Collection[str]) -> frozenset[str]:
    """The features that a person has confirmed (``training.known_features``).

    Args:
        features: names of the model's features.

    Raises:
        ConfigError: one of them is no feature.
    """
    if strangers := sorted({*spec.training.known_features} - {*features}):
        raise ConfigError(
            f"features.sql selects no {', '.join(strangers)}", where=f"{spec.file()}: training.known_features"
        )
    return frozenset(spec.training.known_features)


def check(
    frame: pd.DataFrame,
    label: pd.Series,
    names: Sequence[str],
    where: str,
    *,
    keys: Sequence[str] = (),
    known: Collection[str] = (),
) -> Finding | None:
    """Check the features against the label of their row.

    Args:
        frame: with the features, and the columns of the entity's key.
        names: of the features.
        keys: columns whose rows are of one entity: a model that has seen one has not seen less of the others.
        known: features that a person has confirmed; what they alone tell of the label is no leak, unless one equals it.

    Returns:
        The smallest set found that is suspected to determine the label together; None without a suspicion.

    Raises:
        DataError: naming the features that equal or determine the label, alone or together.
    """
    target = label.to_numpy(dtype=np.float64)
    drawn = np.random.default_rng(SEED).permutation(len(target))[:MOST_ROWS]
    said, others = [], []
    for name in names:
        values = frame[name].to_numpy(dtype=np.float64)
        left = unexplained(values[drawn], target[drawn])
        equal = left < UNEXPLAINED and bool(np.array_equal(values, target, equal_nan=True))
        if left < UNEXPLAINED and (equal or name not in known):
            said.append(f"{name} {'equals' if equal else f'determines ({1 - left:.1%})'} {label.name}")
        else:
            others.append(name)
    found = _together(frame.iloc[drawn], target[drawn], others, keys, known)
    if found is not None and found.left < UNEXPLAINED:
        said.append(f"{' and '.join(found.names)} determine ({1 - found.left:.1%}) {label.name} together")
    if said:
        raise DataError(
            f"the label is among the features: {'; '.join(said)}",
            where=where,
            fix="Remove them from features.sql: they will not be known when a prediction is asked for. "
            "If they will be, confirm them in model.yaml, training.known_features",
        )
    return found


def unexplained(feature: Floats, label: Floats) -> float:
    """The share of the label's variance that the feature leaves open; 1 where there is too little to say.

    Args:
        feature, label: of one length; rows in which one is not finite are left out.
    """
    known = np.isfinite(feature) & np.isfinite(label)
    feature, label = feature[known], label[known]
    if len(label) < LEAST_ROWS or np.ptp(label) == 0 or np.ptp(feature) == 0:
        return 1.0
    ranks = _ranks(label)
    # Rows that share a value of the feature come in no order: in the order of their labels they would look alike.
    shuffled = np.random.default_rng(SEED).permutation(len(label))
    order = shuffled[np.argsort(feature[shuffled], kind="stable")]
    between_neighbours = float(np.mean(np.diff(ranks[order]) ** 2) / (2 * np.var(ranks)))
    return min(between_neighbours, _within_values(feature, ranks))


def _within_values(feature: Floats, ranks: Floats) -> float:
    """The label's variance among rows of one value of the feature, over all of it; 1 if few rows share a value."""
    values, group = np.unique(feature, return_inverse=True)
    free = len(ranks) - len(values)
    if free < len(ranks) / 2:
        return 1.0
    means = np.bincount(group, ranks) / np.bincount(group)
    return float(np.sum((ranks - means[group]) ** 2) / free / np.var(ranks, ddof=1))


def _together(
    frame: pd.DataFrame, label: Floats, names: Sequence[str], keys: Sequence[str], known: Collection[str]
) -> Finding | None:
    """The smallest set found of several features that leaves less than `SUSPICIOUS` open; None where there is none."""
    finite = np.isfinite(label)
    frame, label = frame[finite], label[finite]
    names = [name for name in names if frame[name].nunique() > 1]
    values, columns = frame[names].to_numpy(dtype=np.float64), range(len(names))
    if len(label) < LEAST_ROWS or np.ptp(label) == 0 or len(names) < 2:
        return None
    folds = _folds(frame, keys)
    best: tuple[float, _Explainer] | None = None
    for make in (_linear, _of_logarithms, _trees):
        explainer = make(values, label, columns, folds)
        left = explainer.left(explainer.columns) if len(explainer.columns) > 1 else 1.0
        if best is None or left < best[0]:
            best = left, explainer
        if left < UNEXPLAINED:
            break
    if best is None or best[0] >= SUSPICIOUS:
        return None
    limit = UNEXPLAINED if best[0] < UNEXPLAINED else SUSPICIOUS
    confirmed = [place for place in columns if names[place] in known]
    chosen = _smallest(best[1], confirmed, limit)
    if {*chosen} <= {*confirmed}:
        return None
    return Finding(tuple(names[place] for place in sorted(chosen)), best[1].left(chosen))


def _smallest(explainer: _Explainer, first: Columns, limit: float) -> Columns:
    """Of all columns those without which more than the limit is left open, by backward elimination.

    Args:
        first: columns that are rather kept than others.
    """
    weights = dict(zip(explainer.columns, explainer.weights(), strict=True))
    kept = sorted(explainer.columns, key=lambda place: (place not in first, -weights[place]))
    few, many = 1, len(kept)  # of the heaviest ones, how many suffice
    while few < many:
        half = (few + many) // 2
        few, many = (few, half) if explainer.left(kept[:half]) < limit else (half + 1, many)
    kept = kept[:many]
    for place in reversed(kept.copy()):
        fewer = [other for other in kept if other != place]
        if fewer and explainer.left(fewer) < limit:
            kept = fewer
    return kept


def _linear(values: Floats, label: Floats, columns: Columns, folds: Folds) -> _Explainer:
    """Least squares. Of each fold the products of all columns are kept: to leave some out costs no pass of the rows."""
    centred = values - np.nanmean(values, axis=0)
    centred = np.nan_to_num(centred / np.nanstd(centred, axis=0).clip(min=np.finfo(float).tiny))
    y = (label - label.mean()) / label.std()
    both = np.column_stack([centred, y])
    products = np.array([both[folds == fold].T @ both[folds == fold] for fold in range(FOLDS)])
    total = products.sum(axis=0)

    def weights_of(own: Floats, chosen: Columns) -> Floats:
        solved = np.linalg.lstsq(own[np.ix_(chosen, chosen)], own[chosen, -1], rcond=None)[0]
        return np.asarray(solved, dtype=np.float64)

    def left(chosen: Columns) -> float:
        error = 0.0
        for own in products:
            weights = weights_of(total - own, chosen)
            error += own[-1, -1] - 2 * weights @ own[chosen, -1] + weights @ own[np.ix_(chosen, chosen)] @ weights
        return max(float(error / total[-1, -1]), 0.0)

    return _Explainer(columns, left, lambda: np.abs(weights_of(total, columns)))


def _of_logarithms(values: Floats, label: Floats, columns: Columns, folds: Folds) -> _Explainer:
    """Least squares of the logarithms, of the columns that have them; none where the label has none."""
    positive = [place for place in columns if label.min() > 0 and np.all(values[:, place] > 0)]
    if not positive:
        return _Explainer((), lambda chosen: 1.0, lambda: np.empty(0))
    logarithms = np.ones_like(values)
    logarithms[:, positive] = np.log(values[:, positive])
    return _linear(logarithms, np.log(label), positive, folds)


def _trees(values: Floats, label: Floats, columns: Columns, folds: Folds) -> _Explainer:
    """A few boosted trees, on the rank of the label: so they tell rising functions of it alike."""
    import lightgbm as lgb

    ranks = _ranks(label)
    params = {"verbosity": -1, "seed": SEED, "deterministic": True, "force_col_wise": True} | TREES
    params["num_threads"] = algorithms.most_threads()

    def fit(chosen: Columns, rows: npt.NDArray[np.bool_]) -> lgb.Booster:
        return lgb.train(params, lgb.Dataset(values[rows][:, chosen], ranks[rows]), ROUNDS)

    def left(chosen: Columns) -> float:
        predicted = np.empty(len(ranks))
        for fold in range(FOLDS):
            predicted[folds == fold] = fit(chosen, folds != fold).predict(values[folds == fold][:, chosen])
        return float(np.mean((ranks - predicted) ** 2) / np.var(ranks))

    def weights() -> Floats:
        gains: Floats = fit(columns, np.ones(len(ranks), dtype=bool)).feature_importance("gain")
        return gains

    return _Explainer(columns, left, weights)


def _folds(frame: pd.DataFrame, keys: Sequence[str]) -> Folds:
    """By row a fold; rows of one key are in one: a model would know the label of a row from another one of its key."""
    numbers = pd.util.hash_pandas_object(frame[list(keys)], index=False) if keys else np.arange(len(frame))
    codes, distinct = pd.factorize(np.asarray(numbers))
    drawn = np.random.default_rng(SEED).permutation(len(distinct)) % FOLDS
    return drawn[codes]


def _ranks(label: Floats) -> Floats:
    return np.asarray(pd.Series(label).rank(), dtype=np.float64)
