"""The plot of a learning curve."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from include.training.learning_curve import Point
from include.training.plots.style import BLUE, MUTED, RED, figure_of, label


def learning_curve(points: Sequence[Point], title: str, floors: Sequence[tuple[str, float]] = ()) -> Figure:
    """The metric (y) over the rows fitted to (x): on these, and on the test rows; with floors as lines.

    Args:
        title: of the metric.
    """
    figure = figure_of(7.0, 4.8)
    axes = figure.add_subplot()
    rows = [point.rows for point in points]
    axes.plot(rows, [point.fitted for point in points], color=BLUE, marker="o", markersize=4, label="rows fitted to")
    axes.plot(rows, [point.test for point in points], color=RED, marker="o", markersize=4, label="test rows")
    for style, (name, value) in zip(("--", ":", "-."), floors, strict=False):
        axes.axhline(value, color=MUTED, linewidth=1, linestyle=style, label=name)
    axes.legend(fontsize=8, loc="best", framealpha=0.9, edgecolor="none")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    label(axes, "Learning curve", "the last point is the candidate", "rows fitted to", title)
    axes.set_xlim(left=0)
    return figure
