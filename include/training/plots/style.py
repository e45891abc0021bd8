"""How every figure looks: without pyplot's global state, so that they can be made in any thread."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

INK, MUTED, BLUE, RED = "#1f2933", "#7b8794", "#2a6f97", "#c8553d"


def figure_of(width: float, height: float) -> Figure:
    """A figure of so many inches with its own canvas."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def label(axes: Axes, title: str, caption: str, x: str, y: str) -> None:
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


def thousands(axes: Axes, *, x: bool, y: bool) -> None:
    """Large numbers with a letter: ``200k``; no small one is called a thousandth."""
    letters = EngFormatter(sep="")
    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            axis.set_major_formatter(lambda value, place: letters(value) if abs(value) >= 1000 else f"{value:.6g}")
