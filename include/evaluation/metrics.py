"""The metrics that a model can be judged by: one entry each in `METRICS`.

A metric takes one actual and one predicted value per row. Predicted is, by task: a number in the target's unit
(regression), the probability of the class 1 (binary), the class (multiclass; classes are whole numbers from 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from include.core.errors import ConfigError, DataError
from include.core.registry import choose
from include.core.sections import MOST_PARTITIONS, Task
from include.core.spec import ModelSpec

Floats = npt.NDArray[np.float64]
Measure = Callable[[Floats, Floats, int], float]
"""From actual, predicted (rows) and the number of features to the value."""


@dataclass(frozen=True)
class RowTerms:
    """A metric that is a function of sums over rows: resampling it costs a sum, not a pass of the whole computation."""

    terms: Callable[[Floats, Floats], Floats]
    """From actual and predicted (rows) to the terms (rows x terms)."""
    value: Callable[[Floats, float, int], Floats]
    """From sums of terms (resamples x terms), the number of rows (of weighted ones their weight) and of features to
    the values (resamples)."""


@dataclass(frozen=True)
class Metric:
    """How good predictions are, in one number."""

    name: str
    title: str
    """In a sentence: ``adjusted R2``."""
    task: Task
    higher_is_better: bool
    measure: Measure
    least_rows: Callable[[int], int] = lambda n_features: 30
    """From the number of features to the fewest rows on which the package judges a model by it."""
    in_units: bool = False
    """Whether it is in the target's unit."""
    by_row: RowTerms | None = None
    searched_by: str = ""
    """Name of the metric that orders hyperparameters in its place: as this one does, and in a unit that says more."""

    def weighted(self, actual: Floats, predicted: Floats, weight: Floats, n_features: int) -> float:
        """The value where a row counts as often as it weighs.

        Without `RowTerms` the rows are repeated, as often as they weigh to the nearest whole number.

        Raises:
            DataError: it is undefined on these rows.
        """
        if self.by_row is None:
            times = np.rint(weight).astype(np.int64)
            return self.measure(np.repeat(actual, times), np.repeat(predicted, times), n_features)
        with np.errstate(divide="ignore", invalid="ignore"):
            sums = weight @ self.by_row.terms(actual, predicted)
            value = float(self.by_row.value(sums[None, :], float(weight.sum()), n_features)[0])
        if not np.isfinite(value):
            raise DataError(f"{self.title} is undefined on {len(actual)} weighted rows", fix="Use more rows")
        return value

    def gain(self, value: float, other: float) -> float:
        """How much better ``value`` is; negative where it is worse."""
        return value - other if self.higher_is_better else other - value

    def clears(self, value: float, threshold: float) -> bool:
        """Whether a value is better than a threshold."""
        return self.gain(value, threshold) > 0

    def shown(self, value: float) -> str:
        """The value as a person reads it."""
        return f"{value:,.0f}" if self.in_units and abs(value) >= 100 else f"{value:.4f}"


def of(spec: ModelSpec) -> Metric:
    """The metric that a model is judged by.

    Raises:
        ConfigError: there is none of that name, or it is for another task.
    """
    where = f"{spec.file()}: metric"
    metric = choose(METRICS, spec.metric, where)
    if metric.task is not spec.task:
        fitting = ", ".join(sorted(name for name, item in METRICS.items() if item.task is spec.task))
        raise ConfigError(
            f"{spec.metric} is for {metric.task}, and the task is {spec.task}", where=where, fix=f"Use one of {fitting}"
        )
    return metric


def require_judged(spec: ModelSpec, n_features: int, most_rows: int | None) -> None:
    """Refuse a model of which no window can ever be judged.

    Args:
        most_rows: of a batch; None where there is no limit.

    Raises:
        ConfigError: as `of`, or a window has fewer rows than the metric needs, however many come.
    """
    least, partitions = of(spec).least_rows(n_features), spec.monitoring.window.partitions
    if most_rows is None or most_rows * partitions >= least:
        return
    needed = ceil(least / max(most_rows, 1))
    raise ConfigError(
        f"no window is ever judged: it has at most {partitions} x {most_rows} rows, as expectations.yaml limits a "
        f"batch, and {of(spec).title} needs {least} with {n_features} features",
        where=f"{spec.file()}: monitoring.window.partitions",
        fix=f"Set it to {needed} or more" if needed <= MOST_PARTITIONS else "Use a longer grain",
    )


def for_search(spec: ModelSpec) -> Metric:
    """The metric that hyperparameters are chosen by; errors as `of`."""
    metric = of(spec)
    return METRICS[metric.searched_by] if metric.searched_by else metric


def summary(
    spec: ModelSpec, actual: npt.ArrayLike, predicted: npt.ArrayLike, n_features: int, prefix: str = ""
) -> dict[str, float]:
    """All metrics of the model's task that are defined on these rows, and ``rows``, each name behind ``prefix``.

    The model's own metric is among them, wherever it comes from.
    """
    y, p = pair(actual, predicted)
    found = {prefix + "rows": float(y.size)}
    for name, metric in of_task(spec).items():
        try:
            found[prefix + name] = metric.measure(y, p, n_features)
        except DataError:
            if name == spec.metric:
                raise
    return found


def of_task(spec: ModelSpec) -> dict[str, Metric]:
    """The metrics of the model's task, its own first, wherever that comes from."""
    return {name: item for name, item in {spec.metric: of(spec), **METRICS}.items() if item.task is spec.task}


def r2(actual: Floats, predicted: Floats, n_features: int = 0) -> float:
    """Share of the variance that the prediction explains; 1 is perfect, the mean as prediction gets 0.

    Raises:
        DataError: an actual value that never varies.
    """
    if np.ptp(actual) == 0:
        raise DataError("R2 is undefined: the actual values do not vary", fix="Use more rows")
    return float(_sk().r2_score(actual, predicted))


def adjusted_r2(actual: Floats, predicted: Floats, n_features: int) -> float:
    """R2 with a price for every feature: ``1 - (1 - R2) (n - 1) / (n - n_features - 1)`` (Theil, 1961).

    Raises:
        DataError: as for `r2`, or not more than ``n_features + 1`` rows.
    """
    rows = len(actual)
    if rows <= n_features + 1:
        raise DataError(
            f"adjusted R2 is undefined on {rows} rows with {n_features} features",
            fix=f"At least {n_features + 2} rows are needed",
        )
    return 1 - (1 - r2(actual, predicted)) * (rows - 1) / (rows - n_features - 1)


def _auc(actual: Floats, predicted: Floats, n_features: int) -> float:
    if len(np.unique(actual)) < 2:
        raise DataError("the area under the ROC curve is undefined: there is one class only", fix="Use more rows")
    return float(_sk().roc_auc_score(actual, predicted))


def _sk() -> Any:
    """scikit-learn's metrics: a second to import, and model.yaml is checked where nothing is measured."""
    from sklearn import metrics

    return metrics


def residuals(task: Task, actual: Floats, predicted: Floats) -> Floats:
    """What is left of each row: actual less predicted; of classes 1 where they differ, else 0."""
    if task is Task.MULTICLASS:
        return (actual != predicted).astype(np.float64)
    return actual - predicted


def constant(task: Task, actual: Floats) -> float:
    """One prediction for all rows: the mean, of classes the most frequent one."""
    if task is Task.MULTICLASS:
        values, counts = np.unique(actual, return_counts=True)
        return float(values[counts.argmax()])
    return float(actual.mean())


def of_constant(metric: Metric, actual: Floats, n_features: int) -> float:
    """What one prediction for all rows would reach, by their own labels.

    Raises:
        DataError: the metric is undefined on these rows.
    """
    return metric.measure(actual, np.full(len(actual), constant(metric.task, actual)), n_features)


def pair(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64.

    Raises:
        DataError: no rows, unequal lengths, or values that are not finite.
    """
    y = np.asarray(actual, dtype=np.float64)
    p = np.asarray(predicted, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or y.size == 0:
        raise DataError(f"actual has shape {y.shape}, predicted {p.shape}: one value per row is needed")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise DataError("actual or predicted values are missing or infinite")
    return y, p


def _squares(actual: Floats, predicted: Floats) -> Floats:
    centred = actual - actual.mean()  # or the squares would swallow the variance of a target far from 0
    return np.column_stack([(actual - predicted) ** 2, centred, centred**2])


def _r2_of_sums(sums: Floats, rows: float, n_features: int) -> Floats:
    total = sums[:, 2] - sums[:, 1] ** 2 / rows
    value: Floats = 1 - sums[:, 0] / total * (rows - 1) / (rows - n_features - 1)
    return value


def _mean(terms: Callable[[Floats, Floats], Floats]) -> RowTerms:
    return RowTerms(
        lambda actual, predicted: terms(actual, predicted)[:, None], lambda sums, rows, _: sums[:, 0] / rows
    )


def _losses(actual: Floats, predicted: Floats) -> Floats:
    p = np.clip(predicted, 1e-15, 1 - 1e-15)
    losses: Floats = -(actual * np.log(p) + (1 - actual) * np.log(1 - p))
    return losses


def _regression(name: str, title: str, measure: Measure, **more: object) -> Metric:
    return Metric(name, title, Task.REGRESSION, measure=measure, **more)  # type: ignore[arg-type]


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _regression(
            "adjusted_r2",
            "adjusted R2",
            adjusted_r2,
            higher_is_better=True,
            least_rows=lambda n_features: 2 * (n_features + 1),  # below it the adjustment dominates the value
            by_row=RowTerms(_squares, _r2_of_sums),
            searched_by="rmse",
        ),
        _regression(
            "r2",
            "R2",
            r2,
            higher_is_better=True,
            by_row=RowTerms(_squares, lambda sums, rows, _: _r2_of_sums(sums, rows, 0)),
            searched_by="rmse",
        ),
        _regression(
            "rmse",
            "RMSE",
            lambda actual, predicted, _: float(_sk().root_mean_squared_error(actual, predicted)),
            higher_is_better=False,
            in_units=True,
            by_row=RowTerms(_squares, lambda sums, rows, _: np.sqrt(sums[:, 0] / rows)),
        ),
        _regression(
            "mae",
            "MAE",
            lambda actual, predicted, _: float(_sk().mean_absolute_error(actual, predicted)),
            higher_is_better=False,
            in_units=True,
            by_row=_mean(lambda actual, predicted: np.abs(actual - predicted)),
        ),
        Metric("auc", "area under the ROC curve", Task.BINARY, True, _auc, lambda n_features: 50),
        Metric(
            "log_loss",
            "log loss",
            Task.BINARY,
            False,
            lambda actual, predicted, _: float(_sk().log_loss(actual, predicted, labels=[0, 1])),
            by_row=_mean(_losses),
        ),
        Metric(
            "brier",
            "Brier score",
            Task.BINARY,
            False,
            lambda actual, predicted, _: float(_sk().brier_score_loss(actual, predicted)),
            by_row=_mean(lambda actual, predicted: (actual - predicted) ** 2),
        ),
        Metric(
            "accuracy",
            "accuracy",
            Task.MULTICLASS,
            True,
            lambda actual, predicted, _: float(_sk().accuracy_score(actual, predicted)),
            by_row=_mean(lambda actual, predicted: (actual == predicted).astype(np.float64)),
        ),
        Metric(
            "macro_f1",
            "macro F1",
            Task.MULTICLASS,
            True,
            lambda actual, predicted, _: float(_sk().f1_score(actual, predicted, average="macro", zero_division=0)),
        ),
    )
}
