"""Plots of features: what they weigh, and what goes with what."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from include.training.plots.style import BLUE, INK, MUTED, figure_of, label

MOST_FEATURES = 25
MOST_IN_HEATMAP = 60
"""Columns. Nobody reads more, and 500 of them take minutes to draw."""


def feature_importance(importance: Mapping[str, float], meaning: str) -> Figure:
    """Share of each feature, the largest on top; ``meaning`` says of what."""
    weight = pd.Series(importance, dtype=float)
    share = (100 * weight / (weight.sum() or 1)).sort_values().tail(MOST_FEATURES)
    figure = figure_of(8.0, 1.4 + 0.26 * len(share))
    axes = figure.add_subplot()
    bars = axes.barh(share.index, share, color=BLUE, height=0.7)
    axes.bar_label(bars, fmt="%.1f", padding=3, color=MUTED, fontsize=8)
    axes.margins(x=0.1, y=0.01)
    label(axes, "Feature importance", meaning, "percent", "")
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
    figure = figure_of(size + 0.8, size)
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
    label(axes, "Correlation of features and target", "Pearson; numbers from ±0.3 on", "", "")
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.outline.set_visible(False)
    return figure
