"""Plots of what was predicted beside what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from include.core.sections import Task
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.evaluation.slices import Slice
from include.training.plots.style import BLUE, INK, MUTED, RED, figure_of, label, thousands

HISTOGRAM_BINS = 60
MOST_SLICES = 30


def predicted_vs_actual(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """Density of the rows over actual (x) and predicted (y) values, with the line of a perfect model."""
    figure = figure_of(7.0, 6.2)
    axes = figure.add_subplot()
    low = float(np.minimum(actual, predicted).min())
    high = float(np.maximum(actual, predicted).max())
    cells = axes.hexbin(actual, predicted, gridsize=55, mincnt=1, bins="log", cmap="Blues", linewidths=0.1)
    axes.plot([low, high], [low, high], color=RED, linewidth=1.3, label="perfect prediction")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    label(axes, "Predicted against actual", caption, f"actual {target}", f"predicted {target}")
    thousands(axes, x=True, y=True)
    bar = figure.colorbar(cells, ax=axes, shrink=0.8, label="rows per cell")
    bar.outline.set_visible(False)
    return figure


def residuals(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """Residuals over the prediction, with the middle 80 % by tenths, and their histogram."""
    figure = figure_of(9.5, 5.2)
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
    label(axes, "Residuals", caption, f"predicted {target}", "actual - predicted")
    label(side, "", "", "rows", "")
    thousands(axes, x=True, y=True)
    return figure


def calibration(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """Share of the class 1 over the predicted probability, by tenths of the rows, with the line of honest ones."""
    figure = figure_of(5.6, 5.0)
    axes = figure.add_subplot()
    tenth = pd.qcut(pd.Series(predicted), 10, labels=False, duplicates="drop")
    grouped = pd.DataFrame({"predicted": predicted, "actual": actual}).groupby(tenth, observed=True).mean()
    axes.plot([0, 1], [0, 1], color=RED, linewidth=1.3, label="honest probabilities")
    axes.plot(grouped["predicted"], grouped["actual"], color=BLUE, marker="o", markersize=4, label="tenths of the rows")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="upper left", frameon=False)
    label(axes, "Calibration", caption, f"predicted probability of {target}", f"share of {target}")
    return figure


def roc(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """True over false positives of each threshold."""
    from sklearn.metrics import roc_curve

    figure = figure_of(5.6, 5.0)
    axes = figure.add_subplot()
    false_positives, true_positives, _ = roc_curve(actual, predicted)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="chance")
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=1.6)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="lower right", frameon=False)
    label(axes, "ROC curve", caption, f"share found among those without {target}", f"share found of {target}")
    return figure


def confusion(target: str, actual: Floats, predicted: Floats, caption: str) -> Figure:
    """How often each class (a line) was taken for each (a column), in shares of the line."""
    classes = np.unique(np.concatenate([actual, predicted]))
    pairs = np.searchsorted(classes, actual) * len(classes) + np.searchsorted(classes, predicted)
    counts = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), -1)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 3.4 + 0.3 * len(classes)
    figure = figure_of(size + 0.6, size)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks, names = range(len(classes)), [f"{value:g}" for value in classes]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    for row, column in np.argwhere(counts > 0) if len(classes) <= MOST_SLICES else ():
        color = "white" if share[row, column] > 0.5 else INK
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=7, color=color)
    label(axes, "Classes taken for others", caption, f"predicted {target}", f"actual {target}")
    axes.grid(visible=False)
    return figure


def residuals_by_slice(
    task: Task, target: str, actual: Floats, predicted: Floats, parts: Sequence[Slice], caption: str
) -> Figure:
    """The residuals of each slice: the middle half, 80 % and the median; of classes the share that is wrong."""
    shown = [part for part in parts if len(part)][:MOST_SLICES]
    left = metrics.residuals(task, actual, predicted)
    figure = figure_of(8.5, 1.6 + 0.28 * len(shown))
    axes = figure.add_subplot()
    for place, part in enumerate(reversed(shown)):
        values = left[part.rows]
        if task is Task.REGRESSION:
            low, first, middle, third, high = np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])
            axes.plot([low, high], [place, place], color=BLUE, linewidth=1)
            axes.plot([first, third], [place, place], color=BLUE, linewidth=6, alpha=0.5, solid_capstyle="butt")
            axes.plot(middle, place, color=RED, marker="|", markersize=11, markeredgewidth=2)
        else:
            error = float(values.std() / np.sqrt(len(values)))
            mean = float(values.mean())
            axes.plot([mean - 2 * error, mean + 2 * error], [place, place], color=BLUE, linewidth=1)
            axes.plot(mean, place, color=RED, marker="o", markersize=4)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [f"{part.title} ({len(part):,})" for part in reversed(shown)], fontsize=8)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    label(axes, "Residuals by slice", f"{caption} · {_SPREAD[task]}", _LEFT[task].format(target), "")
    axes.tick_params(axis="y", labelsize=8)
    thousands(axes, x=True, y=False)
    return figure


_SPREAD = {
    Task.REGRESSION: "median, middle half, 80 %",
    Task.BINARY: "mean and twice its error",
    Task.MULTICLASS: "share and twice its error",
}
_LEFT = {
    Task.REGRESSION: "actual - predicted {}",
    Task.BINARY: "share of {} beyond the predicted one",
    Task.MULTICLASS: "share of wrong classes of {}",
}
Draw = Callable[[str, Floats, Floats, str], Figure]
"""From the target's name, actual and predicted (rows) and a caption."""
BY_TASK: Mapping[Task, Mapping[str, Draw]] = {
    Task.REGRESSION: {"predicted_vs_actual": predicted_vs_actual, "residuals": residuals},
    Task.BINARY: {"calibration": calibration, "roc": roc},
    Task.MULTICLASS: {"confusion": confusion},
}
