"""Plots of how predictions come about: contributions of features to them, and what a feature alone changes.

Contributions are Shapley values (Lundberg, Lee: A unified approach to interpreting model predictions, NIPS 2017), by
the algorithm's own computation. Partial dependence: Friedman, Greedy function approximation, Annals of Statistics 29,
2001.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from include.core.category import Category
from include.evaluation.metrics import Floats
from include.training.plots.style import BLUE, INK, MUTED, RED, figure_of, label, thousands

MOST_IN_SUMMARY, MOST_PANELS = 15, 6
GRID = 20
"""Values of a feature at which its partial dependence is asked."""
ROWS = 300
"""As many tell the shape; ten times as many take ten times as long."""
SCALE = "contribution, on the model's own scale"


def sample(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`ROWS` of the rows, drawn by chance."""
    return rows if len(rows) <= ROWS else rows.sample(ROWS, random_state=seed)


def shap_summary(features: pd.DataFrame, contributions: Floats) -> Figure:
    """Each row's contribution (x) of each feature, the strongest on top; the colour is the feature's value.

    Args:
        features: rows x features; ``contributions`` has the same shape.
    """
    strength = np.abs(contributions).mean(axis=0)
    shown = np.argsort(strength)[-MOST_IN_SUMMARY:]
    figure = figure_of(8.5, 1.6 + 0.36 * len(shown))
    axes = figure.add_subplot()
    for place, column in enumerate(shown):
        x, value = contributions[:, column], features.iloc[:, column]
        colour = value.rank(pct=True).to_numpy()
        null = np.isnan(colour)
        y = place + 0.38 * _spread(x)
        axes.scatter(x[null], y[null], s=7, color=MUTED, linewidths=0, alpha=0.6)
        dots = axes.scatter(
            x[~null], y[~null], s=7, c=colour[~null], cmap="coolwarm", vmin=0, vmax=1, linewidths=0, alpha=0.8
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    names = [str(features.columns[column]) for column in shown]
    label(axes, "What moved the predictions", f"Shapley values of {len(features):,} test rows", SCALE, "")
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    thousands(axes, x=True, y=False)
    bar = figure.colorbar(dots, ax=axes, shrink=0.6, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"])
    bar.set_label("value of the feature", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def shap_dependence(
    features: pd.DataFrame, contributions: Floats, codes: Mapping[str, Category] | None = None
) -> Figure:
    """A panel for each of the strongest features: its contribution (y) over its value (x); arguments as above."""
    shown = np.argsort(np.abs(contributions).mean(axis=0))[::-1][:MOST_PANELS]
    figure, panels = _panels(len(shown))
    for axes, column in zip(panels, shown, strict=False):
        name = str(features.columns[column])
        value = features.iloc[:, column].to_numpy(dtype=np.float64)
        axes.scatter(value, contributions[:, column], s=7, color=BLUE, alpha=0.45, linewidths=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        label(axes, "", "", name, "")
        thousands(axes, x=False, y=True)
        _texts(axes, (codes or {}).get(name))
    _headed(figure, f"Contribution over value · Shapley values of {len(features):,} test rows", SCALE)
    return figure


def partial_dependence(
    predict: Callable[[pd.DataFrame], Floats],
    features: pd.DataFrame,
    names: Sequence[str],
    target: str,
    codes: Mapping[str, Category] | None = None,
) -> Figure:
    """A panel for each feature: the mean prediction (y) if all rows had its value (x).

    The grid is of the feature's own quantiles, so that nothing is asked far beyond what there is.
    """
    figure, panels = _panels(len(names[:MOST_PANELS]))
    for axes, name in zip(panels, names, strict=False):
        known = features[name].dropna().to_numpy(dtype=np.float64)
        known = known[np.isfinite(known)]
        category = (codes or {}).get(name)
        grid = np.unique(known) if category else np.unique(np.quantile(known, np.linspace(0.02, 0.98, GRID)))
        asked = pd.concat([features] * len(grid), ignore_index=True)  # at once: a call costs more than its rows
        asked[name] = np.repeat(grid, len(features))
        mean = predict(asked).reshape(len(grid), -1).mean(axis=1)
        flat = category is not None or len(np.unique(known)) <= 2
        axes.plot(grid, mean, color=BLUE, linewidth=0 if flat else 1.6, marker="o" if flat else None, markersize=6)
        axes.plot(
            np.quantile(known, np.arange(1, 10) / 10),
            np.zeros(9),
            color=RED,
            marker="|",
            linewidth=0,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        axes.margins(y=0.12)
        label(axes, "", "", name, "")
        thousands(axes, x=False, y=True)
        _texts(axes, category)
    caption = f"if all of {len(features):,} test rows had the value · red: its tenths"
    _headed(figure, f"Partial dependence · {caption}", f"mean predicted {target}")
    return figure


def _spread(x: Floats) -> Floats:
    """A place within (-1, 1) for each point, so that those of like values stand beside each other."""
    if not len(x) or not np.ptp(x):
        return np.zeros(len(x))
    cell = np.floor((x - x.min()) / np.ptp(x) * 80)
    order = np.argsort(cell, kind="stable")
    counts = np.bincount(cell.astype(np.int64))
    place = np.empty(len(x))
    place[order] = np.concatenate([np.arange(count) for count in counts])
    side = np.where(place % 2 == 0, 1, -1) * np.ceil(place / 2)
    return np.asarray(side / max(1.0, float(np.abs(side).max())), dtype=np.float64)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(3, max(1, count))
    lines = -(-max(1, count) // columns)
    figure = figure_of(3.4 * columns, 2.7 * lines + 0.5)
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, list(panels[:count])


def _headed(figure: Figure, title: str, y: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    figure.supylabel(y, fontsize=9, color=INK)


def _texts(axes: Axes, category: Category | None) -> None:
    if category is not None:
        axes.set_xticks(list(category.texts), list(category.texts.values()), rotation=30, ha="right", fontsize=7)
