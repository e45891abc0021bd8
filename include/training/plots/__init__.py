"""Plots of a candidate, drawn without pyplot's global state so that they can be made in any thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from include.core.errors import DataError
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.training import algorithms

INK, MUTED, BLUE, RED = "#1f2933", "#7b8794", "#2a6f97", "#c8553d"
MOST_FEATURES = 25
HISTOGRAM_BINS = 60
MOST_IN_HEATMAP = 60
"""Columns. Nobody reads more, and 500 of them take minutes to draw."""


def all_of(
    spec: ModelSpec,
    features: Sequence[str],
    rows: pd.DataFrame,
    predicted: Floats,
    model: Any,
    measured: Mapping[str, float],
    categories: Collection[str] = (),
) -> dict[str, Figure]:
    """The plots of the task, by name, for test rows (``rows``) and one prediction per row.

    Args:
        model: what the algorithm fitted.
        measured: has the value of the model's metric.
        categories: features that are codes, which correlate with nothing.

    Raises:
        DataError: a feature is personal data.
    """
    refuse_personal(spec, features)
    actual, metric, algorithm = rows[spec.target].to_numpy(dtype=np.float64), metrics.of(spec), algorithms.of(spec)
    numbers = [name for name in features if name not in categories]
    caption = f"{len(rows):,} test rows · {metric.title} {metric.shown(measured[spec.metric])}"
    drawn = {name: draw(spec.target, actual, predicted, caption) for name, draw in BY_TASK[spec.task].items()}
    drawn["correlation_heatmap"] = correlation_heatmap(rows[[*numbers, spec.target]])
    if algorithm.importance:
        drawn["feature_importance"] = feature_importance(algorithm.importance(model), algorithm.importance_is)
    return drawn


def refuse_personal(spec: ModelSpec, features: Sequence[str]) -> None:
    """features.sql cannot read a personal column, but a training set may be older than the column's tag.

    Raises:
        DataError: naming the features that are columns with ``pii: true``.
    """
    if found := sorted(spec.personal_columns.intersection(features)):
        raise DataError(
            f"features are personal data: {', '.join(found)} ({'has' if len(found) == 1 else 'have'} pii: true)",
            where=spec.table("training_sets"),
            fix="Leave them out of features.sql, run build_features again, and build a new training set",
        )


def predicted_vs_actual(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """Density of the rows over actual (x) and predicted (y) values, with the line of a perfect model."""
    figure = _figure(7.0, 6.2)
    axes = figure.add_subplot()
    low = float(np.minimum(actual, predicted).min())
    high = float(np.maximum(actual, predicted).max())
    cells = axes.hexbin(actual, predicted, gridsize=55, mincnt=1, bins="log", cmap="Blues", linewidths=0.1)
    axes.plot([low, high], [low, high], color=RED, linewidth=1.3, label="perfect prediction")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    _label(axes, "Predicted against actual", caption, f"actual {target}", f"predicted {target}")
    _thousands(axes, x=True, y=True)
    bar = figure.colorbar(cells, ax=axes, shrink=0.8, label="rows per cell")
    bar.outline.set_visible(False)
    return figure


def residuals(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """Residuals over the prediction, with the middle 80 % by tenths, and their histogram."""
    figure = _figure(9.5, 5.2)
    axes, side = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
    residual = actual - predicted
    axes.scatter(predicted, residual, s=6, alpha=0.25, color=BLUE, linewidths=0)
    tenth = pd.qcut(pd.Series(predicted), 10, labels=False, duplicates="drop")
    grouped = pd.DataFrame({"predicted": predicted, "residual": residual}).groupby(tenth, observed=True)
    middle = grouped["predicted"].mean()
    axes.plot(middle, grouped["residual"].median(), color=RED, linewidth=1.6, label="median")
    axes.plot(
        middle,
        grouped["residual"].quantile(0.1),
        color=RED,
        linewidth=1,
        linestyle="--",
        label="10 % and 90 %",
    )
    axes.plot(middle, grouped["residual"].quantile(0.9), color=RED, linewidth=1, linestyle="--")
    for panel in (axes, side):
        panel.axhline(0, color=INK, linewidth=0.8)
    axes.legend(loc="upper left", frameon=False, ncols=2)
    side.hist(residual, bins=HISTOGRAM_BINS, orientation="horizontal", color=BLUE, alpha=0.8)
    _label(axes, "Residuals", caption, f"predicted {target}", "actual - predicted")
    _label(side, "", "", "rows", "")
    _thousands(axes, x=True, y=True)
    return figure


def calibration(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """Share of the class 1 over the predicted probability, by tenths of the rows, with the line of honest ones."""
    figure = _figure(5.6, 5.0)
    axes = figure.add_subplot()
    tenth = pd.qcut(pd.Series(predicted), 10, labels=False, duplicates="drop")
    grouped = pd.DataFrame({"predicted": predicted, "actual": actual}).groupby(tenth, observed=True).mean()
    axes.plot([0, 1], [0, 1], color=RED, linewidth=1.3, label="honest probabilities")
    axes.plot(grouped["predicted"], grouped["actual"], color=BLUE, marker="o", markersize=4, label="tenths of the rows")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    _label(axes, "Calibration", caption, f"predicted probability of {target}", f"share of {target}")
    return figure


def roc(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """True over false positives of each threshold."""
    from sklearn.metrics import roc_curve

    figure = _figure(5.6, 5.0)
    axes = figure.add_subplot()
    false_positives, true_positives, _ = roc_curve(actual, predicted)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="chance")
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=1.6)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="lower right", frameon=False)
    _label(axes, "ROC curve", caption, f"share found among those without {target}", f"share found of {target}")
    return figure


Draw = Callable[[str, Floats, Floats, str], Figure]
"""From the target's name, actual and predicted (rows) and a caption."""
BY_TASK: Mapping[Task, Mapping[str, Draw]] = {
    Task.REGRESSION: {"predicted_vs_actual": predicted_vs_actual, "residuals": residuals},
    Task.BINARY: {"calibration": calibration, "roc": roc},
    Task.MULTICLASS: {},
}


def feature_importance(importance: Mapping[str, float], meaning: str) -> Figure:
    """Share of each feature, the largest on top; ``meaning`` says of what."""
    weight = pd.Series(importance, dtype=float)
    share = (100 * weight / (weight.sum() or 1)).sort_values().tail(MOST_FEATURES)
    figure = _figure(8.0, 1.4 + 0.26 * len(share))
    axes = figure.add_subplot()
    bars = axes.barh(share.index, share, color=BLUE, height=0.7)
    axes.bar_label(bars, fmt="%.1f", padding=3, color=MUTED, fontsize=8)
    axes.margins(x=0.1, y=0.01)
    _label(axes, "Feature importance", meaning, "percent", "")
    axes.grid(visible=False, axis="y")
    return figure


def correlation_heatmap(frame: pd.DataFrame) -> Figure:
    """Pearson correlation of features and target, the last column, on the test rows; constant columns are left out.

    Of many features those that go with the target most.
    """
    varying = frame.loc[:, frame.nunique() > 1]
    if len(varying.columns) > MOST_IN_HEATMAP:
        strength = varying.corrwith(varying.iloc[:, -1]).abs()
        varying = varying.loc[:, (strength.rank(ascending=False, method="first") <= MOST_IN_HEATMAP).to_numpy()]
    correlation = varying.corr().to_numpy()
    size = 3.2 + 0.36 * len(varying.columns)
    figure = _figure(size + 0.8, size)
    axes = figure.add_subplot()
    image = axes.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    ticks = range(len(varying.columns))
    axes.set_xticks(ticks, varying.columns, rotation=90, fontsize=8)
    axes.set_yticks(ticks, varying.columns, fontsize=8)
    for row, column in np.argwhere(np.abs(correlation) >= 0.3):
        if row != column:
            value = correlation[row, column]
            color = "white" if abs(value) > 0.6 else INK
            axes.text(
                column,
                row,
                f"{value:.1f}".replace("0.", "."),
                ha="center",
                va="center",
                fontsize=6,
                color=color,
            )
    _label(axes, "Correlation of features and target", "Pearson; numbers from ±0.3 on", "", "")
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.outline.set_visible(False)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure of so many inches with its own canvas."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _label(axes: Axes, title: str, caption: str, x: str, y: str) -> None:
    if title:
        axes.set_title(f"{title}\n", loc="left", fontsize=13, fontweight="bold", color=INK)
        axes.annotate(
            caption,
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9,
            color=MUTED,
        )
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)


def _thousands(axes: Axes, *, x: bool, y: bool) -> None:
    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            axis.set_major_formatter(EngFormatter(sep=""))
